//! The servers that an example sends to.

use std::io;

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::ClusterConfig;

/// The cluster that `NAMESRV_ADDR` names, or else a small one in this process, which ends with the
/// value.
pub(crate) struct Servers {
    name_servers: String,
    _local: Option<LoopbackCluster>,
}

impl Servers {
    pub(crate) fn new() -> io::Result<Servers> {
        if let Ok(name_servers) = std::env::var("NAMESRV_ADDR") {
            return Ok(Servers { name_servers, _local: None });
        }
        Servers::local()
    }

    pub(crate) fn local() -> io::Result<Servers> {
        let config = ClusterConfig::new().brokers(2).topic("TopicTest", 4);
        let local = LoopbackCluster::start(config)?;
        Ok(Servers { name_servers: local.name_server_addresses(), _local: Some(local) })
    }

    pub(crate) fn name_servers(&self) -> &str {
        &self.name_servers
    }
}
