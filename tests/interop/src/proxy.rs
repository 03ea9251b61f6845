//! The proxy of RocketMQ 5, which stands in for name server and brokers on one port.

use std::fs;
use std::time::Duration;

use crate::environment::write;
use crate::jvm::{Jvm, Launch};
use crate::servers::free_ports;
use crate::{Result, Servers};

/// It starts more slowly than a broker.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running proxy in front of servers of the same version. Dropping it kills the process.
#[derive(Debug)]
pub struct Proxy {
    _jvm: Jvm,
    port: u16,
}

impl Proxy {
    /// Starts one and waits until it serves.
    pub fn start(servers: &Servers) -> Result<Self> {
        let port = free_ports()?;
        let home = servers.folder().join(format!("proxy-{port}"));
        let settings = home.join("conf").join("rmq-proxy.json");
        fs::create_dir_all(home.join("conf")).map_err(|e| e.to_string())?;
        let grpc = free_ports()?;
        write(
            &settings,
            &format!(
                "{{\"rocketMQClusterName\":\"DefaultCluster\",\"remotingListenPort\":{port},\
                 \"grpcServerPort\":{grpc},\"localServeAddr\":\"127.0.0.1\"}}"
            ),
        )?;
        let mut launch = Launch::new(servers.environment(), servers.version(), "proxy", &home)?;
        launch.class_path = servers.environment().proxy_class_path(servers.version())?;
        let words = [
            "Guard",
            "org.apache.rocketmq.proxy.ProxyStartup",
            "-pm",
            "cluster",
            "-n",
            &servers.name_server(),
            "-pc",
            &settings.display().to_string(),
        ];
        launch.program = words.map(str::to_owned).into();
        let jvm = launch.start()?;
        jvm.wait_for("startup successfully", START_LIMIT)?;
        Ok(Self { _jvm: jvm, port })
    }

    /// Where it listens, for clients that take it for a name server.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
