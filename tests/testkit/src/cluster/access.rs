//! Access control: who may do what, and how a server finds out who it is.

use std::collections::{BTreeMap, BTreeSet};

use sha1_smol::Sha1;

use super::broker::Refusal;
use super::config::ServerVersion;
use super::timers::base64;
use crate::wire::{Command, Encoding, request_code as request, response_code as answer};

const ACCESS_KEY: &str = "AccessKey";
const SIGNATURE: &str = "Signature";

/// The users of a cluster. Servers imitate the access control of their version: ACL 2.0 from
/// [`ServerVersion::V5_5`] on, ACL 1.0 before.
///
/// ```
/// use rocketmq_testkit::cluster::{AccessControl, ClusterConfig};
///
/// let access = AccessControl::new()
///     .admin("root", "root-secret")
///     .producer("orders-service", "12345678", ["Orders"]);
/// let config = ClusterConfig::new().topic("Orders", 4).access(access);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AccessControl {
    users: BTreeMap<String, User>,
    at_name_servers: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct User {
    secret: String,
    admin: bool,
    disabled: bool,
    /// Topics to which it may send.
    topics: BTreeSet<String>,
}

impl AccessControl {
    /// Nobody may do anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// A user who may do everything. Another one of the same name is replaced.
    #[must_use]
    pub fn admin(self, access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        self.user(access_key.into(), secret_key.into(), true, BTreeSet::new())
    }

    /// A user who may send to these topics, and register. Another one of the same name is
    /// replaced.
    #[must_use]
    pub fn producer<T: Into<String>>(
        self,
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
    ) -> Self {
        let topics = topics.into_iter().map(Into::into).collect();
        self.user(access_key.into(), secret_key.into(), false, topics)
    }

    /// Lets a user in no more, if there is one of that name. ACL 1.0 has no such thing: there the
    /// user is unknown.
    #[must_use]
    pub fn disable(mut self, access_key: &str) -> Self {
        if let Some(user) = self.users.get_mut(access_key) {
            user.disabled = true;
        }
        self
    }

    /// Has name servers check as well, as proxies do that stand in for them; off by default.
    #[must_use]
    pub fn at_name_servers(mut self, on: bool) -> Self {
        self.at_name_servers = on;
        self
    }

    fn user(mut self, name: String, secret: String, admin: bool, topics: BTreeSet<String>) -> Self {
        self.users.insert(name, User { secret, admin, disabled: false, topics });
        self
    }

    /// Whether a name server, or a broker, looks at requests at all.
    pub(super) fn checks(&self, name_server: bool) -> bool {
        self.at_name_servers || !name_server
    }

    /// Lets a request pass, or says why not.
    pub(super) fn check(&self, version: ServerVersion, command: &Command) -> Result<(), Refusal> {
        let refuse = |problem: Problem<'_>| Err(problem.refusal(version));
        let name = command.ext.get(ACCESS_KEY).unwrap_or_default();
        if name.is_empty() {
            return refuse(Problem::Anonymous);
        }
        let old = version < ServerVersion::V5_5;
        let user = match self.users.get(name) {
            Some(user) if user.disabled && !old => return refuse(Problem::Disabled(name)),
            Some(user) if !user.disabled => user,
            _ => return refuse(Problem::Unknown(name)),
        };
        if command.ext.get(SIGNATURE) != Some(&*signature(command, &user.secret)) {
            return refuse(Problem::Signature(name));
        }
        if user.admin {
            return Ok(());
        }
        let topic = command.ext.get("b").or(command.ext.get("topic"));
        match (command.code, topic) {
            (request::UPDATE_AND_CREATE_TOPIC, _) if old => {
                refuse(Problem::Admin(name, command.code))
            }
            // Anybody may look, but for the index. Java: PlainAccessValidator#parse.
            (code, _) if old && request::ADMINISTRATION.contains(&code) => match (code, topic) {
                (request::QUERY_MESSAGE, Some(topic)) if !user.topics.contains(topic) => {
                    refuse(Problem::Topic(name, topic))
                }
                _ => Ok(()),
            },
            (_, Some(topic)) if !user.topics.contains(topic) => refuse(Problem::Topic(name, topic)),
            _ => Ok(()),
        }
    }
}

/// Without the secrets.
impl std::fmt::Debug for AccessControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessControl")
            .field("users", &self.users.keys().collect::<Vec<_>>())
            .field("at_name_servers", &self.at_name_servers)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a request.
enum Problem<'a> {
    Anonymous,
    Unknown(&'a str),
    Disabled(&'a str),
    Signature(&'a str),
    Topic(&'a str, &'a str),
    Admin(&'a str, i32),
}

impl Problem<'_> {
    /// The answer of a server, word by word (measured on 4.9.7 and 5.5.0; that about a disabled
    /// user is from its classes).
    fn refusal(&self, version: ServerVersion) -> Refusal {
        if version >= ServerVersion::V5_5 {
            let remark = match self {
                Problem::Anonymous => "username cannot be null.".to_owned(),
                Problem::Unknown(name) => format!("User:{name} is not found."),
                Problem::Disabled(name) => format!("User:{name} is disabled."),
                Problem::Signature(_) => "check signature failed.".to_owned(),
                Problem::Topic(name, topic) => format!(
                    "User:{name} has no permission to access Topic:{topic} from 127.0.0.1, no \
                     matched policies."
                ),
                Problem::Admin(name, _) => format!(
                    "User:{name} has no permission to access Cluster:DefaultCluster from \
                     127.0.0.1, no matched policies."
                ),
            };
            return (answer::NO_PERMISSION, Some(remark));
        }
        let (text, place) = match self {
            Problem::Anonymous => ("No accessKey is configured".to_owned(), "validate"),
            Problem::Unknown(name) | Problem::Disabled(name) => {
                (format!("No acl config for {name}"), "validate")
            }
            Problem::Signature(name) => {
                (format!("Check signature failed for accessKey={name}"), "validate")
            }
            Problem::Topic(_, topic) => {
                (format!("No default permission for topic:{topic}"), "checkPerm")
            }
            Problem::Admin(name, code) => (
                format!(
                    "Need admin permission for request code={code}, but accessKey={name} is not"
                ),
                "checkPerm",
            ),
        };
        let remark = format!(
            "org.apache.rocketmq.acl.common.AclException: {text}, \
             org.apache.rocketmq.acl.plain.PlainPermissionManager.{place}\
             (PlainPermissionManager.java:1)"
        );
        (answer::SYSTEM_ERROR, Some(remark))
    }
}

/// The signature that a request should have.
// Java: AclUtils#combineRequestContent, AclSigner#calSignature.
fn signature(command: &Command, secret: &str) -> String {
    let mut fields: Vec<(&str, &str)> =
        command.ext.iter().filter(|(name, _)| *name != SIGNATURE).collect();
    fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    let mut content = Vec::new();
    for (_, value) in fields {
        // An empty value of a binary header is read as null, and signed as that word (measured).
        let null = value.is_empty() && command.encoding == Encoding::Binary;
        content.extend_from_slice(if null { b"null" } else { value.as_bytes() });
    }
    content.extend_from_slice(&command.body);
    let digest = hmac(secret.as_bytes(), &content);
    base64(&digest).replace('-', "+").replace('_', "/")
}

// RFC 2104.
fn hmac(key: &[u8], content: &[u8]) -> [u8; 20] {
    let mut block = [0; 64];
    let short =
        if key.len() > 64 { Sha1::from(key).digest().bytes().to_vec() } else { key.to_vec() };
    block[..short.len()].copy_from_slice(&short);
    let round = |pad: u8, content: &[u8]| {
        let mut hash = Sha1::new();
        hash.update(&block.map(|byte| byte ^ pad));
        hash.update(content);
        hash.digest().bytes()
    };
    round(0x5c, &round(0x36, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2202.
    #[test]
    fn the_mac_is_that_of_the_standard() {
        let hex = |key: &[u8], text: &[u8]| {
            hmac(key, text).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let mac = hex(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(mac, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let mac = hex(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(mac, "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    }

    /// Computed by the Java classes.
    #[test]
    fn signatures_are_those_of_java() {
        let query = Command::request(105, 1).field("topic", "TopicTest").field(ACCESS_KEY, "AKEY");
        assert_eq!(signature(&query, "SKEY12345678"), "5aIpCh9pRb4PrVKzNGtSBfFrRpE=");
        let query = query.field("SecurityToken", "TOK");
        assert_eq!(signature(&query, "SKEY12345678"), "uz26NB293tuTayOcUvQoNwPBPJk=");
    }

    #[test]
    fn requests_pass_or_are_refused_in_the_words_of_their_version() {
        let access = AccessControl::new()
            .admin("root", "r")
            .producer("shop", "s", ["Orders"])
            .producer("gone", "g", ["Orders"])
            .disable("gone");
        let send = |name: &str, secret: &str, topic: &str| {
            let send = Command::request(310, 1).field(ACCESS_KEY, name).field("b", topic);
            let signed = signature(&send, secret);
            send.field(SIGNATURE, signed)
        };
        let said = |version, command: &Command| {
            let refused = access.check(version, command).err();
            refused.map(|(code, remark)| (code, remark.unwrap_or_default()))
        };
        let (new, old) = (ServerVersion::V5_5, ServerVersion::V4_9);
        for version in [new, old] {
            assert_eq!(said(version, &send("root", "r", "Any")), None);
            assert_eq!(said(version, &send("shop", "s", "Orders")), None);
        }
        for (command, newer, older) in [
            (Command::request(34, 1), "username cannot be null.", "No accessKey is configured"),
            (send("who", "s", "Orders"), "User:who is not found.", "No acl config for who"),
            (send("gone", "g", "Orders"), "User:gone is disabled.", "No acl config for gone"),
            (
                send("shop", "x", "Orders"),
                "check signature failed.",
                "Check signature failed for accessKey=shop",
            ),
            (
                send("shop", "s", "Other"),
                "User:shop has no permission to access Topic:Other from 127.0.0.1, no matched \
                 policies.",
                "No default permission for topic:Other",
            ),
        ] {
            assert_eq!(said(new, &command), Some((16, newer.to_owned())));
            let (code, remark) = said(old, &command).expect("refused");
            let begin = format!("org.apache.rocketmq.acl.common.AclException: {older}, org");
            assert!(code == 1 && remark.starts_with(&begin), "{remark}");
        }
    }
}
