//! `rmq demo`: a cluster in this process loses a broker while a client sends to it.

use std::cell::{Cell, RefCell};
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule, Stored};
use rocketmq_tokio::{
    Config, Message, MessageQueue, Producer, SendError, SendOptions, SendReceipt,
};
use smol::{LocalExecutor, Timer, future};

use crate::args::{DemoArguments, RuntimeName};
use crate::{DONE, INCOMPLETE};

mod screen;

use screen::Screen;

const TOPIC: &str = "Orders";
const NAME_SERVERS: usize = 2;
const BROKERS: usize = 3;
const QUEUES: i64 = 4;

/// The broker that dies.
const VICTIM: usize = 1;

const MESSAGES: u64 = 600;

/// Sends open at the same time.
const IN_FLIGHT: u64 = 9;

/// Time that a broker takes to answer.
const ANSWER_TIME: Duration = Duration::from_millis(20);

/// The broker dies when so many sends have ended, and comes back when so many have.
const KILLED_AT: u64 = 200;
const RESTARTED_AT: u64 = 400;

/// Looks for a good moment to kill the broker, before any moment is good enough.
const KILL_TRIALS: u32 = 100;

/// Longest wait for the end of the client.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the demo.
pub(crate) fn run(arguments: &DemoArguments) -> ExitCode {
    let screen = Screen::new();
    match show(arguments.runtime, &screen) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            crate::console::write_line(&format!("rmq: the demo cannot start: {error}"));
            ExitCode::from(INCOMPLETE)
        }
    }
}

fn show(runtime: RuntimeName, screen: &Screen) -> io::Result<u8> {
    let config = ClusterConfig::new().name_servers(NAME_SERVERS).brokers(BROKERS);
    let cluster = LoopbackCluster::start(config.topic(TOPIC, QUEUES).record_frames(false))?;
    cluster.with(|cluster| {
        for broker in 0..BROKERS {
            let slow = Fault::delay(ANSWER_TIME);
            cluster.script(Node::Broker(broker), Rule::sends().always(), slow);
        }
    });
    let names = cluster
        .with(|cluster| (0..BROKERS).map(|broker| cluster.broker_name(broker)).collect::<Vec<_>>());
    screen.title(runtime);
    let stage = Stage {
        cluster: &cluster,
        screen,
        names: &names,
        start: Instant::now(),
        started: Cell::new(0),
        ended: Cell::new(0),
        aim: Cell::new(false),
        sends: RefCell::new(Vec::new()),
    };
    let config = Config::builder(&cluster.name_server_addresses()).topic(TOPIC).build();
    let config = config.map_err(io::Error::other)?;
    runtime.block_on(stage.play(runtime, config))??;
    let time = stage.start.elapsed();
    let mut sends = stage.sends.into_inner();
    sends.sort_unstable_by_key(|send| send.number);
    let stored = cluster.with(|cluster| cluster.stored(TOPIC));
    let tally = Tally::new(&names, &sends, &stored);
    screen.failures(&sends);
    screen.tally(&tally, time);
    Ok(if tally.lost == 0 { DONE } else { INCOMPLETE })
}

/// One send and how it ended.
#[derive(Debug)]
struct Send {
    number: u64,
    result: Result<SendReceipt, SendError>,
}

/// The cluster, and what has happened on it so far.
struct Stage<'a> {
    cluster: &'a LoopbackCluster,
    screen: &'a Screen,
    names: &'a [String],
    start: Instant,
    started: Cell<u64>,
    ended: Cell<u64>,
    /// The next message is to go to the broker that is back.
    aim: Cell<bool>,
    sends: RefCell<Vec<Send>>,
}

impl Stage<'_> {
    async fn play(&self, runtime: RuntimeName, config: Config) -> io::Result<()> {
        let client = runtime.start(config).map_err(io::Error::other)?;
        let producer = client.producer("rmq-demo").map_err(io::Error::other)?;
        self.tell(&format!(
            "{NAME_SERVERS} name servers and {BROKERS} brokers listen on 127.0.0.1; \
             the client starts"
        ));
        let executor = LocalExecutor::new();
        let workers: Vec<_> =
            (0..IN_FLIGHT).map(|_| executor.spawn(self.work(&producer))).collect();
        let all = async {
            for worker in workers {
                worker.await;
            }
        };
        executor.run(all).await;
        self.tell("the last send has ended");
        let close = async {
            client.close(CLOSE_TIMEOUT).await;
        };
        let late = async {
            Timer::after(CLOSE_TIMEOUT).await;
        };
        future::or(close, late).await;
        Ok(())
    }

    async fn work(&self, producer: &Producer) {
        while self.started.get() < MESSAGES {
            let number = self.started.get() + 1;
            self.started.set(number);
            let message = Message::new(TOPIC, format!("order {number}"));
            let mut options = SendOptions::new();
            if self.aim.take() {
                options = options.with_queue(MessageQueue::new(self.victim(), 0));
            }
            let result = producer.send_with(message, options).await;
            self.sends.borrow_mut().push(Send { number, result });
            self.ended.set(self.ended.get() + 1);
            self.direct().await;
        }
    }

    /// What happens to the cluster at this point of the story.
    async fn direct(&self) {
        let node = Node::Broker(VICTIM);
        match self.ended.get() {
            KILLED_AT => {
                self.kill(node).await;
                self.tell(&format!(
                    "{} is killed: its connections are reset, new ones refused",
                    self.victim()
                ));
            }
            RESTARTED_AT => {
                self.cluster.with(|cluster| cluster.restart(node));
                self.aim.set(true);
                self.tell(&format!(
                    "{} is back; a message is aimed at it, so that the client learns so at once",
                    self.victim()
                ));
            }
            _ => {}
        }
    }

    /// Kills a broker in a moment in which it has stored a message and not answered yet.
    async fn kill(&self, node: Node) {
        for trial in 1..=KILL_TRIALS {
            let killed = self.cluster.with(|cluster| {
                let now_ns = cluster.now_ns();
                let is_open = |copy: &Stored| {
                    let age = Duration::from_nanos(now_ns.saturating_sub(copy.store_ns));
                    copy.broker == self.victim() && age < ANSWER_TIME
                };
                let kill = trial == KILL_TRIALS || cluster.stored_all().any(is_open);
                if kill {
                    cluster.kill(node);
                }
                kill
            });
            if killed {
                return;
            }
            Timer::after(ANSWER_TIME / 10).await;
        }
    }

    fn victim(&self) -> &str {
        self.names.get(VICTIM).map_or("", String::as_str)
    }

    fn tell(&self, what: &str) {
        self.screen.moment(self.start.elapsed(), what);
    }
}

/// What the brokers have, next to what was acknowledged.
#[derive(Debug)]
struct Tally {
    acknowledged: usize,
    failed: usize,
    retried: usize,
    /// Acknowledged, but not where the acknowledgement says.
    lost: usize,
    /// Messages of which there is more than one copy.
    twice: usize,
    brokers: Vec<BrokerTally>,
}

#[derive(Debug)]
struct BrokerTally {
    name: String,
    stored: usize,
    acknowledged: usize,
}

impl Tally {
    fn new(names: &[String], sends: &[Send], stored: &[Stored]) -> Tally {
        let receipts: Vec<&SendReceipt> =
            sends.iter().filter_map(|send| send.result.as_ref().ok()).collect();
        let is_there = |receipt: &SendReceipt| {
            let key = receipt.unique_key.to_string();
            stored.iter().any(|copy| {
                let place = receipt.position.is_none_or(|position| {
                    i64::from(copy.queue_id) == i64::from(position.queue_id)
                        && copy.queue_offset == position.queue_offset
                });
                place
                    && copy.broker == *receipt.broker_name
                    && copy.unique_key.as_deref() == Some(&*key)
            })
        };
        let mut keys: Vec<_> = stored.iter().map(|copy| &copy.unique_key).collect();
        keys.sort_unstable();
        let copies = keys.chunk_by(|left, right| left == right);
        let brokers = names.iter().map(|name| BrokerTally {
            name: name.clone(),
            stored: stored.iter().filter(|copy| copy.broker == *name).count(),
            acknowledged: receipts.iter().filter(|receipt| *receipt.broker_name == **name).count(),
        });
        Tally {
            acknowledged: receipts.len(),
            failed: sends.len() - receipts.len(),
            retried: receipts.iter().filter(|it| !it.failed_attempts.is_empty()).count(),
            lost: receipts.iter().filter(|receipt| !is_there(receipt)).count(),
            twice: copies.filter(|copies| copies.len() > 1).count(),
            brokers: brokers.collect(),
        }
    }
}
