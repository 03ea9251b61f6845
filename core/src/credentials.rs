//! Who the client is to servers with access control, and how it proves that.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::limits;
use crate::wire::{Mac, MacKey, render_prefix};

mod provider;

pub(crate) use provider::Source;
pub use provider::{CredentialsProvider, FetchReason, Lease, ProviderFailure, ProviderFuture};

/// An access key with its secret, and a security token if the service that gave them wants one.
///
/// Every request is signed with them: those to name servers too, which take no notice, because a
/// proxy may stand in for one. ACL 1.0 and 2.0 are the same on the wire. With ACL 2.0 the access
/// key is the name of a user, and the secret key the password.
///
/// A signature covers the values of all fields and the body, and no names and no time: it keeps
/// nobody from reading a request or from sending it again. Only TLS does.
///
/// Cheap to clone. `Debug` shows the beginning of a long access key, and nothing else.
///
/// ```
/// use rocketmq_core::Credentials;
///
/// let credentials = Credentials::new("orders-service", "12345678")?;
/// assert_eq!(format!("{credentials:?}"), "Credentials { access_key: \"orde…\", .. }");
/// # Ok::<(), rocketmq_core::CredentialsError>(())
/// ```
#[derive(Clone)]
pub struct Credentials {
    inner: Arc<Inner>,
}

struct Inner {
    access_key: Box<str>,
    secret_key: Box<str>,
    security_token: Option<Box<str>>,
    key: MacKey,
    /// The fields up to the signature, as they stand in a JSON and in a binary header.
    json: Box<[u8]>,
    binary: Box<[u8]>,
}

impl Credentials {
    /// An access key and its secret.
    ///
    /// # Errors
    /// If one of them is empty, too long or holds a control character, such as the line break at
    /// the end of a file.
    pub fn new(
        access_key: impl Into<Box<str>>,
        secret_key: impl Into<Box<str>>,
    ) -> Result<Credentials, CredentialsError> {
        let (access_key, secret_key) = (access_key.into(), secret_key.into());
        check(CredentialsPart::AccessKey, &access_key)?;
        check(CredentialsPart::SecretKey, &secret_key)?;
        Ok(Credentials::of(access_key, secret_key, None))
    }

    /// The same with the security token that came with them.
    ///
    /// # Errors
    /// If the token is empty, too long or holds a control character.
    pub fn with_security_token(
        self,
        token: impl Into<Box<str>>,
    ) -> Result<Credentials, CredentialsError> {
        let token = token.into();
        check(CredentialsPart::SecurityToken, &token)?;
        let Inner { access_key, secret_key, .. } = &*self.inner;
        Ok(Credentials::of(access_key.clone(), secret_key.clone(), Some(token)))
    }

    fn of(
        access_key: Box<str>,
        secret_key: Box<str>,
        security_token: Option<Box<str>>,
    ) -> Credentials {
        let key = MacKey::new(secret_key.as_bytes());
        let (json, binary) = render_prefix(&access_key, security_token.as_deref());
        let inner = Inner { access_key, secret_key, security_token, key, json, binary };
        Credentials { inner: Arc::new(inner) }
    }

    /// The access key, or the name of the user.
    pub fn access_key(&self) -> &str {
        &self.inner.access_key
    }

    /// Whether there is a security token.
    pub fn has_security_token(&self) -> bool {
        self.inner.security_token.is_some()
    }

    pub(crate) fn security_token(&self) -> Option<&str> {
        self.inner.security_token.as_deref()
    }

    pub(crate) fn mac(&self) -> Mac {
        self.inner.key.start()
    }

    /// The fields up to the value of the signature, for the inside of a JSON header's object and
    /// for a binary header's map.
    pub(crate) fn prefix(&self) -> (&[u8], &[u8]) {
        (&self.inner.json, &self.inner.binary)
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Credentials) -> bool {
        let parts = |it: &Credentials| {
            let Inner { access_key, secret_key, security_token, .. } = &*it.inner;
            (access_key.clone(), secret_key.clone(), security_token.clone())
        };
        Arc::ptr_eq(&self.inner, &other.inner) || parts(self) == parts(other)
    }
}

impl Eq for Credentials {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = shortened(&self.inner.access_key);
        f.debug_struct("Credentials").field("access_key", &shown).finish_non_exhaustive()
    }
}

/// As much of an access key as may be shown: enough to tell keys apart, not enough to use one.
fn shortened(access_key: &str) -> String {
    let shown = if access_key.chars().count() >= 8 { 4 } else { 0 };
    let mut text: String = access_key.chars().take(shown).collect();
    text.push('…');
    text
}

fn check(part: CredentialsPart, text: &str) -> Result<(), CredentialsError> {
    let max = match part {
        CredentialsPart::SecurityToken => limits::SECURITY_TOKEN_LENGTH_MAX,
        CredentialsPart::AccessKey | CredentialsPart::SecretKey => limits::CREDENTIAL_LENGTH_MAX,
    };
    if text.is_empty() {
        return Err(CredentialsError::Empty(part));
    }
    if text.len() > max {
        return Err(CredentialsError::TooLong { part, max });
    }
    if text.chars().any(char::is_control) {
        return Err(CredentialsError::ControlCharacter(part));
    }
    Ok(())
}

/// One of the texts of [`Credentials`].
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CredentialsPart {
    /// The access key.
    AccessKey,
    /// The secret key.
    SecretKey,
    /// The security token.
    SecurityToken,
}

impl fmt::Display for CredentialsPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CredentialsPart::AccessKey => "access key",
            CredentialsPart::SecretKey => "secret key",
            CredentialsPart::SecurityToken => "security token",
        })
    }
}

/// Credentials that cannot be. Says which part, and nothing of its text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A part is empty.
    #[error("the {0} is empty; give it, or no credentials at all")]
    Empty(CredentialsPart),
    /// A part has more bytes than any service gives out.
    #[error("the {part} has more than {max} bytes; check that it is one")]
    TooLong {
        /// Which.
        part: CredentialsPart,
        /// Most bytes that it may have.
        max: usize,
    },
    /// A part holds a control character.
    #[error(
        "the {0} holds a control character, perhaps the line break at the end of a file; leave it \
         out"
    )]
    ControlCharacter(CredentialsPart),
}

/// Credentials with all fields that they, and the settings, add to every request.
pub(crate) struct Signing {
    pub(crate) credentials: Credentials,
    /// In the order of their names.
    pub(crate) fields: Vec<(Box<str>, Box<str>)>,
}

impl Signing {
    /// `extra` are fields that every request has besides.
    pub(crate) fn new(credentials: Credentials, extra: &[(String, String)]) -> Signing {
        let own = [
            (ACCESS_KEY, Some(credentials.access_key())),
            (SECURITY_TOKEN, credentials.security_token()),
        ];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let extra = extra.iter().map(|(name, value)| (&**name, &**value));
        let field = |(name, value): (&str, &str)| (name.into(), value.into());
        let mut fields: Vec<(Box<str>, Box<str>)> = own.chain(extra).map(field).collect();
        fields.sort();
        Signing { credentials, fields }
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.credentials.fmt(f)
    }
}

// Java: SessionCredentials#ACCESS_KEY, #SIGNATURE, #SECURITY_TOKEN
pub(crate) const ACCESS_KEY: &str = "AccessKey";
pub(crate) const SECURITY_TOKEN: &str = "SecurityToken";
pub(crate) const SIGNATURE: &str = "Signature";

/// Whether a field belongs to the signature.
pub(crate) fn is_signature_field(name: &str) -> bool {
    matches!(name, ACCESS_KEY | SECURITY_TOKEN | SIGNATURE)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn parts_that_cannot_be_are_refused_without_their_text() {
        let long = "x".repeat(limits::CREDENTIAL_LENGTH_MAX + 1);
        let max = limits::CREDENTIAL_LENGTH_MAX;
        let new = |access: &str, secret: &str| Credentials::new(access, secret).map(drop);
        assert_eq!(new(&long[1..], &long[1..]), Ok(()));
        assert_eq!(new("", "s"), Err(CredentialsError::Empty(CredentialsPart::AccessKey)));
        assert_eq!(new("a", ""), Err(CredentialsError::Empty(CredentialsPart::SecretKey)));
        let part = CredentialsPart::AccessKey;
        assert_eq!(new(&long, "s"), Err(CredentialsError::TooLong { part, max }));
        let part = CredentialsPart::SecretKey;
        assert_eq!(new("a", &long), Err(CredentialsError::TooLong { part, max }));
        for text in ["hush\n", "hu\0sh", "\thush", "hush\u{85}"] {
            let error = new("a", text).unwrap_err();
            assert_eq!(error, CredentialsError::ControlCharacter(part));
            assert!(!format!("{error}{error:?}").contains("hush"), "{error}");
        }
        let with = |token: &str| Credentials::new("a", "s").unwrap().with_security_token(token);
        let token = "t".repeat(limits::SECURITY_TOKEN_LENGTH_MAX);
        assert!(with(&token).unwrap().has_security_token());
        assert!(matches!(with(&(token + "t")), Err(CredentialsError::TooLong { .. })));
        assert_eq!(with("").unwrap_err(), CredentialsError::Empty(CredentialsPart::SecurityToken));
        let broken = CredentialsError::ControlCharacter(CredentialsPart::SecurityToken);
        assert_eq!(with("a\r").unwrap_err(), broken);
    }

    #[test]
    fn debug_shows_the_beginning_of_a_long_access_key_alone() {
        let shown = |access: &str| {
            let credentials = Credentials::new(access, "hush-hush").unwrap();
            let credentials = credentials.with_security_token("pass-me").unwrap();
            let signing = Signing::new(credentials.clone(), &[]);
            assert_eq!(format!("{signing:?}"), format!("{credentials:?}"));
            format!("{credentials:?}")
        };
        assert_eq!(shown("orders-service"), "Credentials { access_key: \"orde…\", .. }");
        assert_eq!(shown("orders"), "Credentials { access_key: \"…\", .. }");
        assert_eq!(CredentialsPart::SecretKey.to_string(), "secret key");
    }

    #[test]
    fn credentials_are_equal_by_all_their_parts() {
        let of = |a: &str, s: &str| Credentials::new(a, s).unwrap();
        assert_eq!(of("a", "s"), of("a", "s"));
        assert_ne!(of("a", "s"), of("a", "t"));
        assert_ne!(of("a", "s"), of("b", "s"));
        assert_ne!(of("a", "s"), of("a", "s").with_security_token("t").unwrap());
    }
}
