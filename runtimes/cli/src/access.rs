//! Options about who the client is to servers with access control.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use rocketmq_tokio::{ConfigBuilder, Credentials};

use crate::console::write_line;
use crate::text::harmless;

const HEADING: &str = "Access control";

/// Largest file that is read: keys and tokens have a few thousand bytes.
const FILE_MAX: u64 = 64 * 1024;

/// What none of the texts below may ever be printed as: everything that shows it shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Secret, Self::Err> {
        Ok(Secret(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[derive(Debug, Args)]
pub(crate) struct AccessArguments {
    /// Access key for servers with access control; with ACL 2.0 the name of the user
    #[arg(
        long,
        env = "ROCKETMQ_ACCESS_KEY",
        hide_env_values = true,
        value_name = "KEY",
        allow_hyphen_values = true,
        help_heading = HEADING
    )]
    access_key: Option<Secret>,

    /// The secret of the access key; with ACL 2.0 the password
    ///
    /// Others on this machine can see command lines: prefer the environment or --credentials-file.
    #[arg(
        long,
        env = "ROCKETMQ_SECRET_KEY",
        hide_env_values = true,
        value_name = "SECRET",
        allow_hyphen_values = true,
        help_heading = HEADING
    )]
    secret_key: Option<Secret>,

    /// Security token that came with the keys
    #[arg(
        long,
        env = "ROCKETMQ_SECURITY_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        allow_hyphen_values = true,
        help_heading = HEADING
    )]
    security_token: Option<Secret>,

    /// File with the lines AccessKey=…, SecretKey=… and, if need be, SecurityToken=…
    ///
    /// The key file of the Java client is one. Empty lines and those that begin with # say nothing.
    #[arg(
        long,
        env = "ROCKETMQ_CREDENTIALS_FILE",
        value_name = "FILE",
        help_heading = HEADING
    )]
    credentials_file: Option<PathBuf>,
}

/// The texts of credentials, as far as they were found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    access_key: Option<Secret>,
    secret_key: Option<Secret>,
    security_token: Option<Secret>,
}

impl AccessArguments {
    /// Puts what was given into the settings. The error says what to do, and shows no value.
    pub(crate) fn apply(&self, config: ConfigBuilder) -> Result<ConfigBuilder, String> {
        Ok(match self.credentials()? {
            Some(credentials) => config.credentials(credentials),
            None => config,
        })
    }

    fn credentials(&self) -> Result<Option<Credentials>, String> {
        // A variable of the environment that is set to nothing is not set.
        let given = |secret: &Option<Secret>| secret.clone().filter(|it| !it.0.is_empty());
        let options = Found {
            access_key: given(&self.access_key),
            secret_key: given(&self.secret_key),
            security_token: given(&self.security_token),
        };
        let file = self.credentials_file.as_deref().filter(|path| !path.as_os_str().is_empty());
        let Some(path) = file else { return options.complete("--access-key", "--secret-key") };
        if options != Found::default() {
            return Err(
                "--credentials-file does not go together with --access-key, --secret-key and \
                 --security-token or their variables of the environment (ROCKETMQ_ACCESS_KEY and \
                 so on); leave one or the other out"
                    .into(),
            );
        }
        let found = read_file(path)?;
        let place = |what: &str| format!("a line {what}=… in {}", path.display());
        found.complete(&place("AccessKey"), &place("SecretKey"))
    }
}

impl Found {
    fn complete(self, access: &str, secret: &str) -> Result<Option<Credentials>, String> {
        let credentials = match (self.access_key, self.secret_key) {
            (Some(access_key), Some(secret_key)) => Credentials::new(access_key.0, secret_key.0),
            (None, Some(_)) => {
                return Err(format!("the secret key has no access key; give {access}"));
            }
            (Some(_), None) => {
                return Err(format!("the access key has no secret key; give {secret}"));
            }
            (None, None) if self.security_token.is_some() => {
                return Err(format!("the security token has no keys; give {access} and {secret}"));
            }
            (None, None) => return Ok(None),
        };
        let with_token = credentials.and_then(|credentials| match self.security_token {
            Some(token) => credentials.with_security_token(token.0),
            None => Ok(credentials),
        });
        with_token.map(Some).map_err(|error| error.to_string())
    }
}

// Java: SessionCredentials#SessionCredentials(), rocketmq.client.keyFile
fn read_file(path: &Path) -> Result<Found, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let about = fs::metadata(path).map_err(cannot)?;
    if about.len() > FILE_MAX {
        return Err(format!("{} has more than 64 KiB; is it the right file?", path.display()));
    }
    warn_if_open(path, &about);
    let found = parse(&fs::read_to_string(path).map_err(cannot)?);
    found
        .and_then(|found| {
            let empty = found == Found::default();
            if empty {
                Err("it has neither AccessKey=… nor SecretKey=…".into())
            } else {
                Ok(found)
            }
        })
        .map_err(|reason| format!("{}: {reason}", path.display()))
}

fn parse(text: &str) -> Result<Found, String> {
    let mut found = Found::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let known = line.split_once('=').map(|(name, value)| (name.trim_end(), value.trim_start()));
        let place = match known {
            Some(("AccessKey", _)) => &mut found.access_key,
            Some(("SecretKey", _)) => &mut found.secret_key,
            Some(("SecurityToken", _)) => &mut found.security_token,
            _ => {
                return Err(format!(
                    "line {} is not AccessKey=…, SecretKey=… or SecurityToken=…",
                    number + 1
                ));
            }
        };
        if place.is_some() {
            return Err(format!("line {} says again what another line has said", number + 1));
        }
        *place = known.map(|(_, value)| Secret(value.to_owned()));
    }
    Ok(found)
}

#[cfg(unix)]
fn warn_if_open(path: &Path, about: &fs::Metadata) {
    use std::os::unix::fs::PermissionsExt;
    if about.permissions().mode() & 0o077 != 0 {
        let path = path.display().to_string();
        write_line(&format!(
            "rmq: others on this machine may read {}; to change that: chmod 600",
            harmless(&path)
        ));
    }
}

#[cfg(not(unix))]
fn warn_if_open(_path: &Path, _about: &fs::Metadata) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret(text.into()))
    }

    #[test]
    fn a_file_has_a_line_for_each_text() {
        let found =
            parse("# keys\n\n AccessKey = a=b \r\nSecretKey=hush\nSecurityToken=t\n").unwrap();
        let expected = Found {
            access_key: secret("a=b"),
            secret_key: secret("hush"),
            security_token: secret("t"),
        };
        assert_eq!(found, expected);
        assert_eq!(parse("").unwrap(), Found::default());
        for bad in ["hush", "AccessKey=a\nsecretkey=hush", "SecretKey=hush\nSecretKey=hush"] {
            let error = parse(bad).unwrap_err();
            assert!(error.starts_with("line ") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn half_of_them_is_refused_with_what_is_missing() {
        let complete = |access_key: Option<Secret>, secret_key, security_token| {
            Found { access_key, secret_key, security_token }
                .complete("--access-key", "--secret-key")
        };
        assert_eq!(complete(None, None, None), Ok(None));
        assert!(complete(secret("a"), secret("hush"), secret("t")).unwrap().is_some());
        for (half, missing) in [
            (complete(secret("a"), None, None), "--secret-key"),
            (complete(None, secret("hush"), None), "--access-key"),
            (complete(None, None, secret("hush")), "--access-key and --secret-key"),
            (complete(secret("a"), secret("hush\n"), None), "control character"),
        ] {
            let error = half.unwrap_err();
            assert!(error.contains(missing) && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let arguments = AccessArguments {
            access_key: secret("hush-a"),
            secret_key: secret("hush-s"),
            security_token: secret("hush-t"),
            credentials_file: None,
        };
        assert!(!format!("{arguments:?}").contains("hush"), "{arguments:?}");
    }
}
