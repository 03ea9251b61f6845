//! The message trace: what the official client reads out of our records.

use std::collections::BTreeMap;
use std::time::Duration;

use rocketmq_core::wire::{
    EndTransactionRecord, PubRecord, RecallRecord, SubAfterRecord, SubBeforeRecord,
    TraceMessageType, TraceRecord,
};
use rocketmq_interop::{Comparison, Context, Outcome, Result, compare};
use rocketmq_tokio::{
    Message, Producer, ProducerOptions, SendReceipt, TraceOptions, TransactionState, WallTime,
};

use super::{NamedCase, Setting, expect, sent, since, text};

pub(super) const CASES: &[NamedCase] =
    &[("traced", traced), ("trace records written as by Java", encoded)];

type Fields = BTreeMap<String, String>;

/// What became of each message, and what its record has to say.
async fn send(
    producer: &Producer,
    topic: &str,
    recalls: bool,
) -> Result<(Vec<(Message, SendReceipt)>, Vec<Fields>)> {
    let owned = topic.to_owned();
    let message = |body: &str| Message::new(owned.clone(), body.to_owned());
    let plain = message("plain").with_tag("paid").with_key("k1").with_key("订单");
    let later = message("later").with_delay_level(1);
    let mut wanted = Vec::new();
    let mut note = |receipt: &SendReceipt, more: &[(&str, &str)]| {
        let mut fields = Fields::new();
        let id = receipt.unique_key.to_string();
        let offset_id = receipt.offset_message_id.map(|id| id.to_string()).unwrap_or_default();
        for (name, value) in [
            ("kind", "Pub"),
            ("region", "DefaultRegion"),
            ("group", "traced"),
            ("success", "true"),
            ("topic", topic),
            ("id", &*id),
            ("tags", "null"),
            ("keys", "null"),
            ("store_host", &*receipt.address),
            ("body_length", "5"),
            ("type", "Normal_Msg"),
            ("cost", &*receipt.attempt_elapsed.as_millis().to_string()),
            ("offset_id", &*offset_id),
            ("exact", "true"),
        ]
        .iter()
        .chain(more)
        {
            fields.insert((*name).to_owned(), (*value).to_owned());
        }
        wanted.push(fields);
    };
    let mut told = Vec::new();
    let receipt = producer.send(plain.clone()).await.map_err(text)?;
    note(&receipt, &[("tags", "paid"), ("keys", "k1 订单")]);
    told.push((plain, receipt));
    let receipt = producer.send(later.clone()).await.map_err(text)?;
    note(&receipt, &[("type", "Delay_Msg")]);
    told.push((later, receipt));
    // Before 5.5 consumers see the key of the batch in its messages: they are not compared.
    let batch_topic = format!("{topic}_batch");
    let batch = ["one", "two"].map(|body| Message::new(batch_topic.clone(), body));
    let receipts = producer.send_batch(batch).await.map_err(text)?;
    let joined =
        |of: fn(&SendReceipt) -> String| receipts.iter().map(of).collect::<Vec<_>>().join(",");
    let ids = joined(|it| it.unique_key.to_string());
    let offset_ids = joined(|it| it.offset_message_id.map(|id| id.to_string()).unwrap_or_default());
    // A batch has its length as it is sent; what that is, the servers know.
    let whole = [("id", &*ids), ("offset_id", &offset_ids), ("body_length", "*")];
    note(&receipts[0], &[&[("topic", &*batch_topic)], &whole[..]].concat());
    let half = message("half!").with_tag("bought");
    let transaction = producer.begin_transaction(half.clone()).await.map_err(text)?;
    let (receipt, id) = (transaction.receipt().clone(), transaction.id().to_string());
    transaction.commit().await.map_err(text)?;
    note(&receipt, &[("type", "Trans_Msg_Half"), ("tags", "bought")]);
    let end = [
        ("kind", "EndTransaction"),
        ("tags", "bought"),
        ("type", "Trans_msg_Commit"),
        ("transaction_id", &*id),
        ("state", "COMMIT_MESSAGE"),
        ("from_check", "false"),
        // These are not part of such a record.
        ("body_length", "0"),
        ("cost", "0"),
        ("offset_id", ""),
    ];
    note(&receipt, &end);
    told.push((half, receipt));
    if recalls {
        let timer = message("timer").deliver_after(Duration::from_secs(3_600));
        let receipt = producer.send(timer).await.map_err(text)?;
        let handle = receipt.recall_handle.clone().ok_or("no handle")?;
        producer.recall(topic, &handle).await.map_err(text)?;
        note(&receipt, &[("type", "Delay_Msg")]);
        let none = [("store_host", "*"), ("offset_id", ""), ("cost", "0"), ("type", "null")];
        note(&receipt, &none);
        let recall = wanted.last_mut().ok_or("just noted")?;
        for (name, value) in [("kind", "Recall"), ("body_length", "0"), ("tags", ""), ("keys", "")]
        {
            recall.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok((told, wanted))
}

fn traced(context: &Context, setting: Setting) -> Result<Comparison> {
    let (topic, trace) = (context.topic("traced"), context.topic("trace"));
    for name in [&topic, &trace, &format!("{topic}_batch")] {
        context.servers.create_topic(name, 2)?;
    }
    let recalls = since(context, "5.3.2");
    let options = TraceOptions::new().with_topic(trace.clone()).with_batch(2);
    // Closing sends what is left.
    let (result, stats) = setting.run(setting.config(context), async |client, _| {
        let options = ProducerOptions::new().with_trace(options);
        let producer = client.producer_with("traced", options).expect("a legal group");
        let result = send(&producer, &topic, recalls).await;
        client.close(Duration::from_secs(10)).await;
        (result, producer.trace_stats())
    })?;
    let (told, wanted) = result?;
    let count = wanted.len() as u64;
    let counts = (stats.recorded, stats.sent, stats.dropped);
    expect(counts == (count, count, 0), || format!("of {count} records: {stats:?}"))?;
    let read = context.reader.read_traces(&[&trace])?;
    expect(read.len() == wanted.len(), || format!("{} of {count} are read", read.len()))?;
    for wanted in &wanted {
        let same = |it: &&Fields| (it["id"] == wanted["id"]) && (it["kind"] == wanted["kind"]);
        let found = read.iter().find(same).ok_or_else(|| format!("not read: {wanted:?}"))?;
        for (name, value) in wanted {
            let right = value == "*" || found[name] == *value;
            expect(right, || format!("{name} is {:?}, not {value:?}: {found:?}", found[name]))?;
        }
        // Who looks for a message finds its record.
        for key in wanted["keys"].split(' ').chain([&*wanted["id"]]) {
            let missing = key != "null" && !found["message_keys"].contains(key);
            expect(!missing, || format!("no key {key}: {found:?}"))?;
        }
        let time: i64 = found["time"].parse().map_err(text)?;
        expect(time > 1_700_000_000_000, || format!("the time is {time}"))?;
    }
    let sent = told
        .iter()
        .map(|(message, receipt)| sent(message, receipt.unique_key.to_string(), Outcome::Stored));
    // The delayed message takes its second.
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    let sent: Vec<_> = sent.collect();
    loop {
        let stored = context.reader.read(&[&topic])?;
        if stored.len() >= sent.len() || std::time::Instant::now() > limit {
            return Ok(compare(&sent, &stored).exactly_once());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// All kinds of records, also those that only consumers write: the official client reads them and
/// writes the same bytes again.
fn encoded(context: &Context, _: Setting) -> Result<Comparison> {
    let time = WallTime::from_millis(1_700_000_000_000);
    let (region, group): (Box<str>, Box<str>) = ("DefaultRegion".into(), "PG".into());
    let (topic, message_id): (Box<str>, Box<str>) = ("T".into(), "U1".into());
    let (keys, tag): (Option<Box<str>>, Option<Box<str>>) = (Some("k1 k2".into()), None);
    let store_host: Box<str> = "10.0.0.1:10911".into();
    let after = |origin| {
        TraceRecord::SubAfter(SubAfterRecord {
            request_id: "RQ".into(),
            message_id: "U1".into(),
            cost: Duration::from_millis(3),
            success: false,
            keys: Some("k1 k2".into()),
            context_code: 4,
            origin,
        })
    };
    let publication = |message_type, success| {
        TraceRecord::Pub(PubRecord {
            time,
            region: region.clone(),
            group: group.clone(),
            topic: topic.clone(),
            message_id: message_id.clone(),
            tag: tag.clone(),
            keys: keys.clone(),
            store_host: store_host.clone(),
            body_length: 5,
            cost: Duration::from_micros(3_900),
            message_type,
            offset_message_id: Some("O1".into()),
            success,
        })
    };
    let end = |state, from_check| {
        TraceRecord::EndTransaction(EndTransactionRecord {
            time,
            region: region.clone(),
            group: group.clone(),
            topic: topic.clone(),
            message_id: message_id.clone(),
            tag: Some("金".into()),
            keys: keys.clone(),
            store_host: store_host.clone(),
            message_type: TraceMessageType::Commit,
            transaction_id: "TX".into(),
            state,
            from_check,
        })
    };
    let mut records = vec![
        publication(TraceMessageType::Normal, true),
        publication(TraceMessageType::Half, false),
        publication(TraceMessageType::Delay, true),
        end(TransactionState::Commit, false),
        end(TransactionState::Rollback, true),
        end(TransactionState::Undecided, true),
        TraceRecord::SubBefore(SubBeforeRecord {
            time,
            region: region.clone(),
            group: group.clone(),
            request_id: "RQ".into(),
            message_id: message_id.clone(),
            retry_times: 7,
            keys: keys.clone(),
        }),
        after(Some((time, group.clone()))),
    ];
    // Java's classes before that know no such kind.
    if since(context, "5.0") {
        records.push(publication(TraceMessageType::Order, true));
    }
    if since(context, "5.3.2") {
        let success = false;
        let (region, group, topic) = (region.clone(), group.clone(), topic.clone());
        let record = RecallRecord { time, region, group, topic, message_id, success };
        records.push(TraceRecord::Recall(record));
    }
    // 4.9 does not end a record of this channel, and cannot read two of them.
    let cloud = if since(context, "5.0") { vec![after(None), after(None)] } else { vec![] };
    for (channel, records) in [("LOCAL", records), ("CLOUD", cloud)] {
        let mut ours = String::new();
        records.iter().for_each(|record| record.encode(&mut ours));
        let (java, count) = context.reader.encode_traces(channel, &ours)?;
        expect(count == records.len() as u64, || format!("{count} records of {ours:?}"))?;
        expect(java == ours, || format!("ours: {ours:?}, Java's: {java:?}"))?;
    }
    Ok(Comparison::default())
}
