//! The simulation itself: its clock, its tasks, its judgement, and what it says when it fails.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rocketmq_driver::{
    Client, Delivery, GroupError, Message, MessageQueue, Producer, SendErrorKind,
};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
use rocketmq_testkit::{Sim, SimHandle};

const A: Node = Node::Broker(0);
const SECOND: Duration = Duration::from_secs(1);

fn sim(seed: u64) -> Sim {
    Sim::new(seed, ClusterConfig::new().topic("Orders", 4))
}

async fn connected(cx: &SimHandle) -> Producer {
    let producer = cx.producer("shop");
    producer.send(Message::new("Orders", "first")).await.expect("everything works");
    producer
}

/// The text of a panic.
fn panic_of(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it has to panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).expect("a text")
}

#[test]
fn hours_pass_in_no_time_and_timers_fire_to_the_nanosecond() {
    let real = Instant::now();
    sim(1).run(async |cx| {
        let wall = cx.wall_ms();
        cx.sleep(Duration::from_nanos(7)).await;
        assert_eq!(cx.now(), Duration::from_nanos(7));
        cx.sleep(3_600 * SECOND).await;
        assert_eq!(cx.now(), 3_600 * SECOND + Duration::from_nanos(7));
        assert_eq!(cx.wall_ms(), wall + 3_600_000);
        let late = cx.timeout(SECOND, cx.sleep(2 * SECOND)).await;
        assert_eq!((late, cx.now().as_secs()), (None, 3_601));
        assert_eq!(cx.timeout(2 * SECOND, async { 5 }).await, Some(5));
    });
    assert!(real.elapsed() < 5 * SECOND);
}

#[test]
fn the_wall_clock_jumps_and_the_other_one_does_not() {
    sim(1).run(async |cx| {
        let producer = connected(&cx).await;
        let before = cx.now();
        cx.jump_wall(4_000_000_000_000);
        assert_eq!((cx.now(), cx.wall_ms()), (before, 4_000_000_000_000));
        let receipt = producer.send(Message::new("Orders", "later")).await.expect("works");
        assert!(cx.stored_once(receipt.unique_key).born_timestamp_ms >= 4_000_000_000_000);
    });
}

#[test]
fn tasks_give_what_they_return_and_the_seed_decides_who_is_first() {
    let order = |seed| {
        sim(seed).run(async |cx| {
            let order = Arc::new(Mutex::new(String::new()));
            let tasks: Vec<_> = ["a", "b", "c", "d", "e"]
                .into_iter()
                .map(|name| {
                    let order = Arc::clone(&order);
                    cx.spawn(async move {
                        order.lock().unwrap().push_str(name);
                        name.len()
                    })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await, 1);
            }
            order.lock().unwrap().clone()
        })
    };
    let orders: std::collections::BTreeSet<String> = (0..50).map(order).collect();
    assert!(orders.len() > 20, "{orders:?}");
    assert_eq!(order(7), order(7));
}

#[test]
fn a_cancelled_task_stops_and_a_dropped_one_goes_on() {
    sim(1).run(async |cx| {
        let done = Arc::new(Mutex::new(Vec::new()));
        let work = |name| {
            let (cx, done) = (cx.clone(), Arc::clone(&done));
            async move {
                cx.sleep(SECOND).await;
                done.lock().unwrap().push(name);
            }
        };
        let cancelled = cx.spawn(work("cancelled"));
        drop(cx.spawn(work("dropped")));
        cx.sleep(SECOND / 2).await;
        assert!(!cancelled.is_finished());
        cancelled.cancel();
        cx.sleep(SECOND).await;
        assert_eq!(*done.lock().unwrap(), ["dropped"]);
        assert_eq!(cx.leftovers().tasks, 0);
    });
}

#[test]
fn a_killed_process_loses_its_tasks_and_clients_and_nobody_else_does() {
    sim(1).run(async |cx| {
        let (theirs, ours) = (cx.process(), connected(&cx).await);
        let client = theirs.start(theirs.config().build().expect("legal"));
        let producer = client.producer("theirs").expect("legal");
        cx.with(|cluster| cluster.script(A, Rule::sends(), Fault::silent_after_storing()));
        let open = producer.try_submit(Message::new("Orders", "open")).expect("room");
        let mut task = Box::pin(theirs.spawn(std::future::pending::<()>()));
        assert!(cx.wait_until(SECOND, |cluster| cluster.stored("Orders").len() == 2).await);
        theirs.kill();
        let error = open.await.expect_err("its driver is gone");
        assert_eq!(error.kind(), &SendErrorKind::DriverStopped);
        assert_eq!(error.delivery(), Delivery::Unknown);
        assert!(task.is_finished());
        let lost = panic_of(|| {
            let waker = std::task::Waker::noop();
            let _ = task.as_mut().poll(&mut std::task::Context::from_waker(waker));
        });
        assert!(lost.contains("was killed"), "{lost}");
        ours.send(Message::new("Orders", "ours")).await.expect("it goes on");
        // What is started with a dead process is dead at once.
        let late = theirs.start(theirs.config().build().expect("legal"));
        assert_eq!(late.producer("late").err(), Some(GroupError::Closed));
    });
}

#[test]
fn a_thread_runs_in_lockstep_with_the_virtual_time() {
    sim(1).run(async |cx| {
        let producer = connected(&cx).await;
        let delay = Fault::delay(2 * SECOND);
        cx.with(|cluster| cluster.script(A, Rule::sends(), delay));
        let begun = cx.now();
        let theirs = producer.clone();
        let thread = cx.thread(move |guest| {
            // Real time does not count.
            std::thread::sleep(Duration::from_millis(20));
            guest.block_on(theirs.send(Message::new("Orders", "from a thread")))
        });
        let receipt = thread.await.expect("it is only slow");
        cx.stored_as(&receipt);
        let took = cx.now() - begun;
        assert!(took >= 2 * SECOND && took < 2 * SECOND + SECOND / 100, "{took:?}");
    });
}

#[test]
fn a_panic_of_a_thread_or_a_task_is_one_of_the_test() {
    let thread = panic_of(|| {
        sim(1).run(async |cx| cx.thread(|_| panic!("from a thread")).await);
    });
    assert_eq!(thread, "from a thread");
    let task = panic_of(|| {
        sim(1).run(async |cx| {
            drop(cx.spawn(async { panic!("from a task") }));
            cx.sleep(SECOND).await;
        });
    });
    assert_eq!(task, "from a task");
}

#[test]
fn a_server_that_is_cut_off_gets_nothing_until_it_is_reached_again() {
    sim(1).run(async |cx| {
        let producer = connected(&cx).await;
        cx.part(A);
        // A client that comes later is cut off as well.
        let late = cx.producer("late");
        let error = late.send(Message::new("Orders", "lost")).await.expect_err("cut off");
        assert_eq!(error.delivery(), Delivery::NotSent);
        let error = producer.send(Message::new("Orders", "waits")).await.expect_err("cut off");
        assert_eq!(error.delivery(), Delivery::Unknown);
        assert_eq!(cx.stored("Orders").len(), 1);
        cx.rejoin(A);
        cx.sleep(60 * SECOND).await;
        for producer in [producer, late] {
            producer.send(Message::new("Orders", "again")).await.expect("reached again");
        }
        let bodies: Vec<_> = cx.stored("Orders").into_iter().map(|stored| stored.body).collect();
        let count = |body: &str| bodies.iter().filter(|it| *it == body.as_bytes()).count();
        assert!(count("waits") <= 1 && count("lost") == 0 && count("again") == 2);
    });
}

#[test]
fn delays_are_as_long_as_they_are_set() {
    sim(1).run(async |cx| {
        cx.set_delay(A, SECOND / 10);
        let producer = connected(&cx).await;
        let receipt = producer.send(Message::new("Orders", "slow")).await.expect("only slow");
        assert_eq!(receipt.elapsed, SECOND / 5);
        cx.set_delay(A, Duration::from_millis(1));
        let receipt = producer.send(Message::new("Orders", "fast")).await.expect("fast");
        assert_eq!(receipt.elapsed, Duration::from_millis(2));
    });
}

#[test]
fn a_half_open_connection_gives_no_error_and_new_ones_work() {
    sim(1).run(async |cx| {
        let producer = connected(&cx).await;
        cx.silence(A);
        let error = producer.send(Message::new("Orders", "lost")).await.expect_err("no answer");
        assert_eq!(error.delivery(), Delivery::Unknown);
        cx.assert_true(&error);
        cx.sleep(60 * SECOND).await;
        producer.send(Message::new("Orders", "again")).await.expect("a new connection");
    });
}

#[test]
fn what_is_planned_happens_whatever_the_test_waits_for() {
    sim(1).run(async |cx| {
        cx.after(5 * SECOND, |cluster| cluster.kill(A));
        cx.after(9 * SECOND, |cluster| cluster.restart(A));
        let dead = |cx: &SimHandle| {
            cx.look(|cluster| {
                cluster.node_state(A).process == rocketmq_testkit::cluster::Process::Dead
            })
        };
        cx.sleep(5 * SECOND - Duration::from_nanos(1)).await;
        assert!(!dead(&cx));
        cx.sleep(Duration::from_nanos(2)).await;
        assert!(dead(&cx));
        cx.sleep(4 * SECOND).await;
        assert!(!dead(&cx));
    });
}

#[test]
fn standing_still_and_going_in_circles_are_found_and_told() {
    let stands = panic_of(|| sim(3).run(async |_| std::future::pending::<()>().await));
    assert!(stands.contains("stands still") && stands.contains("seed 3"), "{stands}");
    let circles = panic_of(|| {
        sim(4).run(async |cx| {
            loop {
                cx.sleep(Duration::ZERO).await;
                let mut yielded = false;
                std::future::poll_fn(|task| {
                    task.waker().wake_by_ref();
                    if std::mem::replace(&mut yielded, true) {
                        std::task::Poll::Ready(())
                    } else {
                        std::task::Poll::Pending
                    }
                })
                .await;
            }
        });
    });
    assert!(circles.contains("in circles") && circles.contains("seed 4"), "{circles}");
}

#[test]
fn calls_from_inside_are_told_what_to_do() {
    let inside = panic_of(|| {
        sim(1).run(async |cx| cx.with(|_| cx.stored("Orders")));
    });
    assert!(inside.contains("inside of `with`"), "{inside}");
    // The lock is free again.
    let mut sim = sim(1);
    let _ = catch_unwind(AssertUnwindSafe(|| sim.run(async |cx| cx.with(|_| panic!("mine")))));
    sim.run(async |cx| assert!(cx.stored("Orders").is_empty()));
}

#[test]
fn claims_that_do_not_hold_come_with_seed_and_story() {
    let text = panic_of(|| {
        sim(5).run(async |cx| {
            let producer = connected(&cx).await;
            let receipt = producer.send(Message::new("Orders", "lost")).await.expect("works");
            cx.stored_as(&receipt);
            cx.with(|cluster| cluster.lose_tail(0, 1));
            cx.stored_as(&receipt);
        });
    });
    assert!(text.contains("was acknowledged, but is not on broker-a"), "{text}");
    assert!(text.contains("seed 5, at ") && text.contains("Broker(0) gets 310"), "{text}");
    let text = panic_of(|| {
        sim(5).run(async |cx| {
            let producer = connected(&cx).await;
            let lie = Fault::answer_after_storing(13, "never");
            cx.with(|cluster| cluster.script(A, Rule::sends(), lie));
            let error = producer.send(Message::new("Orders", "x")).await.expect_err("refused");
            cx.assert_true(&error);
        });
    });
    assert!(text.contains("failed with Refused, but is stored 1 times"), "{text}");
    let text = panic_of(|| {
        sim(5).run(async |cx| {
            let _producer = connected(&cx).await;
            cx.assert_nothing_left();
        });
    });
    assert!(text.contains("something is left") && text.contains("sockets: 2"), "{text}");
}

#[test]
fn a_receipt_that_names_another_place_does_not_hold() {
    for (field, value) in [("queueOffset", "77"), ("queueId", "3")] {
        let text = panic_of(|| {
            sim(5).run(async |cx| {
                let producer = connected(&cx).await;
                let lie = Fault::with_field(field, value);
                cx.with(|cluster| cluster.script(A, Rule::sends(), lie));
                let queue = MessageQueue::new("broker-a", 0);
                let sent = producer.send_to(queue, Message::new("Orders", "x")).await;
                let receipt = sent.expect("the broker says so");
                assert_eq!(cx.copies(receipt.unique_key).len(), 1);
                cx.stored_as(&receipt);
            });
        });
        assert!(text.contains("but is not on broker-a in queue"), "{text}");
    }
}

#[test]
fn the_story_tells_what_servers_got_and_what_clients_report() {
    let mut sim = sim(8);
    sim.run(async |cx| {
        let producer = connected(&cx).await;
        cx.with(|cluster| cluster.script(A, Rule::sends(), Fault::reset()));
        producer.send(Message::new("Orders", "x")).await.expect("retried");
        cx.note("a word of the test");
        cx.with(|cluster| cluster.kill(A));
    });
    let story = sim.story(100);
    for part in [
        "client 0 dials 10.0.0.1:10911, link 2 Broker(0)",
        "Broker(0) gets 310 #1 on link 2 Orders 0A0900011267",
        "link 2 ends: Reset",
        "client 0 reports AttemptFailed",
        "# a word of the test",
        "Broker(0) is Dead, Open",
    ] {
        assert!(story.contains(part), "{part} is missing:\n{story}");
    }
}

#[test]
fn copies_are_counted() {
    let twice = panic_of(|| {
        sim(6).run(async |cx| {
            let producer = connected(&cx).await;
            let fault = Fault::answer_after_storing(1, "try again");
            cx.with(|cluster| cluster.script(A, Rule::sends(), fault));
            let receipt = producer.send(Message::new("Orders", "x")).await.expect("retried");
            assert_eq!(cx.copies(receipt.unique_key).len(), 2);
            cx.stored_once(receipt.unique_key);
        });
    });
    assert!(twice.contains("is stored 2 times"), "{twice}");
}

#[test]
fn the_first_seed_that_fails_is_the_one_that_is_told() {
    let run = Mutex::new(Vec::new());
    let text = panic_of(|| {
        Sim::check_seeds(10..20, ClusterConfig::new(), async |cx| {
            run.lock().unwrap().push(cx.seed());
            cx.sleep(SECOND).await;
            assert!(cx.seed() < 13, "too large");
        });
    });
    assert_eq!(text, "too large");
    assert_eq!(*run.lock().unwrap(), [10, 11, 12, 13]);
    let checked = Sim::check_seeds(0..5, ClusterConfig::new(), async |cx| cx.sleep(SECOND).await);
    assert_eq!((checked.seeds, checked.simulated), (5, 5 * SECOND));
}

#[test]
fn a_dropped_simulation_answers_who_still_waits() {
    let mut sim = sim(1);
    let (client, open): (Client, _) = sim.run(async |cx| {
        let producer = connected(&cx).await;
        cx.with(|cluster| cluster.stall(A));
        let open = producer.try_submit(Message::new("Orders", "open")).expect("room");
        (producer.client(), open)
    });
    drop(sim);
    let mut open = Box::pin(open);
    let poll = open.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    let std::task::Poll::Ready(Err(error)) = poll else { panic!("{poll:?}") };
    assert_eq!(error.kind(), &SendErrorKind::DriverStopped);
    assert_eq!(client.stats().in_flight, 0);
}

#[test]
fn new_servers_know_nothing_of_the_old_ones() {
    sim(1).run(async |cx| {
        let producer = connected(&cx).await;
        cx.replace_cluster(ClusterConfig::new().topic("Orders", 2));
        assert!(cx.stored("Orders").is_empty());
        cx.sleep(60 * SECOND).await;
        producer.send(Message::new("Orders", "new")).await.expect("connected anew");
        assert_eq!(cx.stored("Orders").len(), 1);
    });
}
