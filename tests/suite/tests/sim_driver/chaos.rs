//! Faults, one after the other or at once, as the seed says.

use std::time::Duration;

use rocketmq_testkit::SimHandle;
use rocketmq_testkit::cluster::{Fault, Node, Rule};
use rocketmq_testkit::network::{Cut, DialFault, Random};

/// Breaks something now and then for `length`, then mends everything.
pub(crate) async fn rage(cx: SimHandle, mut random: Random, length: Duration) {
    let end = cx.now() + length;
    // A seed likes some faults more than others, so that the same one hits again and again.
    let favourite = random.below(FAULTS);
    let pause_max = random.between(50_000, 4_000_000);
    while cx.now() < end {
        cx.sleep(Duration::from_micros(random.between(1, pause_max))).await;
        let nodes = cx.look(|cluster| cluster.nodes());
        let node = nodes[random.below(nodes.len() as u64) as usize];
        let fault = if random.chance(300) { favourite } else { random.below(FAULTS) };
        strike(&cx, &mut random, node, fault);
    }
    mend(&cx);
}

/// Kinds that [`strike`] knows.
const FAULTS: u64 = 18;

fn strike(cx: &SimHandle, random: &mut Random, node: Node, fault: u64) {
    let length = Duration::from_micros(random.between(1_000, 3_000_000));
    let bytes = random.below(600);
    let cut = if random.chance(500) { Cut::Fin } else { Cut::Reset };
    match fault {
        0 => {
            cx.with(|cluster| cluster.kill(node));
            cx.after(length, move |cluster| cluster.restart(node));
        }
        1 => {
            cx.with(|cluster| cluster.stall(node));
            cx.after(length, move |cluster| cluster.resume(node));
        }
        2 => {
            cx.with(|cluster| cluster.refuse(node));
            cx.after(length, move |cluster| cluster.accept(node));
        }
        3 => {
            cx.with(|cluster| cluster.blackhole(node));
            cx.after(length, move |cluster| cluster.accept(node));
        }
        4 => {
            cx.with(|cluster| cluster.mute(node));
            cx.after(length, move |cluster| cluster.accept(node));
        }
        5 => cx.silence(node),
        6 => {
            cx.part(node);
            let later = cx.clone();
            drop(cx.spawn(async move {
                later.sleep(length).await;
                later.rejoin(node);
            }));
        }
        7 => cx.with_network(|network| network.cut_outgoing(node, bytes, cut)),
        8 => cx.with_network(|network| network.cut_incoming(node, bytes, cut)),
        9 => cx.with_network(|network| {
            network.set_dial_fault(node, Some(DialFault::ClosedAtOnce));
        }),
        10 => cx.with(|cluster| cluster.reset_connections(node)),
        11 => cx.with_network(|network| network.stop_reading(node)),
        12 => cx.jump_wall(random.below(4_000_000_000_000) as i64),
        _ => {
            let rule = Rule::sends().times(random.between(1, 20));
            let fault = answer(random, length);
            cx.with(|cluster| cluster.script(node, rule, fault));
        }
    }
}

/// Answers of a broker that tells no lie about what it has stored.
fn answer(random: &mut Random, delay: Duration) -> Fault {
    let bytes = random.below(200) as usize;
    match random.below(15) {
        0 => Fault::silent(),
        1 => Fault::silent_after_storing(),
        2 => Fault::answer(2, "busy"),
        3 => Fault::answer(14, "not writable"),
        4 => Fault::answer(13, "illegal"),
        5 => Fault::answer(-7, "what"),
        6 => Fault::delay(delay),
        7 => Fault::twice(),
        8 => Fault::garbage("HTTP/1.1 400 Bad Request\r\n\r\n"),
        9 => Fault::garbage_after_storing([0xff; 40]),
        10 => Fault::reset_in_answer(bytes),
        11 => Fault::reset_in_request(bytes),
        12 => Fault::weak_acknowledgement(10 + random.below(3) as i32),
        13 => Fault::without_receipt(),
        _ => Fault::go_away(),
    }
}

/// Everything works again.
fn mend(cx: &SimHandle) {
    let nodes = cx.look(|cluster| cluster.nodes());
    cx.with(|cluster| {
        for node in &nodes {
            cluster.clear_script(*node);
            cluster.accept(*node);
            cluster.restart(*node);
            cluster.resume(*node);
        }
    });
    for node in nodes {
        cx.rejoin(node);
        cx.with_network(|network| network.set_dial_fault(node, None));
    }
    cx.note("everything works again");
}
