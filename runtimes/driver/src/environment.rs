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
