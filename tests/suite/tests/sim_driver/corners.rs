//! What single promises come down to where two of them meet: weak receipts and the end of the
//! driver, VIP ports and mapped addresses, room and time, retries and what a message says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{
    AddressMap, Delivery, Interceptor, Message, MessageType, Producer, ResponseContext,
    SendContext, SendErrorKind, SendOptions, SendReceipt, SendStatus, WallTime,
};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
use rocketmq_testkit::network::LinkProfile;
use rocketmq_testkit::wire::request_code;
use rocketmq_testkit::{Sim, SimHandle};

use crate::{message, ms, servers};

const A: Node = Node::Broker(0);
const B: Node = Node::Broker(1);

fn script(cx: &SimHandle, node: Node, fault: Fault) {
    cx.with(|cluster| cluster.script(node, Rule::sends().always(), fault));
}

/// How many sends of any kind a broker has received.
fn sends(cx: &SimHandle, node: Node) -> usize {
    cx.look(|cluster| [310, 320].iter().map(|code| cluster.frames_of(node, *code).len()).sum())
}

// ---- Weak receipts --------------------------------------------------------------------------

fn assert_weak(receipts: &[SendReceipt]) {
    for receipt in receipts {
        assert_eq!(receipt.status, SendStatus::SlaveNotAvailable);
        assert_eq!((&*receipt.broker_name, &*receipt.topic), ("broker-a", "Orders"));
        assert!(receipt.offset_message_id.is_some());
        let others = receipt.failed_attempts.iter();
        assert!(others.clone().all(|attempt| &*attempt.broker_name == "broker-b"), "{receipt:?}");
    }
    let mut keys: Vec<_> = receipts.iter().map(|receipt| receipt.unique_key).collect();
    keys.dedup();
    assert_eq!(keys.len(), receipts.len(), "each has its own");
}

/// Sends while A acknowledges weakly and B is silent, and ends it as asked for. Whether A was tried
/// first, so that the receipt was to be bettered.
async fn is_bettered(cx: &SimHandle, several: bool, ends: &str) -> bool {
    let process = cx.process();
    let config = cx.config().retry_weak_acknowledgement(true).build().expect("legal");
    let producer = process.start(config).producer("shop").expect("legal");
    script(cx, A, Fault::weak_acknowledgement(11));
    script(cx, B, Fault::silent());
    let sent = cx.spawn(async move {
        if several {
            let batch = ["1", "2", "3"].map(message);
            let batch = producer.submit_batch(batch).await.expect("room");
            (producer, batch.await)
        } else {
            let single = producer.submit(message("single")).await.expect("room");
            (producer, single.await.map(|receipt| vec![receipt]))
        }
    });
    cx.sleep(ms(100)).await;
    let (asked_a, asked_b) = (sends(cx, A), sends(cx, B));
    assert_eq!(asked_b, 1);
    if ends == "driver" {
        process.kill();
    }
    let (producer, result) = sent.await;
    drop(producer);
    match result {
        Ok(receipts) => {
            assert_eq!(receipts.len(), if several { 3 } else { 1 });
            assert_weak(&receipts);
        }
        Err(error) => {
            assert_eq!((asked_a, ends), (0, "driver"), "{error}");
            assert_eq!(error.kind(), &SendErrorKind::DriverStopped);
            assert_eq!(error.delivery(), Delivery::Unknown);
        }
    }
    asked_a == 1
}

/// While another broker is asked for a better receipt, whatever ends the send returns the weak one.
#[test]
fn a_weak_receipt_outlives_the_end_of_the_driver_alone_and_in_a_batch() {
    for ends in ["driver", "time"] {
        for several in [false, true] {
            let mut bettered = 0;
            for seed in 0..8 {
                Sim::new(seed, servers(2)).run(async |cx| {
                    bettered += usize::from(is_bettered(&cx, several, ends).await);
                });
            }
            assert!(bettered > 0, "{ends}, {several}: one of eight seeds begins with A");
        }
    }
}

// ---- Time -----------------------------------------------------------------------------------

/// A send that nobody waits for yet has the same attempts, and ends as exactly (P3).
#[test]
fn a_submit_is_tried_again_after_a_timeout_and_ends_on_time() {
    Sim::new(1, servers(2)).run(async |cx| {
        let producer = cx.producer("shop");
        producer.send(message("warm")).await.expect("sent");
        script(&cx, A, Fault::silent());
        let before = sends(&cx, A);
        for _ in 0..2 {
            let begun = cx.now();
            let receipt = producer.submit(message("m")).await.expect("room").await.expect("sent");
            // One third of the time, for one attempt of three.
            let failed = receipt.failed_attempts.len();
            assert!(cx.now() - begun < ms(10) + failed as u32 * ms(1_000), "{receipt:?}");
            assert_eq!(&*receipt.broker_name, "broker-b");
        }
        assert_eq!(sends(&cx, A) - before, 1, "A was tried once");
        script(&cx, B, Fault::silent());
        let begun = cx.now();
        let error = producer.submit(message("m")).await.expect("room").await.expect_err("nobody");
        assert_eq!(cx.now() - begun, ms(3_000), "to the nanosecond");
        assert_eq!((error.kind(), error.attempts().len()), (&SendErrorKind::Timeout, 2));
    });
}

/// A connection that is there after its attempt was given up carries nothing of it: the message is
/// sent once, the send ends once, and its room is given back once (P10).
#[test]
fn a_dial_that_succeeds_too_late_sends_nothing_and_ends_nothing() {
    let mut late = 0;
    for seed in 0..6 {
        Sim::new(seed, servers(2)).run(async |cx| {
            let slow = LinkProfile { connect: ms(1_200), ..LinkProfile::default() };
            cx.with_network(|network| network.set_profile_of(A, slow));
            // Still under way when the connection is there.
            cx.with(|cluster| cluster.script(B, Rule::sends().times(1), Fault::delay(ms(700))));
            let config = cx.config().in_flight_messages_max(1).build().expect("legal");
            let producer = cx.start(config).producer("shop").expect("legal");
            let receipt = producer.send(message("m")).await.expect("sent");
            late += receipt.failed_attempts.len();
            cx.sleep(ms(5_000)).await;
            cx.stored_once(receipt.unique_key);
            let stats = producer.client().stats();
            assert_eq!((stats.acknowledged, stats.in_flight, stats.in_flight_bytes), (1, 0, 0));
            let only = producer.try_submit(message("only")).expect("room for one");
            producer.try_submit(message("another")).expect_err("and for no other");
            only.await.expect("sent");
        });
    }
    assert!(late > 0, "one of six seeds begins with the slow broker");
}

/// Waiting for room holds nothing else up: not heartbeats, and not questions (P24).
#[test]
fn who_waits_for_room_holds_nothing_else_up() {
    Sim::new(2, servers(2)).run(async |cx| {
        let config = cx.config().in_flight_messages_max(1).build().expect("legal");
        let producer = cx.start(config).producer("shop").expect("legal");
        producer.send(message("warm")).await.expect("sent");
        for node in [A, B] {
            script(&cx, node, Fault::silent());
        }
        let patient = || SendOptions::new().with_timeout(ms(100_000));
        let open = producer.submit_with(message("open"), patient()).await.expect("room");
        let waiting = {
            let producer = producer.clone();
            cx.spawn(async move { producer.send_with(message("waits"), patient()).await })
        };
        cx.sleep(ms(1_000)).await;
        assert_eq!(producer.client().stats().waiting, 1);
        let beats = |cx: &SimHandle| cx.look(|cluster| cluster.heartbeats(1).len());
        let before = beats(&cx);
        for _ in 0..9 {
            cx.sleep(ms(10_000)).await;
            let begun = cx.now();
            let queues = producer.client().queues("Orders").await.expect("known");
            assert_eq!((queues.len(), cx.now() - begun), (8, Duration::ZERO));
        }
        assert!(beats(&cx) - before >= 2, "{} heartbeats in 90 s", beats(&cx) - before);
        open.await.expect_err("nobody answers");
        waiting.await.expect_err("no room in time");
    });
}

// ---- What a message says --------------------------------------------------------------------

/// Each attempt is made from the message anew (P11).
#[test]
fn a_message_to_a_retry_topic_says_its_counts_in_each_attempt() {
    let servers = ClusterConfig::new().brokers(2).topic("%RETRY%orders", 1);
    Sim::new(3, servers).run(async |cx| {
        let producer = cx.producer("shop");
        for node in [A, B] {
            let no = Fault::answer(14, "no");
            cx.with(|cluster| cluster.script(node, Rule::sends().times(1), no));
        }
        let message = Message::new("%RETRY%orders", "m")
            .with_system_property("RECONSUME_TIME", Some("3".into()))
            .with_system_property("MAX_RECONSUME_TIMES", Some("16".into()));
        let receipt = producer.send(message).await.expect("the third attempt");
        assert_eq!(receipt.failed_attempts.len(), 2);
        let frames = cx.look(|cluster| {
            let all = [A, B].map(|node| cluster.frames_of(node, 310));
            all.iter().flatten().map(|frame| frame.ext.clone()).collect::<Vec<_>>()
        });
        assert_eq!(frames.len(), 3);
        for ext in frames {
            assert_eq!((ext.get("j"), ext.get("l")), (Some("3"), Some("16")));
            let text = ext.get("i").expect("properties");
            assert!(text.contains("RECONSUME_TIME\u{1}3\u{2}"), "{text:?}");
        }
    });
}

/// What interceptors were told: types of messages by body, and answers.
#[derive(Default)]
struct Witness {
    types: Mutex<BTreeMap<String, MessageType>>,
    answers: Mutex<Vec<(String, i32, i32, bool)>>,
}

impl Interceptor for Witness {
    fn before_send(&self, context: &SendContext<'_>) {
        let body = String::from_utf8_lossy(context.body).into_owned();
        self.types.lock().unwrap().insert(body, context.message_type);
    }

    fn response(&self, response: &ResponseContext<'_>) {
        let (request, opaque) = (response.request.0, response.opaque);
        let of_a_send = response.send.is_some();
        let answer = (response.address.to_owned(), opaque, request, of_a_send);
        self.answers.lock().unwrap().push(answer);
    }
}

fn witnessed(cx: &SimHandle, long: bool) -> (Producer, Arc<Witness>) {
    let witness = Arc::new(Witness::default());
    let watching: Arc<dyn Interceptor> = Arc::<Witness>::clone(&witness);
    let config = cx.config().interceptor(watching).long_send_header(long);
    let producer = cx.start(config.build().expect("legal")).producer("shop");
    (producer.expect("legal"), witness)
}

/// A delay counts for more than all else, whichever property says it.
#[test]
fn interceptors_see_what_kind_of_message_it_is() {
    let system = |text: &str, name, value: &str| {
        message(text).with_system_property(name, Some(value.to_owned()))
    };
    let rows = [
        (message("plain"), MessageType::Normal),
        (message("level").with_delay_level(3), MessageType::Delay),
        (message("after").deliver_after(ms(5_000)), MessageType::Delay),
        (message("at").deliver_at(WallTime::from_millis(5)), MessageType::Delay),
        (system("seconds", "TIMER_DELAY_SEC", "5"), MessageType::Delay),
        (message("start").with_property("__STARTDELIVERTIME", "5"), MessageType::Delay),
        (system("half", "TRAN_MSG", "true"), MessageType::Half),
        (system("not half", "TRAN_MSG", "false"), MessageType::Normal),
        (system("both", "TRAN_MSG", "true").with_delay_level(3), MessageType::Delay),
        (system("reply", "MSG_TYPE", "reply"), MessageType::Reply),
    ];
    Sim::new(4, servers(1)).run(async |cx| {
        let (producer, witness) = witnessed(&cx, false);
        for (message, expected) in rows {
            let body = String::from_utf8_lossy(message.body()).into_owned();
            // How it ends does not matter: a broker has no request for the reply.
            drop(producer.send(message).await);
            assert_eq!(witness.types.lock().unwrap().get(&body), Some(&expected), "{body}");
        }
    });
}

/// Writes down what it is told of settings and names.
#[derive(Default)]
struct Names(Mutex<Vec<String>>);

impl Interceptor for Names {
    fn before_send(&self, context: &SendContext<'_>) {
        let SendContext { group, namespace, unit_mode, .. } = context;
        let address = context.client_address().unwrap_or_default();
        let topic = context.message.topic();
        let told = format!("{topic} of {group} in {namespace:?} {unit_mode} from {address}");
        self.0.lock().unwrap().push(told);
    }
}

#[test]
fn interceptors_see_names_as_users_give_them_and_what_was_set() {
    let servers = ClusterConfig::new().topic("till%Orders", 4);
    Sim::new(4, servers).run(async |cx| {
        let names = Arc::new(Names::default());
        let watching: Arc<dyn Interceptor> = Arc::<Names>::clone(&names);
        let config = cx.config().interceptor(watching).namespace("till").unit_mode(true);
        let config = config.client_ip([192, 0, 2, 9].into()).build().expect("legal");
        let producer = cx.start(config).producer("shop").expect("legal");
        producer.send(message("m")).await.expect("sent");
        let told = names.0.lock().unwrap().clone();
        assert_eq!(told, ["Orders of shop in Some(\"till\") true from 192.0.2.9"]);
    });
}

/// The code of a request as its answer is told, next to the code that the server has received.
#[test]
fn interceptors_are_told_which_request_an_answer_is_for() {
    for long in [false, true] {
        Sim::new(5, servers(1)).run(async |cx| {
            let (producer, witness) = witnessed(&cx, long);
            producer.send(message("plain")).await.expect("sent");
            producer.send_batch([message("1"), message("2")]).await.expect("sent");
            let reply = message("reply").with_system_property("MSG_TYPE", Some("reply".into()));
            drop(producer.send(reply).await);
            producer.client().admin().offsets("Orders").await.expect("offsets");
            cx.sleep(ms(2_000)).await;
            producer.close(ms(1_000)).await;
            let mut told = BTreeMap::new();
            for (address, opaque, request, of_a_send) in witness.answers.lock().unwrap().iter() {
                let received = cx.look(|cluster| {
                    let at = |it: &&rocketmq_testkit::cluster::FrameRecord| {
                        it.opaque == *opaque && cluster.address(it.node).to_string() == *address
                    };
                    cluster.frames().iter().filter(at).any(|frame| frame.code == *request)
                });
                assert!(received, "{request} {opaque} {address}");
                told.insert(*request, *of_a_send);
            }
            let (plain, reply) = if long { (10, 324) } else { (310, 325) };
            let expected = [(plain, true), (320, true), (reply, true), (105, false), (34, false)];
            for (code, of_a_send) in expected {
                assert_eq!(told.get(&code), Some(&of_a_send), "{code}: {told:?}");
            }
            assert!(told.contains_key(&30), "{told:?}");
        });
    }
}

// ---- VIP ports ------------------------------------------------------------------------------

/// Brokers that announce what cannot be reached, and whose VIP port is mapped or follows.
#[test]
fn vip_ports_of_mapped_addresses_are_sent_to() {
    let address = |text: &str| text.parse().expect("an address");
    for by_itself in [false, true] {
        let servers = servers(1).vip_ports(true);
        Sim::new(6, servers).run(async |cx| {
            let real = cx.look(|cluster| cluster.address(A).to_string());
            let vip = cx.look(|cluster| cluster.vip_address(A)).expect("there is one").to_string();
            let announced = [(0, "192.0.2.1:10911".to_owned())];
            cx.with(|cluster| cluster.announce(0, announced.into()));
            let mut map = AddressMap::new();
            if by_itself {
                // The announced port is one of a tunnel, and its VIP port is another one.
                cx.with_network(|network| network.alias("10.9.9.9:7000", A));
                map = map
                    .with_rule(address("192.0.2.1:10911"), address("10.9.9.9:7000"))
                    .with_rule(address("192.0.2.1:10909"), address(&vip));
            } else {
                map = map.with_rule(address("192.0.2.1:10911"), address(&real));
            }
            let config = cx.config().vip_channel(true).address_map(map).build().expect("legal");
            let producer = cx.start(config).producer("shop").expect("legal");
            let receipt = producer.send(message("m")).await.expect("sent");
            assert_eq!(*receipt.address, *vip);
            cx.sleep(ms(2_000)).await;
            producer.close(ms(1_000)).await;
            let frames = cx.look(|cluster| cluster.frames().to_vec());
            let of_brokers = frames.iter().filter(|frame| frame.node == A);
            for frame in of_brokers {
                assert_eq!(frame.vip, frame.code == 310, "{frame:?}");
            }
            let beats = frames.iter().filter(|it| it.code == request_code::HEART_BEAT).count();
            assert!(beats > 0, "heartbeats go to the other port");
        });
    }
}

/// Java sends the retry of an asynchronous send to the plain port.
#[test]
fn a_retry_goes_to_a_vip_port_too() {
    Sim::new(8, servers(2).vip_ports(true)).run(async |cx| {
        let config = cx.config().vip_channel(true).latency_avoidance(false).build().expect("legal");
        let producer = cx.start(config).producer("shop").expect("legal");
        script(&cx, A, Fault::answer(14, "no"));
        let mut retries = 0;
        for _ in 0..8 {
            let pending = producer.submit(message("m")).await.expect("room");
            retries += pending.await.expect("sent").failed_attempts.len();
        }
        assert!(retries >= 2, "{retries}");
        let ports = cx.look(|cluster| {
            let frames = [A, B].map(|node| cluster.frames_of(node, 310));
            frames.iter().flatten().map(|frame| frame.vip).collect::<Vec<_>>()
        });
        assert_eq!(ports, vec![true; 8 + retries]);
    });
}

/// A send without an answer is no reason to cut a VIP connection: the broker is asked on it, and
/// hears of no group there. One that does not answer that is cut.
#[test]
fn a_silent_vip_connection_is_asked_for_a_sign_of_life() {
    Sim::new(7, servers(1).vip_ports(true)).run(async |cx| {
        let config = cx.config().vip_channel(true).build().expect("legal");
        let producer = cx.start(config).producer("shop").expect("legal");
        producer.send(message("warm")).await.expect("sent");
        cx.sleep(ms(2_000)).await;
        let connections = cx.look(|cluster| cluster.connections(A));
        cx.with(|cluster| cluster.script(A, Rule::sends().times(1), Fault::silent()));
        producer.send(message("lost")).await.expect_err("nobody answers");
        cx.sleep(ms(100)).await;
        let probes = cx.look(|cluster| {
            let beats = cluster.frames_of(A, request_code::HEART_BEAT);
            let vip: Vec<_> = beats.iter().filter(|frame| frame.vip).map(|it| it.at_ns).collect();
            let groups = |at: &u64| {
                let beat = cluster.heartbeats(0).iter().find(|beat| beat.at_ns == *at);
                beat.map(|beat| beat.heartbeat.producer_groups.len())
            };
            vip.iter().map(groups).collect::<Vec<_>>()
        });
        assert_eq!(probes, [Some(0)], "one question, of no group");
        assert_eq!(cx.look(|cluster| cluster.connections(A)), connections, "it was answered");
        producer.send(message("next")).await.expect("sent");
        // Now nothing comes through any more.
        cx.silence(A);
        producer.send(message("lost")).await.expect_err("nobody answers");
        cx.sleep(ms(1_200)).await;
        producer.send(message("on a fresh connection")).await.expect("sent");
        let fresh = cx.look(|cluster| cluster.connections(A));
        assert!(fresh.iter().any(|connection| !connections.contains(connection)), "{fresh:?}");
    });
}

// ---- Starts and receipts --------------------------------------------------------------------

/// A topic of the settings that does not exist, and name servers that are not there yet, stop
/// neither the start nor sends to others.
#[test]
fn a_named_topic_that_cannot_be_looked_up_stops_nobody() {
    for dead in [false, true] {
        Sim::new(9, servers(1)).run(async |cx| {
            if dead {
                cx.with(|cluster| cluster.kill(Node::NameServer(0)));
                cx.after(ms(3_000), |cluster| cluster.restart(Node::NameServer(0)));
            }
            let config = cx.config().topic("Nowhere").create_topics(false).build().expect("legal");
            let producer = cx.start(config).producer("shop").expect("legal");
            // Well before the next refresh of all routes.
            cx.sleep(ms(15_000)).await;
            let asked = cx.look(|cluster| cluster.route_queries(0, "Nowhere"));
            assert!(asked > 0, "it was looked up, and again if that failed");
            producer.send(message("m")).await.expect("sent");
        });
    }
}

/// Brokers give it for messages with a timer, and whoever is to recall one needs it.
#[test]
fn a_receipt_has_the_handle_for_recalling() {
    Sim::new(10, servers(1)).run(async |cx| {
        let producer = cx.producer("shop");
        let receipt = producer.send(message("plain")).await.expect("sent");
        assert_eq!(receipt.recall_handle, None);
        script(&cx, A, Fault::with_field("recallHandle", "djEgT3JkZXJz"));
        let receipt = producer.send(message("later").deliver_after(ms(9_000))).await.expect("sent");
        assert_eq!(receipt.recall_handle.as_deref(), Some("djEgT3JkZXJz"));
    });
}
