//! Brokers: what they store, refuse and remember.

use rocketmq_testkit::cluster::{ClusterConfig, ConnectionId, HALF_TOPIC, Node, ServerVersion};
use rocketmq_testkit::wire::{
    Command, Fields, Heartbeat, format_properties, parse_offset_message_id,
};

use crate::common::{BATCH, Bench, KEY, SEND_BINARY, Seen, hex, send, with_opaque};

fn config() -> ClusterConfig {
    ClusterConfig::new().topic("T", 4)
}

fn old() -> ClusterConfig {
    config().version(ServerVersion::V4_9)
}

#[test]
fn a_java_send_is_stored_as_it_was_sent_and_the_receipt_names_it() {
    let mut bench = Bench::broker(config());
    bench.cluster.handle_bytes(77, bench.node, bench.connection, &hex(SEND_BINARY));
    let receipt = bench.drain().remove(0).answer();
    assert_eq!((receipt.code, receipt.opaque), (0, 1));
    let stored = bench.cluster.stored("T");
    assert_eq!(stored, bench.cluster.stored_by_key(KEY));
    let [stored] = stored.as_slice() else { panic!("{stored:?}") };
    assert_eq!((stored.broker.as_str(), stored.queue_id, stored.queue_offset), ("broker-a", 1, 0));
    assert_eq!((stored.body.as_slice(), stored.group.as_str()), (b"hi".as_slice(), "PG"));
    assert_eq!(stored.tags.as_deref(), Some("TagA"));
    assert_eq!(stored.keys.as_deref(), Some("k1 k2"));
    // Four of the client, and the broker's cluster.
    assert_eq!(stored.properties.len(), 5);
    assert_eq!(stored.properties.get("CLUSTER"), Some("DefaultCluster"));
    assert_eq!((stored.born_timestamp_ms, stored.store_ns), (1_700_000_000_000, 77));
    assert_eq!(&receipt.ext["queueId"], "1");
    assert_eq!(&receipt.ext["queueOffset"], "0");
    assert_eq!(&receipt.ext["transactionId"], KEY);
    assert_eq!(&receipt.ext["MSG_REGION"], "DefaultRegion");
    assert_eq!(&receipt.ext["TRACE_ON"], "true");
    let second = bench.ask(&send("T", 1, "K2", b"again"));
    assert_eq!(&second.ext["queueOffset"], "1");
    let (address, offset) = parse_offset_message_id(&second.ext["msgId"]).expect("an id");
    assert_eq!(address, bench.cluster.address(Node::Broker(0)));
    assert_eq!(offset, bench.cluster.stored_by_key("K2")[0].commit_log_offset);
    assert!(offset > 0);
}

#[test]
fn an_old_broker_leaves_the_transaction_id_out() {
    let receipt = Bench::broker(old()).ask(&send("T", 0, KEY, b"x"));
    assert_eq!(receipt.code, 0);
    assert_eq!(receipt.ext.get("transactionId"), None);
}

#[test]
fn long_field_names_carry_the_same_message() {
    let short = send("T", 2, KEY, b"x");
    let mut long = Command::request(10, 5).with_body(b"x");
    let names = [
        ("producerGroup", "a"),
        ("topic", "b"),
        ("defaultTopic", "c"),
        ("defaultTopicQueueNums", "d"),
        ("queueId", "e"),
        ("sysFlag", "f"),
        ("bornTimestamp", "g"),
        ("flag", "h"),
        ("properties", "i"),
    ];
    for (name, letter) in names {
        long.ext.insert(name, &short.ext[letter]);
    }
    let mut bench = Bench::broker(config());
    assert_eq!(&bench.ask(&long).ext["queueId"], "2");
    assert_eq!(&bench.ask(&short).ext["queueOffset"], "1");
}

#[test]
fn a_batch_is_several_messages_with_one_receipt() {
    let mut bench = Bench::broker(config());
    let batch = |m: &str| {
        let mut batch = send("T", 3, "OUTER", &hex(BATCH)).field("m", m);
        batch.code = 320;
        batch
    };
    let receipt = bench.ask(&batch("true"));
    assert_eq!(receipt.ext["msgId"].split(',').count(), 2);
    assert_eq!((&receipt.ext["queueOffset"], &receipt.ext["queueId"]), ("0", "3"));
    let stored = bench.cluster.stored("T");
    let bodies: Vec<_> = stored.iter().map(|stored| stored.body.as_slice()).collect();
    assert_eq!(bodies, [b"A".as_slice(), b"BC"]);
    assert_eq!(stored[0].unique_key.as_deref(), Some("U1"));
    assert_eq!((stored[1].flag, stored[1].tags.as_deref()), (258, Some("x")));
    // The field decides, not the code.
    assert_eq!(&bench.ask(&batch("false")).ext["queueOffset"], "2");
    assert_eq!(bench.cluster.stored("T")[2].body, hex(BATCH));
    let mut broken = batch("true");
    broken.body.pop();
    let answer = bench.ask(&broken);
    assert_eq!(answer.code, 1);
    assert_eq!(bench.cluster.stored("T").len(), 3);
}

#[test]
fn queue_minus_one_means_any_and_a_wrong_queue_is_refused() {
    let mut bench = Bench::broker(config());
    let queues: Vec<_> = (0..4).map(|_| bench.ask(&send("T", -1, "K", b"x"))).collect();
    let mut queues: Vec<_> = queues.iter().map(|receipt| &receipt.ext["queueId"]).collect();
    queues.sort();
    assert_eq!(queues, ["0", "1", "2", "3"]);
    let refused = bench.ask(&send("T", 4, "BAD", b"x"));
    assert_eq!(refused.code, 29);
    assert!(refused.remark.expect("text").starts_with("request queueId[4] is illegal"));
    assert_eq!(&refused.ext["TRACE_ON"], "true");
    assert_eq!(Bench::broker(old()).ask(&send("T", 4, "K", b"x")).code, 1);
    assert_eq!(bench.cluster.stored_by_key("BAD"), []);
}

#[test]
fn topics_are_checked_in_the_order_of_the_java_broker() {
    let mut bench = Bench::broker(config().auto_create_topics(false));
    let codes = ["", "a b", "SCHEDULE_TOPIC_XXXX", HALF_TOPIC, "%RETRY%G", "Nope"]
        .map(|topic| bench.ask(&send(topic, 0, "K", b"x")).code);
    assert_eq!(codes, [29, 29, 16, 16, 26, 17]);
    assert_eq!(bench.ask(&send(&"t".repeat(128), 0, "K", b"x")).code, 29);
    let forbidden = bench.ask(&send("SCHEDULE_TOPIC_XXXX", 0, "K", b"x"));
    let text = "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden.";
    assert_eq!(forbidden.remark.as_deref(), Some(text));
    // Without a template that lets topics be made after it there is none to make.
    let mut bench = Bench::broker(config());
    assert_eq!(bench.ask(&send("Nope", 0, "K", b"x").field("c", "T")).code, 17);
    assert_eq!(bench.ask(&send("Nope", 0, "K", b"x")).code, 0);
}

#[test]
fn body_limits_are_those_measured() {
    let four_mib = vec![7; 4 * 1024 * 1024];
    for config in [config(), old()] {
        let mut bench = Bench::broker(config);
        assert_eq!(bench.ask(&send("T", 0, "K", &four_mib)).code, 0);
        let over = [four_mib.as_slice(), b"x"].concat();
        assert_eq!(bench.ask(&send("T", 0, "K", &over)).code, 13);
    }
    assert_eq!(Bench::broker(config()).ask(&send("T", 0, "K", b"")).code, 1);
    assert_eq!(Bench::broker(old()).ask(&send("T", 0, "K", b"")).code, 0);
}

#[test]
fn property_limits_are_those_measured() {
    let limit = |config: &ClusterConfig, with: &[(&str, &str)], length: usize| {
        let mut properties: Fields = with.iter().copied().collect();
        let rest = length - format_properties(&properties).len() - "x\u{1}\u{2}".len();
        properties.insert("x", "y".repeat(rest));
        let text = format_properties(&properties);
        assert_eq!(text.len(), length);
        Bench::broker(config.clone()).ask(&send("T", 0, "", b"x").field("i", text)).code
    };
    let long_key = "F".repeat(56);
    let both = [("UNIQ_KEY", long_key.as_str()), ("WAIT", "true")];
    for (config, with, longest) in [
        (config(), [].as_slice(), 32_639),
        (config(), &both, 32_705),
        (old(), &[], 32_745),
        (old(), &both, 32_755),
    ] {
        assert_eq!(limit(&config, with, longest), 0, "{longest}");
        assert_eq!(limit(&config, with, longest + 1), 13, "{longest}");
    }
}

#[test]
fn missing_and_unreadable_fields_are_exceptions_in_code_1() {
    let mut bench = Bench::broker(config());
    let mut missing = send("T", 0, "K", b"x");
    missing.ext.remove("b");
    assert!(bench.ask(&missing).remark.expect("text").contains("NullPointerException"));
    let unreadable = send("T", 0, "K", b"x").field("e", "two");
    let answer = bench.ask(&unreadable);
    assert_eq!(answer.code, 1);
    assert!(answer.remark.expect("text").contains("NumberFormatException"));
    let mut without = send("T", 0, "K", b"x");
    without.ext.remove("i");
    assert_eq!(bench.ask(&without).code, 0, "properties may be absent");
}

#[test]
fn oneway_requests_are_never_answered() {
    let mut bench = Bench::broker(config());
    let oneway = |queue| {
        let mut command = send("T", queue, "K", b"x");
        command.flag = 2;
        command.encode()
    };
    assert_eq!(bench.bytes(&oneway(0)), []);
    assert_eq!(bench.bytes(&oneway(99)), []);
    assert_eq!(bench.cluster.stored("T").len(), 1);
    let mut unknown = Command::request(4711, 1);
    assert_eq!(bench.ask(&unknown).code, 3);
    unknown.flag = 2;
    assert_eq!(bench.bytes(&unknown.encode()), []);
}

#[test]
fn what_is_no_frame_closes_the_connection() {
    for bytes in ["ffffffff", "00000003", "00000004 00000000", "00000006 02000002 7b7d"] {
        let mut bench = Bench::broker(config());
        assert_eq!(bench.bytes(&hex(bytes)), [Seen::Close], "{bytes}");
        // Nothing behind it is looked at.
        assert_eq!(bench.bytes(&hex(SEND_BINARY)), []);
        assert_eq!(bench.cluster.connections(bench.node), []);
    }
    let mut bench = Bench::broker(config());
    let heartbeat = Command::request(34, 1).with_body(b"{\"producerDataSet\":[]}");
    assert_eq!(bench.bytes(&heartbeat.encode()), [Seen::Close]);
}

#[test]
fn heartbeats_and_farewells_are_remembered() {
    let mut bench = Bench::broker(config());
    let heartbeat = Heartbeat {
        client_id: "c@1".into(),
        producer_groups: vec!["PG".into()],
        consumer_groups: Vec::new(),
    };
    let answer = bench.ask(&Command::request(34, 1).with_body(heartbeat.encode()));
    assert_eq!(&answer.ext["IS_SUPPORT_HEART_BEAT_V2"], "true");
    assert_eq!(&answer.ext["IS_SUB_CHANGE"], "true");
    assert_eq!(bench.cluster.heartbeats(0)[0].heartbeat, heartbeat);
    assert_eq!(bench.cluster.client_connection(0, "c@1"), Some(bench.connection));
    let farewell = Command::request(35, 2).field("clientID", "c@1").field("producerGroup", "PG");
    assert_eq!(bench.ask(&farewell).code, 0);
    let seen = &bench.cluster.unregistrations(0)[0];
    assert_eq!((seen.client_id.as_str(), seen.producer_group.as_deref()), ("c@1", Some("PG")));
    bench.cluster.handle_closed(0, bench.connection);
    assert_eq!(bench.cluster.client_connection(0, "c@1"), None);
    let mut bench = Bench::broker(old());
    let answer = bench.ask(&Command::request(34, 1).with_body(heartbeat.encode()));
    assert!(answer.ext.is_empty());
}

#[test]
fn a_broker_can_ask_a_client_and_its_answer_is_on_record() {
    let mut bench = Bench::broker(config());
    let request = bench.cluster.broker_request(307).field("consumerGroup", "CG");
    let opaque = bench.cluster.send_request(bench.node, bench.connection, request);
    let opaque = opaque.expect("the connection is open");
    let seen = bench.drain().remove(0).answer();
    assert_eq!((seen.code, seen.flag, seen.opaque), (307, 0, opaque));
    let mut answer = Command::request(3, opaque);
    answer.flag = 1;
    assert_eq!(bench.bytes(&answer.encode()), []);
    let record = &bench.cluster.frames()[0];
    assert_eq!((record.code, record.flag, record.opaque), (3, 1, opaque));
    let another = bench.cluster.broker_request(307);
    let next = bench.cluster.send_request(bench.node, bench.connection, another);
    assert!(next.is_some_and(|next| next != opaque), "every request has an id of its own");
    let gone = bench.cluster.broker_request(40);
    assert_eq!(bench.cluster.send_request(bench.node, ConnectionId(99), gone), None);
}

#[test]
fn prepared_messages_wait_and_every_commit_delivers_a_copy() {
    let mut bench = Bench::broker(config());
    let properties = "PGROUP\u{1}PG\u{2}TRAN_MSG\u{1}true\u{2}UNIQ_KEY\u{1}TX\u{2}";
    let prepare = send("T", 2, "TX", b"x").field("f", "4").field("i", properties);
    let receipt = bench.ask(&prepare);
    assert_eq!(bench.cluster.stored("T"), []);
    let half = bench.cluster.stored(HALF_TOPIC).remove(0);
    let end = |decision: &str| {
        Command::request(37, 2)
            .field("producerGroup", "PG")
            .field("tranStateTableOffset", &receipt.ext["queueOffset"])
            .field("commitLogOffset", half.commit_log_offset.to_string())
            .field("commitOrRollback", decision)
            .field("msgId", "TX")
    };
    let check = bench.cluster.check_request(&half).expect("a prepared message");
    assert_eq!((check.code, check.flag, &check.ext["topic"]), (39, 2, HALF_TOPIC));
    assert_eq!(&check.ext["transactionId"], "TX");
    assert_eq!(bench.bytes(&end("0").encode()), [], "undecided is never answered");
    assert_eq!(bench.ask(&end("12")).remark.as_deref(), Some("not set any response code"));
    assert_eq!(bench.cluster.stored("T"), []);
    assert_eq!(bench.ask(&end("8")).code, 0);
    assert_eq!(bench.ask(&end("8")).code, 0);
    let stored = bench.cluster.stored("T");
    assert_eq!((stored.len(), stored[0].queue_id, stored[1].queue_offset), (2, 2, 1));
    assert_eq!(bench.ask(&end("8").field("producerGroup", "Other")).code, 1);
}

#[test]
fn a_reply_reaches_the_requester_before_the_replier_hears_of_it() {
    let mut bench = Bench::broker(config());
    let requester = ConnectionId(50);
    let reply = {
        let properties = "MSG_TYPE\u{1}reply\u{2}REPLY_TO_CLIENT\u{1}asker\u{2}";
        let mut reply = send("DefaultCluster_REPLY_TOPIC", 0, "R", b"pong").field("i", properties);
        reply.code = 325;
        reply
    };
    let nobody = bench.ask(&reply);
    assert_eq!(nobody.code, 1);
    assert!(nobody.remark.expect("text").contains("channel of <asker> not found"));
    bench.cluster.handle_connected(0, bench.node, requester);
    let producer_groups = vec!["asks".into()];
    let client_id = "asker".into();
    let heartbeat = Heartbeat { client_id, producer_groups, ..Heartbeat::default() };
    let heartbeat = Command::request(34, 1).with_body(heartbeat.encode());
    bench.cluster.handle_bytes(0, bench.node, requester, &heartbeat.encode());
    bench.drain();
    let seen = bench.bytes(&with_opaque(reply.clone(), 8).encode()).remove(0).answer();
    assert_eq!((seen.code, seen.body.as_slice()), (326, b"pong".as_slice()));
    let mut done = Command::request(0, seen.opaque);
    done.flag = 1;
    bench.cluster.handle_bytes(0, bench.node, requester, &done.encode());
    let answer = bench.drain().remove(0).answer();
    assert_eq!((answer.code, answer.opaque), (0, 8));
    // A requester that fails makes the reply fail.
    let seen = bench.bytes(&with_opaque(reply, 9).encode()).remove(0).answer();
    let mut failed = Command::request(1, seen.opaque);
    failed.flag = 1;
    bench.cluster.handle_bytes(0, bench.node, requester, &failed.encode());
    let answer = bench.drain().remove(0).answer();
    assert_eq!((answer.code, answer.opaque), (1, 9));
}
