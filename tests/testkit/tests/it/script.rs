//! Every fault does what it says, and only to the requests that its rule means.

use std::time::Duration;

use rocketmq_testkit::cluster::{ClusterConfig, Fault, Listener, Node, Process, Rule};
use rocketmq_testkit::wire::Command;

use crate::common::{
    BATCH, Bench, END_TRANSACTION, ROUTE_BINARY, ROUTE_JSON, SEND_BINARY, Seen, hex, send,
    with_opaque,
};

fn bench() -> Bench {
    Bench::broker(ClusterConfig::new().topic("T", 4).topic("U", 4))
}

fn scripted(rule: Rule, fault: Fault) -> Bench {
    let mut bench = bench();
    bench.cluster.script(bench.node, rule, fault);
    bench
}

fn message(key: &str) -> Command {
    send("T", 0, key, b"x")
}

fn stored(bench: &Bench) -> usize {
    bench.cluster.stored_all().count()
}

fn codes(bench: &mut Bench, count: usize) -> Vec<i32> {
    (0..count).map(|_| bench.ask(&message("K")).code).collect()
}

#[test]
fn rules_choose_requests_by_code_topic_and_number() {
    let busy = || Fault::answer(2, "busy");
    assert_eq!(codes(&mut scripted(Rule::sends(), busy()), 2), [2, 0]);
    assert_eq!(codes(&mut scripted(Rule::sends().nth(2), busy()), 3), [0, 2, 0]);
    assert_eq!(codes(&mut scripted(Rule::sends().after(1).times(2), busy()), 4), [0, 2, 2, 0]);
    assert_eq!(codes(&mut scripted(Rule::code(310).always(), busy()), 3), [2, 2, 2]);
    assert_eq!(codes(&mut scripted(Rule::heartbeats().always(), busy()), 2), [0, 0]);
    assert_eq!(codes(&mut scripted(Rule::sends().topic("U").always(), busy()), 1), [0]);
    assert_eq!(codes(&mut scripted(Rule::sends().topic("T").always(), busy()), 1), [2]);
    assert_eq!(codes(&mut scripted(Rule::any(), busy()), 2), [2, 0]);
    // The first rule that applies decides; a spent one makes room.
    let mut both = scripted(Rule::sends(), busy());
    both.cluster.script(both.node, Rule::sends().always(), Fault::answer(14, "full"));
    assert_eq!(codes(&mut both, 3), [2, 14, 14]);
    both.cluster.clear_script(both.node);
    assert_eq!(codes(&mut both, 1), [0]);
}

#[test]
fn an_answer_instead_stores_nothing() {
    let mut bench = scripted(Rule::sends(), Fault::answer(-7, "odd"));
    let answer = bench.ask(&message("K"));
    assert_eq!((answer.code, answer.remark.as_deref(), stored(&bench)), (-7, Some("odd"), 0));
}

#[test]
fn an_answer_after_storing_hides_the_receipt() {
    let mut bench = scripted(Rule::sends(), Fault::answer_after_storing(1, "late"));
    let answer = bench.ask(&message("K"));
    assert_eq!((answer.code, answer.ext.len(), stored(&bench)), (1, 0, 1));
}

#[test]
fn weak_acknowledgements_carry_the_receipt() {
    for code in [10, 11, 12] {
        let mut bench = scripted(Rule::sends(), Fault::weak_acknowledgement(code));
        let answer = bench.ask(&message("K"));
        assert_eq!((answer.code, &answer.ext["queueOffset"]), (code, "0"));
        assert_eq!(stored(&bench), 1);
    }
}

#[test]
fn receipts_can_be_missing_or_malformed() {
    let mut bench = scripted(Rule::sends(), Fault::without_receipt());
    assert!(bench.ask(&message("K")).ext.is_empty());
    bench.cluster.script(bench.node, Rule::sends(), Fault::without_field("queueId"));
    let answer = bench.ask(&message("K"));
    assert!(!answer.ext.contains_key("queueId") && answer.ext.contains_key("msgId"));
    bench.cluster.script(bench.node, Rule::sends(), Fault::with_field("queueOffset", "many"));
    assert_eq!(&bench.ask(&message("K")).ext["queueOffset"], "many");
    assert_eq!(stored(&bench), 3);
    bench.cluster.script(bench.node, Rule::sends(), Fault::with_body(b"junk"));
    assert_eq!(bench.ask(&message("K")).body, b"junk");
}

#[test]
fn delays_and_silences_differ_in_what_is_stored() {
    let mut bench = scripted(Rule::sends(), Fault::delay(Duration::from_secs(2)));
    bench.cluster.handle_bytes(5, bench.node, bench.connection, &message("K").encode());
    let (at_ns, _) = bench.drain_timed().remove(0);
    assert_eq!((at_ns, stored(&bench)), (2_000_000_005, 1));
    bench.cluster.script(bench.node, Rule::sends(), Fault::silent());
    assert_eq!((bench.bytes(&message("K").encode()), stored(&bench)), (vec![], 1));
    bench.cluster.script(bench.node, Rule::sends(), Fault::silent_after_storing());
    assert_eq!((bench.bytes(&message("K").encode()), stored(&bench)), (vec![], 2));
}

#[test]
fn answers_can_come_twice_or_with_a_wrong_id() {
    let mut bench = scripted(Rule::sends(), Fault::twice());
    let seen = bench.bytes(&with_opaque(message("K"), 5).encode());
    assert_eq!((seen.len(), &seen[0]), (2, &seen[1]));
    bench.cluster.script(bench.node, Rule::sends(), Fault::wrong_opaque(-5));
    assert_eq!(bench.ask(&with_opaque(message("K"), 6)).opaque, -5);
    assert_eq!(stored(&bench), 2);
}

#[test]
fn garbage_is_written_as_it_is() {
    let mut bench = scripted(Rule::sends(), Fault::garbage(b"HTTP/1.1 400\r\n"));
    let garbage = Seen::Bytes(b"HTTP/1.1 400\r\n".to_vec());
    assert_eq!(bench.bytes(&message("K").encode()), [garbage]);
    assert_eq!(stored(&bench), 0);
    bench.cluster.script(bench.node, Rule::sends(), Fault::garbage_after_storing([0xff; 4]));
    assert_eq!(bench.bytes(&message("K").encode()), [Seen::Bytes(vec![0xff; 4])]);
    assert_eq!(stored(&bench), 1);
}

#[test]
fn a_request_is_cut_at_the_byte_that_was_asked_for() {
    let frame = message("K").encode();
    for cut in [1, 4, 7, 8, 100, frame.len() - 1, frame.len(), usize::MAX] {
        let mut bench = scripted(Rule::any(), Fault::reset_in_request(cut));
        let needed = cut.min(frame.len());
        assert_eq!(bench.bytes(&frame[..needed - 1]), [], "{cut}");
        assert_eq!(bench.bytes(&frame[needed - 1..needed]), [Seen::Reset], "{cut}");
        assert_eq!(bench.bytes(&frame[needed..]), []);
        bench.reconnect();
        assert_eq!(bench.bytes(&frame).len(), 1, "the rule is spent");
        assert_eq!(stored(&bench), 1);
    }
    // A rule with a condition acts once the header tells what the request is.
    let header_end = frame.len() - 1;
    let mut bench = scripted(Rule::sends().topic("T"), Fault::reset_in_request(1));
    assert_eq!(bench.bytes(&frame[..header_end - 1]), []);
    assert_eq!(bench.bytes(&frame[header_end - 1..header_end]), [Seen::Reset]);
    let mut other = scripted(Rule::sends().topic("U"), Fault::reset_in_request(1));
    assert_eq!(other.bytes(&frame).len(), 1);
    let mut whole = scripted(Rule::sends(), Fault::reset_in_request(1));
    assert_eq!(whole.bytes(&frame), [Seen::Reset]);
    assert_eq!(stored(&whole), 0);
}

#[test]
fn a_request_in_pieces_counts_once() {
    let mut bench = scripted(Rule::sends().nth(2), Fault::answer(2, "busy"));
    let frame = message("K").with_body(vec![1; 1000]).encode();
    let pieces = |bench: &mut Bench| {
        frame.chunks(100).flat_map(|piece| bench.bytes(piece)).map(|it| it.answer().code).sum()
    };
    let answers: [i32; 3] = std::array::from_fn(|_| pieces(&mut bench));
    assert_eq!(answers, [0, 2, 0]);
}

#[test]
fn an_answer_is_cut_where_asked_after_storing() {
    let mut bench = scripted(Rule::sends(), Fault::reset_in_answer(10));
    let seen = bench.bytes(&message("K").encode());
    assert!(matches!(&seen[..], [Seen::Bytes(part), Seen::Reset] if part.len() == 10), "{seen:?}");
    assert_eq!(stored(&bench), 1);
}

#[test]
fn connections_end_with_or_without_an_answer() {
    let mut bench = scripted(Rule::sends(), Fault::none().then_close());
    let seen = bench.bytes(&[message("K").encode(), message("L").encode()].concat());
    assert!(matches!(&seen[..], [Seen::Answer(_), Seen::Close]), "{seen:?}");
    assert_eq!(stored(&bench), 1, "what follows is not read");
    for (fault, end) in [(Fault::close(), Seen::Close), (Fault::reset(), Seen::Reset)] {
        bench.reconnect();
        bench.cluster.script(bench.node, Rule::sends(), fault);
        assert_eq!(bench.bytes(&message("K").encode()), [end]);
    }
    assert_eq!(stored(&bench), 1);
    bench.reconnect();
    bench.cluster.script(bench.node, Rule::sends(), Fault::go_away().then_reset());
    let seen = bench.bytes(&message("K").encode());
    assert!(matches!(&seen[..], [Seen::Answer(away), Seen::Reset] if away.code == 1500));
    bench.reconnect();
    let late = Fault::none().then_close().delayed_by(Duration::from_secs(1));
    bench.cluster.script(bench.node, Rule::sends(), late);
    assert_eq!(bench.bytes(&message("K").encode()).len(), 2);
    assert_eq!(bench.bytes(&message("L").encode()), [], "it only waits for its end");
    assert_eq!(bench.cluster.connections(bench.node), [bench.connection]);
}

#[test]
fn a_busy_broker_may_answer_even_oneway_requests() {
    let mut oneway = message("K");
    oneway.flag = 2;
    let mut bench = scripted(Rule::sends(), Fault::answer(2, "busy"));
    assert_eq!(bench.bytes(&oneway.encode()), []);
    bench.cluster.script(bench.node, Rule::sends(), Fault::answer(2, "busy").even_oneway());
    assert_eq!(bench.ask(&oneway).code, 2);
}

#[test]
fn name_servers_follow_scripts_too() {
    let mut bench = Bench::name_server(ClusterConfig::new().topic("T", 4));
    let not_ready = Fault::answer(1, "name server not ready");
    bench.cluster.script(bench.node, Rule::routes().topic("T").times(2), not_ready);
    let query = Command::request(105, 1).field("topic", "T");
    let codes: Vec<_> = (0..3).map(|_| bench.ask(&query).code).collect();
    assert_eq!(codes, [1, 1, 0]);
}

#[test]
fn a_stalled_server_works_off_what_piled_up() {
    let mut bench = bench();
    bench.cluster.stall(bench.node);
    let frames = [message("A").encode(), message("B").encode()].concat();
    assert_eq!(bench.bytes(&frames), []);
    assert_eq!(stored(&bench), 0);
    bench.cluster.resume(bench.node);
    assert_eq!((bench.drain().len(), stored(&bench)), (2, 2));
}

#[test]
fn a_killed_server_resets_its_connections_and_comes_back_with_its_log() {
    let mut bench = bench();
    bench.ask(&message("A"));
    bench.bytes(&message("B").encode()[..20]);
    bench.cluster.kill(bench.node);
    assert_eq!(bench.drain(), [Seen::Reset]);
    assert_eq!(bench.cluster.node_state(bench.node).process, Process::Dead);
    assert_eq!(bench.cluster.connections(bench.node), []);
    bench.reconnect();
    assert_eq!(bench.drain(), [Seen::Reset]);
    bench.cluster.restart(bench.node);
    bench.reconnect();
    assert_eq!(&bench.ask(&message("C")).ext["queueOffset"], "1");
    bench.cluster.lose_tail(0, 1);
    assert_eq!(&bench.ask(&message("D")).ext["queueOffset"], "1");
    assert_eq!(bench.cluster.stored_by_key("C"), []);
}

#[test]
fn listeners_can_refuse_hang_and_ignore() {
    let mut bench = bench();
    bench.cluster.refuse(bench.node);
    assert_eq!(bench.ask(&message("A")).code, 0, "open connections go on");
    bench.reconnect();
    assert_eq!(bench.drain(), [Seen::Reset]);
    bench.cluster.mute(bench.node);
    bench.reconnect();
    assert_eq!(bench.bytes(&message("B").encode()), []);
    bench.cluster.blackhole(bench.node);
    assert_eq!(bench.cluster.node_state(bench.node).listener, Listener::BlackHole);
    bench.cluster.accept(bench.node);
    assert_eq!(bench.bytes(&message("B").encode()), [], "a mute connection stays mute");
    bench.reconnect();
    assert_eq!(bench.ask(&message("C")).code, 0);
    assert_eq!(bench.cluster.node_state(Node::Broker(9)).process, Process::Dead);
}

/// Numbers that look random and are the same in every run.
fn noise(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state as usize
}

#[test]
fn no_bytes_of_a_client_make_a_server_panic() {
    let heartbeat = Command::request(34, 1).with_body(b"{\"clientID\":\"c\"}");
    let mut batch = send("T", 0, "K", &hex(BATCH)).field("m", "true");
    batch.code = 320;
    let mut seeds =
        vec![hex(SEND_BINARY), hex(END_TRANSACTION), hex(ROUTE_JSON), hex(ROUTE_BINARY)];
    seeds.extend([heartbeat, batch, message("K")].map(|command| command.encode()));
    let random = &mut 0x9e37_79b9_7f4a_7c15;
    let mut answers = 0;
    for round in 0..20_000 {
        let config = ClusterConfig::new().topic("T", 4);
        let node = if round % 2 == 0 { Node::Broker(0) } else { Node::NameServer(0) };
        let mut bench = Bench::new(config, node);
        let mut frame = seeds[noise(random) % seeds.len()].clone();
        for _ in 0..=noise(random) % 3 {
            let at = noise(random) % frame.len();
            match noise(random) % 4 {
                0 => frame[at] = noise(random) as u8,
                1 => frame[at] ^= 1 << (noise(random) % 8),
                2 => frame.insert(at, noise(random) as u8),
                _ => drop(frame.remove(at)),
            }
            // Else nearly every frame would fail at its first four bytes.
            if !noise(random).is_multiple_of(4) {
                let length = frame.len() as u32 - 4;
                frame[..4].copy_from_slice(&length.to_be_bytes());
            }
        }
        let seen = bench.bytes(&frame);
        answers += seen.iter().filter(|seen| matches!(seen, Seen::Answer(_))).count();
    }
    assert!(answers > 2_000, "the noise must get past the decoder: {answers}");
}
