//! A service under the failure of a broker, and of itself, in a simulation: 100 different ones in
//! the blink of an eye.
//!
//! ```sh
//! cargo run -p rocketmq-testkit --example failover
//! ```
//!
//! The service is in `service.rs`. It is the same code that runs in production: only its clock and
//! its client are made here.

use std::time::{Duration, Instant};

use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
use rocketmq_testkit::{Sim, SimHandle};

mod service;

use service::{Clock, OrderService, Outbox};

impl Clock for SimHandle {
    async fn sleep(&self, time: Duration) {
        SimHandle::sleep(self, time).await;
    }
}

fn main() {
    let begun = Instant::now();
    let cluster = ClusterConfig::new().brokers(2).topic("Orders", 4);
    let checked = Sim::check_seeds(0..100, cluster, failover);
    let (seeds, simulated) = (checked.seeds, checked.simulated);
    println!("{seeds} fail-overs, {simulated:.0?} of virtual time, in {:.0?}", begun.elapsed());
}

/// Customers order while a broker dies, answers get lost, and sometimes the shop dies as well.
async fn failover(cx: SimHandle) {
    cx.rough_links();
    let mut random = cx.random();
    let millis = Duration::from_millis;

    // One broker dies and comes back; the other one loses an answer to a message that it stored.
    let (victim, other) = if random.chance(500) { (0, 1) } else { (1, 0) };
    let (victim, other) = (Node::Broker(victim), Node::Broker(other));
    cx.after(millis(random.between(100, 2_000)), move |cluster| cluster.kill(victim));
    cx.after(millis(random.between(3_000, 20_000)), move |cluster| cluster.restart(victim));
    let lost = Rule::sends().nth(random.between(1, 30));
    cx.with(|cluster| cluster.script(other, lost, Fault::silent_after_storing()));

    // The shop is a process of its own, so that it can die.
    let outbox = Outbox::default();
    let mut shop = open_shop(&cx, &outbox);

    for order in 0..40 {
        cx.sleep(millis(random.below(200))).await;
        outbox.accept(order, &format!("order {order}"));
        if random.chance(25) {
            cx.note("the shop dies");
            shop.kill();
            shop = open_shop(&cx, &outbox);
        }
    }

    let settled = async {
        while !outbox.is_settled() {
            cx.sleep(millis(10)).await;
        }
    };
    if cx.timeout(Duration::from_secs(60), settled).await.is_none() {
        cx.fail("orders are still not sent after a minute");
    }
    shop.kill();
    judge(&cx, &outbox);
    cx.assert_nothing_left();
}

/// Starts the service over the orders that there are.
fn open_shop(cx: &SimHandle, outbox: &Outbox) -> SimHandle {
    let process = cx.process();
    let producer = process.producer("shop");
    let service = OrderService::new(outbox.clone(), producer, process.clone());
    drop(process.spawn(service.relay()));
    process
}

/// Nothing accepted is lost, nothing acknowledged is lost, and nothing is there twice unless the
/// service knows that it may be.
fn judge(cx: &SimHandle, outbox: &Outbox) {
    let stored = cx.stored("Orders");
    for (order, row) in outbox.rows() {
        let key = Some(order.to_string());
        let copies = stored.iter().filter(|stored| stored.keys == key).count();
        if copies == 0 || (copies > 1 && !row.doubtful) {
            cx.fail(&format!("order {order} is stored {copies} times: {row:?}"));
        }
        cx.stored_as(&row.receipt.expect("it is settled"));
    }
}

#[test]
fn no_order_is_lost_over_a_hundred_seeds() {
    main();
}
