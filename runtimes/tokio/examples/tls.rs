//! Sends over TLS: to servers of an authority of one's own, with a certificate for the client, and
//! with certificates that are renewed while the client runs. Needs the feature `tls`.
//!
//! Needs no broker: it starts a small cluster in this process that takes nothing but TLS.

use std::error::Error;
use std::time::Duration;

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::ClusterConfig;
use rocketmq_testkit::tls::{Authority, GOOD, Identity, ServerTls, TlsMode};
use rocketmq_tokio::{ClientOptions, Config, Message, TlsConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run().await
}

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let authority = Authority::new("example");
    let servers = LoopbackCluster::start(ClusterConfig::new().brokers(2).topic("TopicTest", 4))?;
    let certificate = authority.issue(&["127.0.0.1"], GOOD);
    let tls = ServerTls::with_client_authority(&certificate, &authority).mode(TlsMode::Enforcing);
    servers.with(|cluster| cluster.set_tls_everywhere(&tls));

    let first = authority.issue(&["billing"], GOOD);
    let config = Config::builder(&servers.name_server_addresses()).build()?;
    let options = ClientOptions::new(config).with_tls(settings(authority.pem(), &first)?);
    let client = rocketmq_tokio::start(options)?;
    let producer = client.producer("example")?;
    let receipt = producer.send(Message::new("TopicTest", "secret")).await?;
    println!("stored on {} as {}", receipt.broker_name, receipt.unique_key);
    print!("{}", client.diagnose(Some("TopicTest")).await);

    // Say when files have changed. Open connections go on; new ones use the new certificate.
    let second = authority.issue(&["billing"], GOOD);
    client.set_tls(settings(authority.pem(), &second)?);
    let receipt = producer.send(Message::new("TopicTest", "secret")).await?;
    println!("stored on {} as {}", receipt.broker_name, receipt.unique_key);

    client.close(Duration::from_secs(3)).await;
    Ok(())
}

/// All of it is text of PEM, as files hold it.
fn settings(ca: &str, client: &Identity) -> Result<TlsConfig, Box<dyn Error>> {
    let tls =
        TlsConfig::builder().roots_pem(ca).client_certificate_pem(&client.certificate, &client.key);
    Ok(tls.build()?)
}
