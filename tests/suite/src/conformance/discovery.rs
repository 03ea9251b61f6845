//! Where the name servers come from: a list, a URL, a new list.

use std::time::Duration;

use rocketmq_driver::{
    AttemptFailure, Config, ConfigBuilder, ConfigError, Delivery, DiscoveryFailure, Message,
    SendErrorKind,
};
use rocketmq_testkit::cluster::{ClusterConfig, Node};

use super::scene::*;
use super::{Harness, Servers};

const SHORT: Duration = Duration::from_millis(300);

/// The second name server, where nobody is sent by the look-up.
const OTHER: Node = Node::NameServer(1);

/// Settings that have nothing but the URL of the look-up service.
fn by_url(cluster: &impl Servers) -> ConfigBuilder {
    let url = format!("http://{}/rocketmq/nsaddr", cluster.address(NAMES));
    Config::builder("").name_server_url(&url).send_timeout(2 * PROMPT)
}

/// One GET, and then everything works; sends that came before wait for it.
pub async fn name_servers_are_looked_up_by_url<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().name_servers(2));
    let other = cluster.address(OTHER);
    cluster.with(|cluster| {
        cluster.answer_lookups(&format!("{other}\r\nsomething else"));
        cluster.stall(NAMES);
    });
    let producer = producer(on, by_url(&cluster).unit_name("east"));
    let early = producer.try_submit(message("early")).expect("room");
    cluster.with(|cluster| cluster.resume(NAMES));
    promptly(on, "wait_ready", producer.wait_ready(PROMPT)).await.expect("it answers");
    stored_once(&cluster, &promptly(on, "the early send", early).await.expect("sent"));
    fence(on, &producer).await;
    let (asked, lookups) =
        cluster.with(|cluster| (cluster.route_queries(0, TOPIC), cluster.lookups().to_vec()));
    assert_eq!(asked, 0, "the look-up service is no name server");
    let first = "GET /rocketmq/nsaddr-east?nofix=1 HTTP/1.1\r\n";
    assert!(lookups[0].head.starts_with(first), "{lookups:?}");
    promptly(on, "close", producer.close(PROMPT)).await;
}

/// Start needs no service that works; whoever waits is told, and served when it works.
pub async fn a_look_up_that_fails_is_told_and_tried_again<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let rows: [(&str, DiscoveryFailure); 5] = [
        ("HTTP/1.1 404 Not Found\r\n\r\n", DiscoveryFailure::Status { status: 404 }),
        ("HTTP/1.1 302 Found\r\n\r\n", DiscoveryFailure::Redirect { status: 302 }),
        ("what?\r\n", DiscoveryFailure::NotHttp),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", DiscoveryFailure::Empty),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n",
            DiscoveryFailure::TooLong,
        ),
    ];
    for (answer, wanted) in rows {
        cluster.with(|cluster| cluster.answer_lookups_with(answer));
        let producer = producer(on, by_url(&cluster));
        let told = |failure: &AttemptFailure| *failure == AttemptFailure::Discovery(wanted.clone());
        let start = on.now();
        loop {
            let ready = promptly(on, "wait_ready", producer.wait_ready(SHORT)).await;
            let not_ready = ready.expect_err("there is no name server");
            if not_ready.name_servers.iter().any(|server| told(&server.failure)) {
                assert!(not_ready.name_servers[0].address.ends_with("/rocketmq/nsaddr"));
                break;
            }
            assert!(on.since(start) < PROMPT, "{not_ready}");
        }
        let options = rocketmq_driver::SendOptions::new().with_timeout(SHORT);
        let lost = promptly(on, "the send", producer.send_with(message("lost"), options)).await;
        let error = failed(lost, &SendErrorKind::NameServerUnreachable, Delivery::NotSent);
        assert!(error.name_servers().iter().any(|server| told(&server.failure)), "{error}");
        let list = cluster.name_server_addresses();
        cluster.with(|cluster| cluster.answer_lookups(&list));
        stored_once(&cluster, &promptly(on, "a send", producer.send(message("m"))).await.unwrap());
    }
    // Nobody listens.
    cluster.with(|cluster| cluster.kill(NAMES));
    let producer = producer(on, by_url(&cluster));
    let ready = promptly(on, "wait_ready", producer.wait_ready(SHORT)).await;
    let text = ready.expect_err("nobody listens").to_string();
    assert!(text.contains("looking up the name servers failed"), "{text}");
    cluster.with(|cluster| cluster.restart(NAMES));
    fence(on, &producer).await;
}

/// Those that are no longer listed are not asked any more and lose their connections (P29).
pub async fn the_list_of_name_servers_is_replaced<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().name_servers(2).topic("Later", 4));
    let old = cluster.address(NAMES).to_string();
    let config = Config::builder(&old).send_timeout(2 * PROMPT).route_refresh(RARELY);
    let producer = producer(on, config);
    let client = producer.client();
    fence(on, &producer).await;
    let bad = client.set_name_servers("a:1;http://b:2").expect_err("a scheme");
    assert!(bad.to_string().contains("name_server_url"), "{bad}");
    assert_eq!(client.set_name_servers(" ; "), Err(ConfigError::NoNameServer));
    // What the old one was being asked is asked of the new one.
    cluster.with(|cluster| cluster.stall(NAMES));
    let open = producer.try_submit(Message::new("Later", "m")).expect("room");
    fence(on, &producer).await;
    client.set_name_servers(&cluster.address(OTHER).to_string()).expect("a list");
    promptly(on, "the open send", open).await.expect("the other one answers");
    assert_eq!(cluster.with(|cluster| cluster.route_queries(1, "Later")), 1);
    cluster.with(|cluster| cluster.resume(NAMES));
    until(on, "the old one is left", || {
        cluster.with(|cluster| cluster.connections(NAMES).is_empty())
    })
    .await;
    // The route is kept although the new one is gone.
    cluster.with(|cluster| cluster.kill(OTHER));
    fence(on, &producer).await;
    promptly(on, "close", producer.close(PROMPT)).await;
    client.set_name_servers(&old).expect("it does nothing");
}
