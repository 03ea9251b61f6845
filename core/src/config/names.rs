//! The settings that say how a client, its groups and its topics are called, and who knows where
//! they are.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use core::net::IpAddr;

use super::{Config, ConfigBuilder, ConfigError, GroupError, check_group, is_name_byte};
use crate::discovery::NameServerUrl;
use crate::limits;
use crate::namespace;

impl Config {
    /// The name of a topic of the namespace on the wire.
    pub fn wire_topic<'a>(&self, topic: &'a str) -> Cow<'a, str> {
        namespace::wrap(&self.namespace, topic)
    }

    /// Checks the name of a producer group and gives its name on the wire.
    ///
    /// # Errors
    /// As [`check_group`]; the length is that of the name on the wire.
    // Java: DefaultMQProducer#start wraps the group before it is checked.
    pub fn wire_group<'a>(&self, group: &'a str) -> Result<Cow<'a, str>, GroupError> {
        check_group(group)?;
        let wrapped = namespace::wrap(&self.namespace, group);
        if wrapped.len() > limits::GROUP_LENGTH_MAX {
            return Err(GroupError::TooLongInNamespace(wrapped.into_owned()));
        }
        Ok(wrapped)
    }

    pub(super) fn check_names(&self) -> Result<(), ConfigError> {
        for namespace in [&self.namespace, &self.namespace_v2] {
            if !namespace.bytes().all(is_name_byte) || namespace.len() > limits::TOPIC_LENGTH_MAX {
                return Err(ConfigError::Namespace { namespace: namespace.clone() });
            }
        }
        for topic in self.topics.iter().chain([&self.create_topic_key]) {
            if let Err(error) = crate::prepared::check_topic(topic, &self.namespace) {
                return Err(ConfigError::Topic { topic: topic.clone(), error });
            }
        }
        Ok(())
    }
}

impl ConfigBuilder {
    /// Sets [`Config::name_server_url`], like `http://HOST:8080/rocketmq/nsaddr`. It is asked only
    /// if the list of name servers is empty.
    ///
    /// ```
    /// use rocketmq_core::Config;
    ///
    /// let config = Config::builder("").name_server_url("http://ns.example/list").build()?;
    /// assert!(config.name_servers.is_empty());
    /// # Ok::<(), rocketmq_core::ConfigError>(())
    /// ```
    pub fn name_server_url(mut self, url: &str) -> ConfigBuilder {
        self.url = Some(url.parse());
        self
    }

    /// Sets [`Config::name_server_url`] to the one that the Java client would make of a domain and
    /// a subgroup: see [`NameServerUrl::of_domain`].
    pub fn name_server_domain(mut self, domain: &str, subgroup: &str) -> ConfigBuilder {
        self.url = Some(NameServerUrl::of_domain(domain, subgroup));
        self
    }

    /// Sets [`Config::client_ip`]; that of this host by default.
    pub fn client_ip(mut self, ip: IpAddr) -> ConfigBuilder {
        self.config.client_ip = Some(ip);
        self
    }

    /// Sets [`Config::instance_name`]; one of its own for each client by default.
    pub fn instance_name(mut self, name: impl Into<Box<str>>) -> ConfigBuilder {
        self.config.instance_name = name.into();
        self
    }

    /// Sets [`Config::unit_name`]; none by default.
    pub fn unit_name(mut self, name: impl Into<Box<str>>) -> ConfigBuilder {
        self.config.unit_name = name.into();
        self
    }

    /// Sets [`Config::namespace`]; none by default.
    pub fn namespace(mut self, namespace: impl Into<Box<str>>) -> ConfigBuilder {
        self.config.namespace = namespace.into();
        self
    }

    /// Sets [`Config::namespace_v2`]; none by default.
    pub fn namespace_v2(mut self, namespace: impl Into<Box<str>>) -> ConfigBuilder {
        self.config.namespace_v2 = namespace.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_with_the_namespace() {
        let config = Config::builder("a:1").namespace("shop").build().unwrap();
        assert_eq!(config.wire_topic("Orders"), "shop%Orders");
        assert_eq!(config.wire_group("%RETRY%g").unwrap(), "%RETRY%shop%g");
        assert!(config.wire_group(&"x".repeat(115)).is_ok());
        let long = config.wire_group(&"x".repeat(116)).unwrap_err();
        assert!(matches!(long, GroupError::TooLongInNamespace(name) if name.len() == 121));
        assert!(matches!(config.wire_group("DEFAULT_PRODUCER"), Err(GroupError::Illegal(_))));
        let topic = |length| Config::builder("a:1").namespace("shop").topic("x".repeat(length));
        assert!(topic(122).build().is_ok());
        assert!(matches!(topic(123).build(), Err(ConfigError::Topic { .. })));
        let plain = Config::builder("a:1").topic("x".repeat(127)).build();
        assert!(plain.is_ok());
    }

    #[test]
    fn namespaces_are_made_of_the_letters_of_topics() {
        for bad in ["a b", "a\"b", "ü", &"x".repeat(128)] {
            let builds = [
                Config::builder("a:1").namespace(bad).build(),
                Config::builder("a:1").namespace_v2(bad).build(),
            ];
            for build in builds {
                assert!(matches!(build, Err(ConfigError::Namespace { .. })), "{bad}");
            }
        }
    }

    #[test]
    fn somebody_has_to_know_the_name_servers() {
        let url = |list: &str, url: &str| Config::builder(list).name_server_url(url).build();
        assert_eq!(Config::builder("").build().unwrap_err(), ConfigError::NoNameServer);
        assert!(url("", "http://ns.example/list").unwrap().name_servers.is_empty());
        assert_eq!(url("a:1", "http://ns.example/list").unwrap().name_servers.len(), 1);
        for bad in ["https://ns.example/list", "ns.example", "http://ns example/"] {
            assert!(matches!(url("", bad), Err(ConfigError::Url(_))), "{bad}");
        }
        let unit = Config::builder("").name_server_domain("ns.example", "nsaddr");
        let unit = unit.unit_name("east").build().unwrap().name_server_url.unwrap();
        let java = "http://ns.example:8080/rocketmq/nsaddr-east?nofix=1";
        assert_eq!(alloc::string::ToString::to_string(&unit), java);
    }
}
