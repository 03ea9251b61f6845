//! Name servers: routes, true and false.

use rocketmq_testkit::cluster::{
    ClusterConfig, Node, ReplyEncoding, RouteOverride, ServerVersion, TopicConfig,
};
use rocketmq_testkit::wire::{Command, Encoding, quote_keys};
use serde_json::Value;

use crate::common::{Bench, ROUTE_BINARY, ROUTE_JSON, hex, send};

fn config() -> ClusterConfig {
    ClusterConfig::new().brokers(2).topic("TopicTest", 4)
}

fn ask(topic: &str) -> Command {
    Command::request(105, 9).field("topic", topic)
}

fn body(answer: &Command) -> Value {
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    serde_json::from_slice(&answer.body).expect("strict JSON")
}

#[test]
fn java_queries_get_the_route_of_every_broker_in_json() {
    let mut bench = Bench::name_server(config());
    for frame in [ROUTE_JSON, ROUTE_BINARY] {
        let answer = bench.bytes(&hex(frame)).remove(0).answer();
        assert_eq!((answer.opaque, answer.flag, answer.version), (7, 1, 513));
        assert_eq!(answer.encoding, Encoding::Json);
        let route = body(&answer);
        assert_eq!(route["queueDatas"][1]["brokerName"], "broker-b");
        assert_eq!(route["queueDatas"][1]["writeQueueNums"], 4);
        assert_eq!(route["brokerDatas"][0]["brokerAddrs"]["0"], "10.0.0.1:10911");
        assert_eq!(route["brokerDatas"].as_array().map(Vec::len), Some(2));
    }
    assert_eq!(bench.cluster.route_queries(0, "TopicTest"), 2);
}

#[test]
fn frames_may_arrive_in_any_pieces() {
    let mut bench = Bench::name_server(config());
    let frames = [hex(ROUTE_JSON), hex(ROUTE_BINARY)].concat();
    let mut seen = Vec::new();
    for byte in &frames {
        seen.extend(bench.bytes(&[*byte]));
    }
    assert_eq!(seen.len(), 2);
    assert_eq!(bench.bytes(&frames).len(), 2);
}

#[test]
fn an_old_server_mirrors_the_encoding_and_a_new_one_can_be_told_to() {
    let old = config().version(ServerVersion::V4_9);
    let told = config().reply_encoding(ReplyEncoding::Mirror);
    for config in [old, told] {
        let mut bench = Bench::name_server(config);
        let answer = bench.bytes(&hex(ROUTE_BINARY)).remove(0).answer();
        assert_eq!(answer.encoding, Encoding::Binary);
    }
    let always = config().reply_encoding(ReplyEncoding::Always(Encoding::Binary));
    let answer = Bench::name_server(always).bytes(&hex(ROUTE_JSON)).remove(0).answer();
    assert_eq!(answer.encoding, Encoding::Binary);
}

#[test]
fn old_clients_get_loose_json_unless_they_ask_for_strict() {
    let mut bench = Bench::name_server(config());
    let mut query = ask("TopicTest");
    query.version = 400;
    let loose = bench.ask(&query);
    let text = String::from_utf8(loose.body).expect("text");
    assert!(text.contains("{0:\"10.0.0.1:10911\"}"), "{text}");
    assert!(serde_json::from_str::<Value>(&quote_keys(&text)).is_ok());
    body(&bench.ask(&query.field("acceptStandardJsonOnly", "true")));
}

#[test]
fn unknown_topics_are_17_with_the_text_of_the_release() {
    let answer = Bench::name_server(config()).ask(&ask("Nope"));
    let text = "No topic route info in name server for the topic: Nope\n\
                See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";
    assert_eq!((answer.code, answer.remark.as_deref()), (17, Some(text)));
    let old = config().version(ServerVersion::V4_9);
    let answer = Bench::name_server(old).ask(&ask("Nope"));
    assert!(answer.remark.expect("text").contains("http://rocketmq.apache.org/docs/faq/"));
}

#[test]
fn the_template_topic_has_a_route_only_while_topics_are_made_automatically() {
    let route = body(&Bench::name_server(config()).ask(&ask("TBW102")));
    assert_eq!(route["queueDatas"][0]["perm"], 7);
    let off = config().auto_create_topics(false);
    assert_eq!(Bench::name_server(off).ask(&ask("TBW102")).code, 17);
}

#[test]
fn an_automatically_made_topic_is_in_the_route_of_its_broker_at_once() {
    let mut bench = Bench::broker(config());
    assert_eq!(bench.ask(&send("Fresh", 3, "K", b"x")).code, 0);
    let route = bench.cluster.route("Fresh").expect("a route");
    assert_eq!(route.queues.len(), 1);
    assert_eq!((route.queues[0].write_queues, route.queues[0].perm), (4, 6));
}

#[test]
fn cluster_info_is_loose_and_other_codes_are_3_or_silence() {
    let mut bench = Bench::name_server(config());
    let info = bench.ask(&Command::request(106, 1));
    let text = String::from_utf8(info.body).expect("text");
    assert!(text.starts_with("{\"brokerAddrTable\":{\"broker-a\":{\"brokerAddrs\":{0:"), "{text}");
    let answer = bench.ask(&Command::request(310, 2));
    assert_eq!((answer.code, answer.opaque), (3, 2));
    assert_eq!(answer.remark.as_deref(), Some(" request type 310 not supported"));
    let mut old = Bench::name_server(config().version(ServerVersion::V4_9));
    assert_eq!(old.bytes(&Command::request(310, 2).encode()), []);
}

#[test]
fn routes_change_while_clients_ask() {
    let mut bench = Bench::name_server(config());
    bench.cluster.unregister_broker(0);
    let route = body(&bench.ask(&ask("TopicTest")));
    assert_eq!(route["queueDatas"].as_array().map(Vec::len), Some(1));
    bench.cluster.register_broker(0);
    bench.cluster.set_topic(0, "TopicTest", TopicConfig { perm: 4, ..TopicConfig::new(9) });
    bench.cluster.announce(1, [(1, "nowhere".to_owned())].into());
    let route = body(&bench.ask(&ask("TopicTest")));
    assert_eq!(route["queueDatas"][0]["perm"], 4);
    assert_eq!(route["queueDatas"][0]["writeQueueNums"], 9);
    assert_eq!(route["brokerDatas"][1]["brokerAddrs"]["1"], "nowhere");
    bench.cluster.remove_topic(0, "TopicTest");
    bench.cluster.remove_topic(1, "TopicTest");
    assert_eq!(bench.ask(&ask("TopicTest")).code, 17);
}

#[test]
fn name_servers_can_disagree_lie_and_forget() {
    let mut bench = Bench::name_server(config().name_servers(2));
    bench.cluster.override_route(0, "TopicTest", Some(RouteOverride::Missing));
    assert_eq!(bench.ask(&ask("TopicTest")).code, 17);
    bench.cluster.override_route(0, "TopicTest", Some(RouteOverride::Body(b"{{{".to_vec())));
    assert_eq!(bench.ask(&ask("TopicTest")).body, b"{{{");
    let mut hostile = bench.cluster.route("TopicTest").expect("a route");
    hostile.queues[0].write_queues = i64::from(i32::MAX);
    bench.cluster.override_route(0, "TopicTest", Some(RouteOverride::Route(hostile)));
    let route = body(&bench.ask(&ask("TopicTest")));
    assert_eq!(route["queueDatas"][0]["writeQueueNums"], i32::MAX);
    // The other server goes on telling the truth.
    bench.node = Node::NameServer(1);
    bench.reconnect();
    let route = body(&bench.ask(&ask("TopicTest")));
    assert_eq!(route["queueDatas"][0]["writeQueueNums"], 4);
    // It stops listening to brokers, and later forgets what it knew.
    bench.cluster.freeze_routes(1);
    bench.cluster.unregister_broker(0);
    assert_eq!(body(&bench.ask(&ask("TopicTest"))), route);
    bench.cluster.forget_routes(1);
    assert_eq!(bench.ask(&ask("TopicTest")).code, 17);
    bench.cluster.learn_routes(1);
    assert_eq!(bench.ask(&ask("TopicTest")).code, 0);
}
