//! Transactions on real brokers: committed, rolled back, asked about, and with brokers that are
//! killed again and again. The Java consumer's side tells what was delivered.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use rocketmq_interop::{Comparison, Context, Outcome, ReadBack, Result, Sent, compare};
use rocketmq_tokio::{
    Client, Config, Decision, Interceptor, Message, Producer, ProducerOptions, RequestCode,
    RequestContext, TransactionSettings, TransactionState,
};

use super::{NamedCase, Setting, expect, sent, text};

pub(super) const CASES: &[NamedCase] =
    &[("transactions decided", decided), ("transactions asked about", asked_about)];

/// Takes about a minute.
pub(super) const LONG: &[NamedCase] =
    &[("1,000 transactions, brokers killed every 10 s", brokers_killed)];

/// The servers note decisions every 0.1 s.
const SETTINGS: TransactionSettings =
    TransactionSettings::DEFAULT.with_settle(Duration::from_millis(1_000));

/// What was told to brokers about each transaction: commits, and those that answered a check.
#[derive(Default)]
struct Ends(Mutex<BTreeMap<String, (usize, usize)>>);

impl Interceptor for Ends {
    fn request(&self, request: &mut RequestContext<'_>) {
        if request.code != RequestCode::END_TRANSACTION {
            return;
        }
        let field = |name: &str| {
            request.fields().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        if field("commitOrRollback").as_deref() == Some("8") {
            let asked = field("fromTransactionCheck").as_deref() == Some("true");
            let mut ends = self.0.lock().expect("nobody panics with it");
            let end = ends.entry(field("msgId").unwrap_or_default()).or_default();
            *end = (end.0 + 1, end.1 + usize::from(asked));
        }
    }
}

fn outcome(decision: Decision) -> Outcome {
    match decision {
        Decision::Commit => Outcome::Stored,
        Decision::Rollback => Outcome::Refused,
    }
}

fn producer(client: &Client, group: &str, options: ProducerOptions) -> Producer {
    client.producer_with(group, options).expect("a legal group")
}

/// Reads until as many messages are delivered as wanted, or for some time.
fn read_until(context: &Context, topic: &str, wanted: usize) -> Result<Vec<ReadBack>> {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let read = context.reader.read(&[topic])?;
        if read.len() >= wanted || Instant::now() > limit {
            return Ok(read);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Every third is rolled back.
fn decided(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("decided");
    context.servers.create_topic(&topic, 4)?;
    let config = setting.config(context).transactions(SETTINGS);
    let all = setting.run(config, async |_, producer| {
        let mut all = Vec::new();
        for number in 0..30 {
            let body = format!("order {number}");
            let message = Message::new(topic.clone(), body)
                .with_tag("paid")
                .with_key(format!("key-{number}"))
                .with_property("shop", "ü");
            let transaction = producer.begin_transaction(message.clone()).await.map_err(text)?;
            let decision = if number % 3 == 2 { Decision::Rollback } else { Decision::Commit };
            let key = transaction.id().to_string();
            transaction.decide(decision).await.map_err(text)?;
            all.push(sent(&message, key, outcome(decision)));
        }
        Ok::<_, String>(all)
    })??;
    let read = read_until(context, &topic, 20)?;
    let comparison = compare(&all, &read).exactly_once();
    expect(comparison.acknowledged == 20 && read.len() == 20, || format!("{comparison:?}"))?;
    Ok(comparison)
}

/// One is under way while the broker asks, others were dropped, and one was begun by a process
/// that has gone.
fn asked_about(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("asked");
    context.servers.create_topic(&topic, 4)?;
    let group = format!("group_{topic}");
    let config = || -> Result<Config> {
        let config = setting.config(context).topic(topic.clone());
        config.transactions(SETTINGS).build().map_err(text)
    };
    let message = |body: &str| Message::new(topic.clone(), body.to_owned());
    let begin = async |client: &Client, body: &str| {
        let producer = producer(client, &group, ProducerOptions::new());
        producer.begin_transaction(message(body)).await.map_err(text)
    };
    let gone = setting.runtime.run(config()?, async |client| {
        begin(client, "begun by another").await.map(|transaction| transaction.id())
    })?;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let options = ProducerOptions::new().with_transaction_checks(move |check| {
        counted.fetch_add(1, Ordering::Relaxed);
        let state = match check.message.body.ends_with(b"not") {
            true => TransactionState::Rollback,
            false => TransactionState::Commit,
        };
        async move { state }
    });
    let ids = setting.runtime.run(config()?, async |client| {
        let producer = producer(client, &group, options);
        let begin =
            async |body: &str| producer.begin_transaction(message(body)).await.map_err(text);
        let under_way = begin("under way").await?;
        let (dropped, not) = (begin("dropped").await?, begin("dropped not").await?);
        let ids = [under_way.id(), dropped.id(), not.id()];
        drop((dropped, not));
        // The driver is on other threads, or wakes when it is polled again.
        let limit = Instant::now() + Duration::from_secs(20);
        while calls.load(Ordering::Relaxed) < 3 && Instant::now() < limit {
            let mut turns = 0;
            poll_fn(|cx| {
                turns += 1;
                cx.waker().wake_by_ref();
                std::thread::sleep(Duration::from_millis(1));
                if turns > 20 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        let read = read_until(context, &topic, 2)?;
        expect(read.len() == 2, || format!("before the commit: {read:?}"))?;
        under_way.commit().await.map_err(text)?;
        Ok::<_, String>(ids)
    })?;
    let calls = calls.load(Ordering::Relaxed);
    expect(calls == 3, || format!("the handler was asked {calls} times about three"))?;
    let all: Vec<Sent> = [
        ("begun by another", gone, Decision::Commit),
        ("under way", ids[0], Decision::Commit),
        ("dropped", ids[1], Decision::Commit),
        ("dropped not", ids[2], Decision::Rollback),
    ]
    .into_iter()
    .map(|(body, id, decision)| sent(&message(body), id.to_string(), outcome(decision)))
    .collect();
    Ok(compare(&all, &read_until(context, &topic, 3)?).exactly_once())
}

/// Two brokers, of which one is killed with SIGKILL every 10 s, and started again. It goes on until
/// three were, however slow the machine is.
fn brokers_killed(context: &Context, setting: Setting) -> Result<Comparison> {
    const ORDERS: usize = 1_000;
    const WORKERS: usize = 20;
    const KILLS: usize = 3;
    let topic = context.topic("killed");
    context.servers.create_topic(&topic, 4)?;
    for broker in 0..2 {
        context.servers.set_broker(broker, "transactionCheckMax", "1000")?;
    }
    let ends = Arc::new(Ends::default());
    let config = setting.config(context).transactions(SETTINGS).topic(topic.clone());
    let config = config.interceptor(Arc::<Ends>::clone(&ends)).build().map_err(text)?;
    let over = AtomicBool::new(false);
    let (next, kills) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (all, killed) = std::thread::scope(|scope| {
        let killing = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let next = Instant::now() + Duration::from_secs(10);
                while Instant::now() < next && !over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(50));
                }
                if !over.load(Ordering::Relaxed) {
                    let broker = kills.load(Ordering::Relaxed) % 2;
                    context.servers.kill_broker(broker);
                    context.servers.restart_broker(broker)?;
                    kills.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok::<_, String>(())
        });
        let all = setting.runtime.run(config, async |client| {
            let producer = producer(client, "interop", ProducerOptions::new());
            let mut tasks = Vec::new();
            let limit = Instant::now() + Duration::from_secs(240);
            for _ in 0..WORKERS {
                let (producer, topic) = (producer.clone(), topic.clone());
                let (next, kills) = (Arc::clone(&next), Arc::clone(&kills));
                tasks.push(tokio::spawn(async move {
                    let mut told = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let enough = kills.load(Ordering::Relaxed) >= KILLS;
                        if number >= ORDERS && (enough || Instant::now() > limit) {
                            return told;
                        }
                        told.push(one_order(&producer, &topic, number).await);
                    }
                }));
            }
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.map_err(text)?);
            }
            over.store(true, Ordering::Relaxed);
            // What was not acknowledged is asked about, until nobody asks any more.
            let committed = all.iter().filter(|sent: &&Sent| sent.outcome == Outcome::Stored);
            let wanted = committed.count();
            let limit = Instant::now() + Duration::from_secs(60);
            while read_until(context, &topic, wanted).is_ok_and(|read| read.len() < wanted)
                && Instant::now() < limit
            {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Ok::<_, String>(all)
        });
        over.store(true, Ordering::Relaxed);
        let killed = killing.join().map_err(|_| "the killer panicked".to_owned())?;
        Ok::<_, String>((all?, killed))
    })?;
    killed?;
    let kills = kills.load(Ordering::Relaxed);
    expect(kills >= KILLS, || format!("only {kills} kills"))?;
    let comparison = compare(&all, &context.reader.read(&[&topic])?);
    let ends = ends.0.lock().expect("nobody panics with it");
    // Beyond the first, every commit was one that the broker has asked for.
    let repeated = ends.values().filter(|(commits, asked)| commits - asked > 1).count();
    expect(repeated == 0, || format!("{repeated} commits were sent twice without being asked"))?;
    let asked = ends.values().filter(|(_, asked)| *asked > 0).count();
    println!(
        "      {kills} kills, {} committed, {asked} of them told when the broker asked, {} rolled \
         back or not begun, {} copies more than one",
        comparison.acknowledged,
        comparison.refused + comparison.not_sent,
        comparison.duplicates.len()
    );
    expect(comparison.duplicates.len() <= asked, || {
        format!("more copies than brokers have asked for: {:?}", comparison.duplicates)
    })?;
    expect(comparison.acknowledged > ORDERS / 2, || format!("{comparison:?}"))?;
    Ok(comparison)
}

async fn one_order(producer: &Producer, topic: &str, number: usize) -> Sent {
    let message = Message::new(topic.to_owned(), format!("order {number}")).with_tag("paid");
    let transaction = match producer.begin_transaction(message.clone()).await {
        Ok(transaction) => transaction,
        Err(error) => {
            let key = error.unique_key().map(|key| key.to_string()).unwrap_or_default();
            return sent(&message, key, Outcome::NotSent);
        }
    };
    tokio::time::sleep(Duration::from_millis(400 + 37 * (number as u64 % 20))).await;
    let decision = if number % 4 == 3 { Decision::Rollback } else { Decision::Commit };
    let key = transaction.id().to_string();
    // Acknowledged or not, it stands.
    let _ = transaction.decide(decision).await;
    sent(&message, key, outcome(decision))
}
