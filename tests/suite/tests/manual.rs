//! The manual's table of answers, played row by row: what it promises is what the client does.

use std::time::Duration;

use rocketmq_driver::{Attempt, Delivery, Event, Message, SendErrorKind};
use rocketmq_testkit::Sim;
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};

const PAGE: &str = include_str!("../../../runtimes/driver/src/manual/verdicts.md");

/// What the table says about one code.
#[derive(Debug)]
struct Row<'a> {
    code: i32,
    remark: &'static str,
    attempt: &'a str,
    next: &'a str,
    look_up: &'a str,
    broker: &'a str,
}

/// The rows that name a code. A name and its number stand together: `SYSTEM_BUSY` 2.
fn rows() -> Vec<Row<'static>> {
    let (_, table) = PAGE.split_once("| answer | this attempt |").expect("the table");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut rows = Vec::new();
    for line in lines {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, answer, attempt, next, look_up, broker, _] = cells[..] else {
            panic!("six columns: {line}");
        };
        let remark = if answer.contains("access control") {
            "org.apache.rocketmq.acl.common.AclException: no such key"
        } else if answer.contains("signature") {
            "check signature failed."
        } else {
            "as scripted"
        };
        let words: Vec<&str> = answer.split([' ', ',']).collect();
        for pair in words.windows(2).filter(|pair| pair[0].ends_with('`')) {
            let code = pair[1].parse().unwrap_or_else(|_| panic!("a number: {answer}"));
            if !answer.contains("unreadable") {
                rows.push(Row { code, remark, attempt, next, look_up, broker });
            }
        }
    }
    // What the last rows call "any other".
    let other = "| any other | unknown | the end; another broker if";
    assert!(PAGE.contains(other));
    let (attempt, next) = ("unknown", "the end");
    rows.push(Row { code: 999, remark: "?", attempt, next, look_up: "", broker: "" });
    rows
}

/// How a send went of which each of two brokers answered the first attempt with the row's code.
struct Played {
    failed: Vec<Attempt>,
    ended: Option<SendErrorKind>,
    looked_up: bool,
    /// For how many seconds the broker of the first attempt is avoided.
    avoided: Option<u64>,
}

fn play(row: &Row<'_>) -> Played {
    let mut sim = Sim::new(5, ClusterConfig::new().brokers(2).topic("Orders", 4));
    let (code, remark) = (row.code, row.remark);
    sim.run(async |cx| {
        let producer = cx.producer("shop");
        let message = || Message::new("Orders", "hello");
        producer.send(message()).await.expect("all is well");
        // Long enough for another look-up to be allowed.
        cx.sleep(Duration::from_secs(3)).await;
        let asked = || cx.look(|cluster| cluster.route_queries(0, "Orders"));
        let before = asked();
        cx.with(|cluster| {
            for node in [Node::Broker(0), Node::Broker(1)] {
                let fault = match code {
                    0 => Fault::none(),
                    10..=12 => Fault::weak_acknowledgement(code),
                    _ => Fault::answer(code, remark),
                };
                cluster.script(node, Rule::sends(), fault);
            }
        });
        let mut events = producer.client().events();
        let begun = cx.now();
        let (failed, ended) = match producer.send(message()).await {
            Ok(receipt) => (receipt.failed_attempts, None),
            Err(error) => (error.attempts().to_vec(), Some(error.kind().clone())),
        };
        cx.sleep(Duration::from_millis(1_500)).await;
        let mut avoided = None;
        while let Some(event) = events.try_next() {
            if let Event::FaultUpdated { isolated_until, .. } = event {
                let until = Duration::from_nanos(isolated_until.as_nanos());
                avoided.get_or_insert(until.saturating_sub(begun).as_secs());
            }
        }
        let looked_up = asked() > before;
        producer.close(Duration::from_secs(1)).await;
        Played { failed, ended, looked_up, avoided }
    })
}

#[test]
fn the_table_of_answers_is_what_the_client_does() {
    let rows = rows();
    assert!(rows.len() > 18, "{rows:#?}");
    for row in rows {
        let Played { failed, ended, looked_up, avoided } = play(&row);
        let stored = row.attempt.starts_with("stored");
        // Each of the two brokers is tried once, then one of them stores it.
        let attempts = match row.next {
            _ if stored => 0,
            next if next.starts_with("another broker") => 2,
            next if next.starts_with("the end") => 1,
            next => panic!("{next}"),
        };
        assert_eq!(failed.len(), attempts, "{row:?}: {failed:?}");
        assert_eq!(ended.is_some(), attempts == 1, "{row:?}: {ended:?}");
        let delivery = match row.attempt {
            said if said.starts_with("refused") => Delivery::Refused,
            "unknown" => Delivery::Unknown,
            said => {
                assert!(stored, "{said}");
                continue;
            }
        };
        assert!(failed.iter().all(|attempt| attempt.delivery == delivery), "{row:?}: {failed:?}");
        let denied = matches!(ended, Some(SendErrorKind::PermissionDenied { .. }));
        assert_eq!(denied, row.next.contains("PermissionDenied"), "{row:?}: {ended:?}");
        assert_eq!(looked_up, row.look_up == "yes", "{row:?}");
        let says = match avoided {
            None => "",
            Some(2) => "busy",
            Some(10) => "unavailable",
            Some(seconds) => panic!("{row:?}: avoided for {seconds} s"),
        };
        assert_eq!(says, row.broker, "{row:?}");
    }
}
