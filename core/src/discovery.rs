//! Where a list of name servers is looked up, and why that can fail.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use crate::address::{Address, AddressError};
use crate::error::{CloseReason, ConnectFailure};

/// The port of a URL that names none.
const HTTP_PORT: u16 = 80;

/// The port of the Java client's look-up service.
// Java: MixAll#getWSAddr
const JAVA_PORT: u16 = 8080;

/// Longest URL.
const URL_LENGTH_MAX: usize = 2_048;

/// A URL whose answer is a list of name servers: `http://HOST[:PORT]/PATH`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NameServerUrl {
    address: Address,
    /// The host as it was written, with the port if one was.
    authority: Box<str>,
    /// Begins with a slash; the query is part of it.
    path: Box<str>,
}

impl NameServerUrl {
    /// The URL that the Java client makes of its system properties `rocketmq.namesrv.domain` and
    /// `rocketmq.namesrv.domain.subgroup`.
    ///
    /// # Errors
    /// If the parts make no URL.
    // Java: MixAll#getWSAddr
    pub fn of_domain(domain: &str, subgroup: &str) -> Result<NameServerUrl, UrlError> {
        if domain.contains(':') {
            return format!("http://{domain}/rocketmq/{subgroup}").parse();
        }
        format!("http://{domain}:{JAVA_PORT}/rocketmq/{subgroup}").parse()
    }

    /// The server to be asked.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Host and port as they are written in the URL.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query, beginning with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The URL that a client of a unit asks.
    // Java: DefaultTopAddressing#fetchNSAddr
    pub(crate) fn of_unit(mut self, unit_name: &str) -> Result<NameServerUrl, UrlError> {
        if unit_name.trim().is_empty() {
            return Ok(self);
        }
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, format!("&{query}")),
            None => (&*self.path, String::new()),
        };
        let path = format!("{path}-{unit_name}?nofix=1{query}");
        if !is_path(&path) {
            return Err(UrlError { url: bounded(&path), kind: UrlErrorKind::Path });
        }
        self.path = path.into();
        Ok(self)
    }
}

impl FromStr for NameServerUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<NameServerUrl, UrlError> {
        let invalid = |kind| UrlError { url: bounded(url), kind };
        if url.len() > URL_LENGTH_MAX {
            return Err(invalid(UrlErrorKind::TooLong));
        }
        let (scheme, rest) = url.split_once("://").ok_or(invalid(UrlErrorKind::Scheme))?;
        if scheme.eq_ignore_ascii_case("https") {
            return Err(invalid(UrlErrorKind::Https));
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(invalid(UrlErrorKind::Scheme));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        if authority.contains('@') {
            // Not to be shown: it may be a password.
            let url = "http://...@...".into();
            return Err(UrlError { url, kind: UrlErrorKind::UserInfo });
        }
        if !is_path(&path) {
            return Err(invalid(UrlErrorKind::Path));
        }
        // A colon inside of brackets belongs to an IPv6 address.
        let port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let address = match port {
            Some(_) => authority.parse(),
            None => Address::new(authority, HTTP_PORT),
        };
        let address = address.map_err(|error| invalid(UrlErrorKind::Address(error)))?;
        Ok(NameServerUrl { address, authority: authority.into(), path: path.into() })
    }
}

impl fmt::Display for NameServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// What may stand in the first line of a request.
fn is_path(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// A text that is not a URL that can be asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{url}\" cannot be asked for name servers: {kind}")]
pub struct UrlError {
    url: String,
    kind: UrlErrorKind,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum UrlErrorKind {
    #[error("it is too long")]
    TooLong,
    #[error("it does not begin with http://")]
    Scheme,
    #[error("https is not supported; use http:// or a list of addresses")]
    Https,
    #[error("a user name or password is not supported")]
    UserInfo,
    #[error("its path holds a space, a # or another character that has to be escaped")]
    Path,
    #[error("{0}")]
    Address(AddressError),
}

fn bounded(text: &str) -> String {
    text.chars().take(80).collect::<String>().escape_debug().to_string()
}

/// Why a look-up gave no list of name servers.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryFailure {
    /// The dial failed.
    #[error("connecting failed: {0}")]
    Connect(ConnectFailure),
    /// The connection ended before the answer did.
    #[error("the connection was lost: {0}")]
    Closed(CloseReason),
    /// The whole answer did not come in time.
    #[error("no answer in time")]
    TimedOut,
    /// What came is not HTTP.
    #[error("the answer is not HTTP; check the port")]
    NotHttp,
    /// The answer sends the client elsewhere, which it does not follow.
    #[error("the answer is a redirect, status {status}; use the URL that it leads to")]
    Redirect {
        /// The status.
        status: u16,
    },
    /// The answer has another status than 200.
    #[error("the answer has status {status}, not 200; check the path")]
    Status {
        /// The status.
        status: u16,
    },
    /// The answer is longer than a list of name servers can be.
    #[error("the answer is too long for a list of name servers")]
    TooLong,
    /// The first line of the answer is empty.
    #[error("the answer names no name server")]
    Empty,
    /// The first line of the answer is not a list of addresses.
    #[error("the answer is not a list of name servers: {0}")]
    BadList(AddressError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        match url.parse::<NameServerUrl>() {
            Ok(url) => format!("{} {} {}", url.address(), url.authority(), url.path()),
            Err(error) => format!("{:?}", error.kind),
        }
    }

    #[test]
    fn urls_are_read() {
        assert_eq!(shown("http://a.example/x/y"), "a.example:80 a.example /x/y");
        assert_eq!(shown("HTTP://a.example:8080"), "a.example:8080 a.example:8080 /");
        assert_eq!(shown("http://10.0.0.1:1/p?q=1"), "10.0.0.1:1 10.0.0.1:1 /p?q=1");
        assert_eq!(shown("http://[::1]/p"), "[::1]:80 [::1] /p");
        assert_eq!(shown("http://[::1]:81/p"), "[::1]:81 [::1]:81 /p");
        assert_eq!(shown("http://a?q"), "a:80 a /?q");
        assert_eq!(shown("a.example:9876"), "Scheme");
        assert_eq!(shown("ftp://a/"), "Scheme");
        assert_eq!(shown("https://a/"), "Https");
        assert_eq!(shown("http://me:secret@a/"), "UserInfo");
        for bad in ["http://a/b c", "http://a/\r\nHost: b", "http://a/#x", "http://a/ü"] {
            assert_eq!(shown(bad), "Path", "{bad}");
        }
        for bad in ["http:///x", "http://a:0/", "http://a:b/", "http://a b/"] {
            assert!(shown(bad).starts_with("Address"), "{bad}");
        }
        let error = "http://me:secret@a/".parse::<NameServerUrl>().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        let long = format!("http://a/{}", "x".repeat(URL_LENGTH_MAX));
        assert_eq!(shown(&long), "TooLong");
    }

    #[test]
    fn the_url_of_a_domain_and_of_a_unit_is_that_of_java() {
        let url = |domain| NameServerUrl::of_domain(domain, "nsaddr").unwrap();
        assert_eq!(url("ns.example").to_string(), "http://ns.example:8080/rocketmq/nsaddr");
        assert_eq!(url("ns.example:81").to_string(), "http://ns.example:81/rocketmq/nsaddr");
        let unit = url("ns.example").of_unit("east").unwrap();
        assert_eq!(unit.path(), "/rocketmq/nsaddr-east?nofix=1");
        assert_eq!(url("ns.example").of_unit(" ").unwrap(), url("ns.example"));
        let query = "http://a/p?q=1".parse::<NameServerUrl>().unwrap();
        assert_eq!(query.of_unit("u").unwrap().path(), "/p-u?nofix=1&q=1");
        assert!(url("ns.example").of_unit("a b").is_err());
    }
}
