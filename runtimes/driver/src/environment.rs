//! Settings from the environment, for those who ask for them.

use std::env;

use rocketmq_core::{Config, ConfigBuilder};

/// The environment variable with the list of name servers, as for the Java client.
// Java: MixAll#NAMESRV_ADDR_ENV
pub const NAMESRV_ADDR: &str = "NAMESRV_ADDR";

/// Settings with the name servers of the environment variable `NAMESRV_ADDR`, a list like
/// `10.0.0.1:9876;10.0.0.2:9876`. Nothing else looks at the environment.
///
/// Nothing is checked before [`ConfigBuilder::build`]. If the variable is not set, building fails
/// with [`ConfigError::NoNameServer`](rocketmq_core::ConfigError::NoNameServer), unless
/// [`ConfigBuilder::name_server_url`] is set.
///
/// ```
/// use rocketmq_driver::config_from_env;
///
/// let config = config_from_env().name_server_url("http://ns.example/list").build()?;
/// # Ok::<(), rocketmq_driver::ConfigError>(())
/// ```
pub fn config_from_env() -> ConfigBuilder {
    // What is no text cannot be a list; the error of the build shows what is left of it.
    let list = env::var_os(NAMESRV_ADDR).unwrap_or_default();
    Config::builder(&list.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::Command;

    use rocketmq_core::{Config, ConfigError};

    use super::config_from_env;

    /// Runs itself once more with the variable set: it cannot be changed in a process with threads.
    #[test]
    fn only_the_helper_looks_at_the_environment() {
        let plain = Config::builder("").build().err();
        assert_eq!(plain, Some(ConfigError::NoNameServer));
        let asked = config_from_env().build();
        if env::var_os("NAMESRV_ADDR").is_some() {
            let servers = asked.expect("a list").name_servers;
            let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
            assert_eq!(servers, ["10.0.0.1:9876", "10.0.0.2:9876"]);
            return;
        }
        assert_eq!(asked.err(), Some(ConfigError::NoNameServer));
        let mut again = Command::new(env::current_exe().expect("this program"));
        again.args(["--exact", "environment::tests::only_the_helper_looks_at_the_environment"]);
        let output = again.env("NAMESRV_ADDR", "10.0.0.1:9876;10.0.0.2:9876").output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.contains("1 passed"), "{told}");
    }
}
