//! The service of the test kit's example on a real runtime, with real sockets and in real time:
//! what holds in the simulation holds here.

use std::time::Duration;

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};

#[path = "../../testkit/examples/failover/service.rs"]
mod service;

use service::{Clock, OrderService, Outbox};

struct Tokio;

impl Clock for Tokio {
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// A broker dies while orders come in, another one loses an answer, and the service is restarted.
#[tokio::test]
async fn no_order_is_lost_when_a_broker_and_the_service_die() {
    let (dies, lies) = (Node::Broker(0), Node::Broker(1));
    let cluster = ClusterConfig::new().brokers(2).topic("Orders", 4);
    let cluster = LoopbackCluster::start(cluster).expect("the loopback interface works");
    cluster.with(|cluster| {
        cluster.script(lies, Rule::sends().nth(3), Fault::silent_after_storing());
    });
    let outbox = Outbox::default();
    let open = || {
        let producer = rocketmq_tokio::producer(&cluster.name_server_addresses(), "shop");
        let service = OrderService::new(outbox.clone(), producer.expect("legal"), Tokio);
        tokio::spawn(service.relay())
    };
    let mut shop = open();
    for order in 0..40 {
        outbox.accept(order, &format!("order {order}"));
        match order {
            10 => cluster.with(|cluster| cluster.kill(dies)),
            20 => {
                shop.abort();
                shop = open();
            }
            30 => cluster.with(|cluster| cluster.restart(dies)),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let settled = async {
        while !outbox.is_settled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), settled).await.expect("all orders are sent");
    shop.abort();
    let stored = cluster.with(|cluster| cluster.stored("Orders"));
    for (order, row) in outbox.rows() {
        let key = Some(order.to_string());
        let copies = stored.iter().filter(|stored| stored.keys == key).count();
        assert!(copies == 1 || (copies > 1 && row.doubtful), "{copies} copies: {row:?}");
    }
}
