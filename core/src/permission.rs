//! Why a server refuses a client, read from what it says.

use core::fmt;

use crate::wire::ResponseCode;

/// What a server with access control has against a client.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PermissionReason {
    /// The request was not signed, and the server wants it to be.
    NoCredentials,
    /// The server knows no such access key or user.
    UnknownAccessKey,
    /// The server knows the user, and lets nobody in by that name.
    Disabled,
    /// The signature is wrong: the secret key is another one.
    WrongSecret,
    /// The signature is right, and the user may not do what was asked for.
    MissingPermission,
    /// Any other refusal by access control; the remark says more.
    Other,
}

/// Remarks of ACL 2.0, which come with code 16. The first part of a remark, and a later one.
// Java: DefaultAuthenticationHandler#doAuthenticate, #getUser, AclAuthorizationHandler,
// AbstractAuthenticationStrategy, AbstractAuthorizationStrategy [5.3]
const NEWER: [(&str, &str, PermissionReason); 7] = [
    ("username cannot be null", "", PermissionReason::NoCredentials),
    ("User:", "not found", PermissionReason::UnknownAccessKey),
    ("User:", "is disabled", PermissionReason::Disabled),
    ("check signature failed", "", PermissionReason::WrongSecret),
    ("", "has no permission to access", PermissionReason::MissingPermission),
    ("Authorization failed.", "", PermissionReason::MissingPermission),
    ("Authentication failed.", "", PermissionReason::Other),
];

/// What an answer of ACL 1.0 begins with, which comes with code 1: the name of an exception.
const OLDER_MARK: &str = "org.apache.rocketmq.acl";

/// Remarks of ACL 1.0.
// Java: PlainPermissionManager#validate, #checkPerm [4.9, 5.1]
const OLDER: [(&str, PermissionReason); 6] = [
    ("No accessKey is configured", PermissionReason::NoCredentials),
    ("No acl config for", PermissionReason::UnknownAccessKey),
    ("No PlainAccessResource for", PermissionReason::UnknownAccessKey),
    ("Check signature failed", PermissionReason::WrongSecret),
    ("No default permission for", PermissionReason::MissingPermission),
    ("Need admin permission", PermissionReason::MissingPermission),
];

impl PermissionReason {
    /// Reads an answer. `None` if it is no refusal by access control: a topic or a broker may be
    /// closed to everybody.
    ///
    /// ```
    /// use rocketmq_core::PermissionReason;
    /// use rocketmq_core::wire::ResponseCode;
    ///
    /// let code = ResponseCode::NO_PERMISSION;
    /// let reason = PermissionReason::of(code, "check signature failed.");
    /// assert_eq!(reason, Some(PermissionReason::WrongSecret));
    /// ```
    pub fn of(code: ResponseCode, remark: &str) -> Option<PermissionReason> {
        match code {
            ResponseCode::SYSTEM_ERROR if remark.starts_with(OLDER_MARK) => {
                let known = OLDER.iter().find(|(part, _)| remark.contains(part));
                Some(known.map_or(PermissionReason::Other, |(_, reason)| *reason))
            }
            ResponseCode::NO_PERMISSION => {
                let says = |(first, later, _): &&(&str, &str, _)| {
                    let rest = remark.find(first).and_then(|at| remark.get(at..));
                    rest.is_some_and(|rest| rest.contains(later))
                };
                NEWER.iter().find(says).map(|(_, _, reason)| *reason)
            }
            _ => None,
        }
    }

    /// Whether other credentials would do better, rather than more rights for these.
    pub const fn is_identity(self) -> bool {
        !matches!(self, PermissionReason::MissingPermission)
    }

    /// The reason in lower case, as in machine-readable output.
    pub const fn name(self) -> &'static str {
        match self {
            PermissionReason::NoCredentials => "no_credentials",
            PermissionReason::UnknownAccessKey => "unknown_access_key",
            PermissionReason::Disabled => "disabled",
            PermissionReason::WrongSecret => "wrong_secret",
            PermissionReason::MissingPermission => "missing_permission",
            PermissionReason::Other => "other",
        }
    }

    /// What to do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            PermissionReason::NoCredentials => {
                "the server wants credentials and got none; give the client an access key and its \
                 secret"
            }
            PermissionReason::UnknownAccessKey => {
                "the server does not know the access key; check it, and that this server has it"
            }
            PermissionReason::Disabled => {
                "the user is disabled; have the user enabled, or use other credentials"
            }
            PermissionReason::WrongSecret => {
                "the access key is known and the signature is wrong; check the secret key"
            }
            PermissionReason::MissingPermission => {
                "the credentials are right and lack a permission; have it granted, for sends PUB \
                 on the topic"
            }
            PermissionReason::Other => "check the access key, its secret and its permissions",
        }
    }
}

/// Shows the advice.
impl fmt::Display for PermissionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice())
    }
}

#[cfg(test)]
mod tests {
    use super::PermissionReason::{
        self, Disabled, MissingPermission, NoCredentials, Other, UnknownAccessKey, WrongSecret,
    };
    use crate::wire::ResponseCode;

    /// What servers of 5.5.0 (code 16) and of 4.9.7 and 5.1.4 (code 1) answered.
    #[test]
    fn remarks_of_real_servers_are_told_apart() {
        const OLD: &str = "org.apache.rocketmq.acl.common.AclException: ";
        const AT: &str = ", org.apache.rocketmq.acl.plain.PlainPermissionManager";
        let old = |said: &str, at: &str| alloc::format!("{OLD}{said}{AT}{at}");
        let of = |code: i32, remark: &str| PermissionReason::of(ResponseCode(code), remark);
        for (remark, reason) in [
            ("username cannot be null.", Some(NoCredentials)),
            ("User:nobody12 is not found.", Some(UnknownAccessKey)),
            ("check signature failed.", Some(WrongSecret)),
            (
                "User:producer has no permission to access Topic:Denied from 127.0.0.1, the \
                 decision is deny.",
                Some(MissingPermission),
            ),
            (
                "User:producer has no permission to access Topic:Unlisted from 127.0.0.1, no \
                 matched policies.",
                Some(MissingPermission),
            ),
            // These three are in the servers' classes, and were not provoked.
            ("User:producer is disabled.", Some(Disabled)),
            ("Authentication failed. Please verify the credentials and try again.", Some(Other)),
            (
                "Authorization failed. Please verify your access rights and try again.",
                Some(MissingPermission),
            ),
            // Nobody may do these, whoever it is.
            ("Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden.", None),
            ("the broker[broker-a] sending message is forbidden", None),
            ("", None),
        ] {
            assert_eq!(of(16, remark), reason, "{remark}");
            assert_eq!(of(1, remark), None, "{remark}");
        }
        for (said, at, reason) in [
            (
                "No accessKey is configured",
                ".validate(PlainPermissionManager.java:663)",
                NoCredentials,
            ),
            (
                "No acl config for nobody12",
                ".validate(PlainPermissionManager.java:667)",
                UnknownAccessKey,
            ),
            (
                "Check signature failed for accessKey=rocketmq12",
                ".validate(PlainPermissionManager.java:683)",
                WrongSecret,
            ),
            (
                "No default permission for topic:Denied",
                ".checkPerm(PlainPermissionManager.java:605)",
                MissingPermission,
            ),
            (
                "Need admin permission for request code=17, but accessKey=producer12 is not",
                ".checkPerm(PlainPermissionManager.java:580)",
                MissingPermission,
            ),
            ("something new", "", Other),
        ] {
            let remark = old(said, at);
            assert_eq!(of(1, &remark), Some(reason), "{remark}");
            assert_eq!(of(2, &remark), None, "{remark}");
        }
        assert_eq!(of(1, "java.lang.NullPointerException"), None);
        assert_eq!(of(0, "check signature failed."), None);
    }
}
