//! A few stories of users, each told twice with the same seed and once with another one.

use std::time::Duration;

use rocketmq_driver::{Delivery, Message, SendErrorKind, SendOptions};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
use rocketmq_testkit::{Sim, SimHandle};

const A: Node = Node::Broker(0);

/// The same seed gives the same story, to the poll and to the byte; another one gives another.
fn told_twice(scenario: impl AsyncFn(SimHandle)) {
    let hash = |seed| {
        let mut sim = Sim::new(seed, ClusterConfig::new().brokers(2).topic("Orders", 4));
        sim.run(async |cx| {
            cx.rough_links();
            scenario(cx).await;
        });
        sim.story_hash()
    };
    for seed in 0..10 {
        assert_eq!(hash(seed), hash(seed), "seed {seed} tells two stories");
    }
    assert_ne!(hash(1), hash(2));
}

fn message(number: usize) -> Message {
    Message::new("Orders", number.to_string())
}

#[test]
fn many_tasks_send_at_once() {
    told_twice(async |cx| {
        let producer = cx.producer("shop");
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let producer = producer.clone();
                cx.spawn(async move { producer.send(message(number)).await })
            })
            .collect();
        for task in tasks {
            cx.stored_once(task.await.expect("sent").unique_key);
        }
        producer.close(Duration::from_secs(1)).await;
        cx.assert_nothing_left();
    });
}

#[test]
fn a_broker_dies_with_sends_under_way() {
    told_twice(async |cx| {
        let producer = cx.producer("shop");
        let mut open = Vec::new();
        for number in 0..50 {
            open.push(producer.submit(message(number)).await.expect("room"));
        }
        cx.after(Duration::from_millis(30), |cluster| cluster.kill(A));
        cx.after(Duration::from_millis(900), |cluster| cluster.restart(A));
        for pending in open {
            match pending.await {
                Ok(receipt) => drop(cx.stored_as(&receipt)),
                Err(error) => cx.assert_true(&error),
            }
        }
    });
}

#[test]
fn sends_are_dropped_and_cancelled_while_nobody_answers() {
    told_twice(async |cx| {
        let producer = cx.producer("shop");
        cx.with(|cluster| {
            for node in cluster.nodes() {
                cluster.stall(node);
            }
        });
        let open = producer.try_submit(message(0)).expect("room");
        let dropped = producer.send(message(1));
        assert!(cx.timeout(Duration::from_millis(300), dropped).await.is_none());
        open.cancel();
        let error = open.await.expect_err("cancelled");
        assert_eq!(
            (error.kind(), error.delivery()),
            (&SendErrorKind::Cancelled, Delivery::NotSent)
        );
        cx.with(|cluster| {
            for node in cluster.nodes() {
                cluster.resume(node);
            }
        });
        cx.sleep(Duration::from_secs(10)).await;
        assert!(cx.stored("Orders").is_empty());
    });
}

#[test]
fn senders_wait_for_room_and_their_time_is_over() {
    told_twice(async |cx| {
        let config = cx.config().in_flight_messages_max(1).build().expect("legal");
        let producer = cx.start(config).producer("shop").expect("legal");
        cx.with(|cluster| cluster.stall(Node::NameServer(0)));
        let first = producer.try_submit(message(0)).expect("room for one");
        let begun = cx.now();
        let limit = Duration::from_nanos(123_456_789);
        let options = SendOptions::new().with_timeout(limit);
        let error = producer.send_with(message(1), options).await.expect_err("no room");
        assert!(matches!(error.kind(), SendErrorKind::Backpressure(_)), "{error}");
        assert_eq!(cx.now() - begun, limit, "to the nanosecond");
        cx.with(|cluster| cluster.resume(Node::NameServer(0)));
        first.await.expect("sent");
    });
}

#[test]
fn a_close_gives_up_what_no_broker_answers() {
    told_twice(async |cx| {
        let producer = cx.producer("shop");
        producer.send(message(0)).await.expect("sent");
        let silent = Fault::silent_after_storing();
        cx.with(|cluster| {
            for node in cluster.nodes() {
                cluster.script(node, Rule::sends().always(), silent.clone());
            }
        });
        let open = producer.try_submit(message(1)).expect("room");
        let report = producer.close(Duration::from_millis(250)).await;
        assert_eq!((report.acknowledged, report.failed), (0, 1));
        let error = open.await.expect_err("closed");
        assert_eq!((error.kind(), error.delivery()), (&SendErrorKind::Closed, Delivery::Unknown));
        cx.assert_nothing_left();
    });
}

#[test]
fn a_process_dies_in_the_middle_of_its_sends() {
    told_twice(async |cx| {
        let shop = cx.process();
        let producer = shop.producer("shop");
        for number in 0..10 {
            let producer = producer.clone();
            drop(shop.spawn(async move {
                for round in 0..100 {
                    let _ = producer.send(message(number * 1_000 + round)).await;
                }
            }));
        }
        drop(producer);
        let enough =
            |cluster: &rocketmq_testkit::cluster::Cluster| cluster.stored_all().count() > 50;
        assert!(cx.wait_until(Duration::from_secs(60), enough).await);
        shop.kill();
        cx.assert_nothing_left();
        cx.sleep(Duration::from_secs(60)).await;
        let connections = cx.look(|cluster| {
            cluster.nodes().into_iter().map(|node| cluster.connections(node).len()).sum::<usize>()
        });
        assert_eq!(connections, 0, "servers see it, too");
    });
}
