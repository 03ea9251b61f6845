//! Topics, offsets and stored messages, as the client's admin handle sees them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocketmq_driver::{MessageQueue, QueryErrorKind, TopicSettings, TopicType};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};

use super::scene::*;
use super::{Harness, Servers};

/// The second broker.
const B: Node = Node::Broker(1);

/// A new topic is on every broker, has what was asked for, and can be sent to.
pub async fn a_topic_is_created_on_every_broker<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let producer = producer(on, config(&cluster));
    let admin = producer.client().admin().with_timeout(PROMPT);
    let settings = TopicSettings::new("Bills", 3).with_type(TopicType::Delay);
    let created = admin.create_topic(settings).await.expect("created");
    assert!(created.is_complete() && created.brokers.len() == 2, "{created:?}");
    let route = admin.route("Bills").await.expect("a route");
    let queues: Vec<_> = route.queues.iter().map(|data| data.write_queue_nums).collect();
    assert_eq!(queues, [3, 3]);
    let requests: Vec<_> = cluster.with(|cluster| {
        cluster.frames().iter().filter(|frame| frame.code == 17).cloned().collect()
    });
    for frame in &requests {
        assert_eq!(frame.ext.get("attributes"), Some("+message.type=DELAY"));
        assert_eq!(frame.ext.get("defaultTopic"), Some("TBW102"));
    }
    assert_eq!(requests.len(), 2);
    let receipt = producer.send(rocketmq_driver::Message::new("Bills", "1")).await.expect("sent");
    assert!(receipt.position.is_some_and(|position| position.queue_id < 3));
}

/// Without creation by sends there is no default topic to go by.
pub async fn a_topic_is_created_where_sends_create_none<H: Harness>(on: &H) {
    let closed = ClusterConfig::new().brokers(2).auto_create_topics(false);
    let cluster = cluster_with(on, closed);
    let client = on.start(build(config(&cluster)));
    let admin = client.admin().with_timeout(PROMPT);
    cluster.with(|cluster| {
        cluster.script(B, Rule::any().always(), Fault::answer(16, "no"));
    });
    let created = admin.create_topic(TopicSettings::new("Bills", 1)).await.expect("created");
    assert!(!created.is_complete());
    let failed: Vec<_> = created.brokers.iter().filter(|broker| broker.result.is_err()).collect();
    let [failed] = failed.as_slice() else { panic!("{created:?}") };
    assert_eq!(&*failed.broker_name, "broker-b");
    assert_eq!(failed.result.as_ref().unwrap_err().code().map(|code| code.0), Some(16));

    cluster.with(|cluster| {
        cluster.script(A, Rule::any().always(), Fault::answer(16, "no"));
    });
    let error = admin.create_topic(TopicSettings::new("Bills", 1)).await.unwrap_err();
    assert!(matches!(error.kind(), QueryErrorKind::Refused { .. }), "{error}");
    let error = admin.create_topic(TopicSettings::new("TBW102", 1)).await.unwrap_err();
    assert!(matches!(error.kind(), QueryErrorKind::InvalidTopic(_)), "{error}");
}

/// Offsets grow with what is stored; a broker that is down is an error of its queues alone.
pub async fn offsets_follow_what_is_stored<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let producer = producer(on, config(&cluster));
    let admin = producer.client().admin().with_timeout(PROMPT);
    let queue = MessageQueue::new("broker-a", 2);
    for body in 0..3 {
        producer.send_to(queue.clone(), message(body)).await.expect("sent");
    }
    assert_eq!(admin.max_offset(TOPIC, &queue).await, Ok(3));
    assert_eq!(admin.min_offset(TOPIC, &queue).await, Ok(0));
    let at = |since| UNIX_EPOCH + Duration::from_millis(since);
    assert_eq!(admin.search_offset(TOPIC, &queue, UNIX_EPOCH).await, Ok(0));
    assert_eq!(admin.search_offset(TOPIC, &queue, at(1 << 42)).await, Ok(3));
    let earliest = admin.earliest_time(TOPIC, &queue).await.expect("answered");
    assert!(earliest.is_some_and(|time: SystemTime| time >= at(1_700_000_000_000)));
    let empty = MessageQueue::new("broker-b", 0);
    assert_eq!(admin.earliest_time(TOPIC, &empty).await, Ok(None));

    let all = admin.offsets(TOPIC).await.expect("offsets");
    let stored: u64 = all.iter().map(|one| one.range.as_ref().unwrap().max).sum();
    assert_eq!((all.len(), stored), (8, 3));
    assert_eq!((&all[2].queue, all[2].range.as_ref().unwrap().max), (&queue, 3));

    cluster.with(|cluster| cluster.kill(B));
    let all = admin.offsets(TOPIC).await.expect("offsets");
    let failed = |one: &&rocketmq_driver::QueueOffsets| one.range.is_err();
    assert_eq!(all.iter().filter(failed).count(), 4);
    assert!(all.iter().filter(failed).all(|one| one.queue.broker_name() == "broker-b"));

    let unknown = MessageQueue::new("broker-z", 0);
    let error = admin.max_offset(TOPIC, &unknown).await.unwrap_err();
    assert_eq!(error.kind(), &QueryErrorKind::NoSuchBroker("broker-z".into()));
    let error = admin.offsets("Unknown").await.unwrap_err();
    assert_eq!(error.kind(), &QueryErrorKind::TopicNotFound);
    assert_eq!(error.name_servers().len(), 1, "{error}");
}

/// A message is found by both ids of its receipt, and by its keys. Brokers find others along with
/// it, whose keys have the same hash.
pub async fn stored_messages_are_found<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let producer = producer(on, config(&cluster));
    let admin = producer.client().admin().with_timeout(PROMPT);
    let sent = message("to be found").with_tag("paid").with_key("Aa").with_key("k2");
    let sent = sent.with_property("region", "eu");
    let queue = MessageQueue::new("broker-b", 1);
    let another = message("another").with_key("BB");
    producer.send_to(queue.clone(), another).await.expect("sent");
    let receipt = producer.send_to(queue, sent).await.expect("sent");
    let ids = [
        receipt.offset_message_id.expect("an id").to_string(),
        receipt.unique_key.to_string(),
        format!(" {} ", receipt.unique_key),
    ];
    for id in ids {
        let found = admin.view(TOPIC, &id).await.expect("found");
        assert_eq!((&*found.topic, &found.body[..]), (TOPIC, &b"to be found"[..]));
        assert_eq!(found.unique_key(), Some(receipt.unique_key.to_string().as_str()));
        assert_eq!((found.queue_id, found.queue_offset), (1, 1));
        assert_eq!((found.tag(), found.property("region")), (Some("paid"), Some("eu")));
        assert_eq!(found.keys().collect::<Vec<_>>(), ["Aa", "k2"]);
        assert_eq!(found.offset_message_id(), receipt.offset_message_id.expect("an id"));
    }
    for (key, offsets) in [("k2", [1]), ("Aa", [1]), ("BB", [0])] {
        let found = admin.messages_by_key(TOPIC, key, 8).await.expect("found");
        let found: Vec<_> = found.iter().map(|message| message.queue_offset).collect();
        assert_eq!(found, offsets, "{key}");
    }
    let missing = [
        admin.messages_by_key(TOPIC, "k", 8).await.err(),
        admin.view(TOPIC, &"0".repeat(31)).await.err(),
    ];
    for error in missing {
        assert_eq!(error.expect("not there").kind(), &QueryErrorKind::MessageNotFound);
    }
    let error = admin.view(TOPIC, "two words").await.unwrap_err();
    assert_eq!(error.kind(), &QueryErrorKind::InvalidId);
    // One of the brokers could have it.
    cluster.with(|cluster| cluster.kill(B));
    let error = admin.view(TOPIC, &receipt.unique_key.to_string()).await.unwrap_err();
    assert!(matches!(error.kind(), QueryErrorKind::Lost(_)), "{error}");
}

/// A silent server costs the time of the call; dropped calls leave nothing behind.
pub async fn a_silent_broker_costs_the_time_of_a_call<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let client = on.start(build(config(&cluster)));
    cluster.with(|cluster| {
        cluster.script(A, Rule::any().always(), Fault::silent());
    });
    let time = Duration::from_millis(200);
    let start = on.now();
    let queue = MessageQueue::new("broker-a", 0);
    let admin = client.admin().with_timeout(time);
    let error = admin.max_offset(TOPIC, &queue).await.unwrap_err();
    assert!(error.to_string().contains("no answer in time"), "{error}");
    assert!(error.address().is_some(), "{error}");
    let took = on.since(start);
    assert!(took >= time && took <= time + H::TOLERANCE, "{took:?}");
    let long = client.admin().with_timeout(Duration::from_secs(3_600));
    for _ in 0..2_000 {
        // More than may be open at once.
        let mut call = Box::pin(long.max_offset(TOPIC, &queue));
        assert!(poll_once(call.as_mut()).is_none());
    }
    let error = admin.max_offset(TOPIC, &queue).await.unwrap_err();
    assert!(error.to_string().contains("no answer in time"), "{error}");
    client.close(PROMPT).await;
    let error = long.route(TOPIC).await.unwrap_err();
    assert_eq!(error.kind(), &QueryErrorKind::Closed);
}

/// A driver that ends answers who asked.
pub async fn the_end_of_the_driver_answers_who_asked<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let (client, driver) = on.client(build(config(&cluster)));
    let admin = client.admin();
    let mut call = Box::pin(admin.route(TOPIC));
    assert!(poll_once(call.as_mut()).is_none());
    drop(driver);
    let error = promptly(on, "the call", call).await.unwrap_err();
    assert_eq!(error.kind(), &QueryErrorKind::DriverStopped);
    let error = admin.route(TOPIC).await.unwrap_err();
    assert_eq!(error.kind(), &QueryErrorKind::DriverStopped);
}

/// In a namespace servers know the topic by another name than the user.
pub async fn admin_calls_stay_in_the_namespace<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).namespace("shop"));
    let admin = producer.client().admin().with_timeout(PROMPT);
    admin.create_topic(TopicSettings::new("Bills", 2)).await.expect("created");
    let receipt = producer.send(rocketmq_driver::Message::new("Bills", "1")).await.expect("sent");
    let found = admin.view("Bills", &receipt.unique_key.to_string()).await.expect("found");
    assert_eq!(&*found.topic, "Bills");
    assert_eq!(cluster.with(|cluster| cluster.stored("shop%Bills")).len(), 1);
    assert_eq!(admin.offsets("Bills").await.expect("offsets").len(), 2);
}
