//! Batches, given and gathered, against everything that can go wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use rocketmq_driver::{
    AutoBatch, Delivery, Message, Producer, ProducerOptions, SendError, SendReceipt, UniqueKey,
};
use rocketmq_testkit::cluster::{Cluster, ClusterConfig, FrameRecord};
use rocketmq_testkit::{Sim, SimHandle};

use super::chaos;

/// How the messages of one batch ended.
#[derive(Debug)]
struct Ended {
    keys: Vec<UniqueKey>,
    delivery: Option<Delivery>,
    receipts: Vec<SendReceipt>,
}

fn ended(result: Result<Vec<SendReceipt>, SendError>, messages: usize) -> Ended {
    match result {
        Ok(receipts) => {
            assert_eq!(receipts.len(), messages);
            let keys = receipts.iter().map(|receipt| receipt.unique_key).collect();
            Ended { keys, delivery: None, receipts }
        }
        Err(error) => {
            let (keys, delivery) = (error.member_keys().to_vec(), error.delivery());
            assert_eq!((keys.len(), error.into_messages().len()), (messages, messages));
            Ended { keys, delivery: Some(delivery), receipts: Vec::new() }
        }
    }
}

/// Where copies of a message are: broker, queue and offset.
fn copies(cx: &SimHandle, key: UniqueKey) -> Vec<(String, i32, u64)> {
    let copies = cx.copies(key).into_iter();
    copies.map(|stored| (stored.broker, stored.queue_id, stored.queue_offset)).collect()
}

fn judge(cx: &SimHandle, ended: &Ended) {
    let first = copies(cx, ended.keys[0]);
    for (index, key) in ended.keys.iter().enumerate() {
        let expected: Vec<_> = first
            .iter()
            .map(|(broker, queue, offset)| (broker.clone(), *queue, offset + index as u64))
            .collect();
        assert_eq!(copies(cx, *key), expected, "stored whole, in order, or not at all");
    }
    match ended.delivery {
        Some(Delivery::NotSent | Delivery::Refused) => assert_eq!(first, []),
        Some(_) => {}
        None => assert!(!first.is_empty()),
    }
    for receipt in ended.receipts.iter().filter(|receipt| receipt.position.is_some()) {
        cx.stored_as(receipt);
    }
}

async fn give(cx: SimHandle, producer: Producer, user: usize) -> Vec<Ended> {
    let mut all = Vec::new();
    for number in 0..8 {
        let size = 1 + (user + number) % 5;
        let messages = (0..size).map(|part| {
            let message = Message::new("Orders", format!("{user}-{number}-{part}"));
            message.with_tag(if part == 0 { "first" } else { "later" })
        });
        all.push(ended(producer.send_batch(messages).await, size));
        cx.sleep(Duration::from_millis(300)).await;
    }
    all
}

/// Each send of a gathering producer ends once, and what it says is true.
async fn gather(cx: SimHandle, producer: Producer, user: usize) {
    for number in 0..20 {
        let body = format!("{user}-{number}");
        match producer.send(Message::new("Orders", body.clone())).await {
            Ok(receipt) => {
                if receipt.position.is_some() {
                    assert_eq!(cx.stored_as(&receipt).body, body.as_bytes());
                }
            }
            Err(error) => {
                cx.assert_true(&error);
                let message = error.into_message().expect("it comes back");
                assert_eq!(&**message.body(), body.as_bytes());
            }
        }
        cx.sleep(Duration::from_millis(100)).await;
    }
}

/// Requests that brought several sends of the gathering producer.
fn gathered_batches(cluster: &Cluster) -> usize {
    let ours = |frame: &&FrameRecord| frame.ext.get("a") == Some("gatherer");
    cluster.frames().iter().filter(|frame| frame.code == 320).filter(ours).count()
}

#[test]
fn i32_a_batch_is_stored_whole_or_not_at_all_and_each_message_ends_once() {
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    let mut gathered = 0;
    for seed in 0..60 {
        let config = ClusterConfig::new().brokers(2).topic("Orders", 4);
        let mut sim = Sim::new(seed, config);
        let (told, batches) = sim.run(async |cx| {
            cx.rough_links();
            let config = cx.config().send_timeout(Duration::from_secs(1));
            let client = cx.start(config.build().expect("legal"));
            let giver = client.producer("giver").expect("legal");
            let settings = AutoBatch::new().with_linger(Duration::from_millis(5));
            let options = ProducerOptions::new().with_auto_batch(settings);
            let gatherer = client.producer_with("gatherer", options).expect("legal");
            let rage = chaos::rage(cx.clone(), cx.random(), Duration::from_secs(4));
            let rage = cx.spawn(rage);
            let given: Vec<_> =
                (0..3).map(|user| cx.spawn(give(cx.clone(), giver.clone(), user))).collect();
            let gathered: Vec<_> =
                (0..8).map(|user| cx.spawn(gather(cx.clone(), gatherer.clone(), user))).collect();
            let mut told = Vec::new();
            for task in given {
                told.extend(task.await);
            }
            for task in gathered {
                task.await;
            }
            rage.await;
            cx.sleep(Duration::from_secs(5)).await;
            for ended in &told {
                judge(&cx, ended);
            }
            client.close(Duration::from_secs(5)).await;
            (told, cx.look(gathered_batches))
        });
        gathered += batches;
        for ended in told {
            *kinds.entry(format!("{:?}", ended.delivery)).or_default() += 1;
        }
    }
    assert_eq!(kinds.values().sum::<u32>(), 60 * 24);
    assert!(gathered > 60, "{gathered} requests with several sends of the gathering producer");
    assert!(kinds.len() >= 3, "stored, unknown and refused or not sent: {kinds:?}");
}
