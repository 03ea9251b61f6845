//! Bodies of route answers, strict and loose.

use std::fmt::Write;

use rocketmq_core::limits::{ADDRESS_LENGTH_MAX, QUEUES_PER_BROKER_MAX, ROUTE_BROKERS_MAX};
use rocketmq_core::wire::{ADDRESSES_PER_BROKER_MAX, TopicRoute, decode_route};

/// A route keeps its bounds, and reads the same again when written strictly and loosely.
pub fn route(data: &[u8]) {
    let route = match decode_route(data) {
        Ok(route) => route,
        Err(error) => {
            // A broker's name may be as long as the body.
            assert!(error.to_string().len() < 1_000 + data.len() * 3, "{error}");
            return;
        }
    };
    check_bounds(&route, data.len());
    for strict in [true, false] {
        let text = render(&route, strict);
        match decode_route(text.as_bytes()) {
            Ok(again) => assert_eq!(again, route, "{text}"),
            Err(error) => panic!("{error} in {text}"),
        }
    }
}

fn check_bounds(route: &TopicRoute, length: usize) {
    assert!(route.brokers.len() <= ROUTE_BROKERS_MAX && route.queues.len() <= ROUTE_BROKERS_MAX);
    assert!(route.static_queues.len() <= ROUTE_BROKERS_MAX);
    let mut text = route.order_topic_conf.as_ref().map_or(0, |conf| conf.len());
    for broker in &route.brokers {
        assert!(!broker.broker_name.is_empty() && !broker.addresses.is_empty());
        assert!(broker.addresses.len() <= ADDRESSES_PER_BROKER_MAX);
        assert!(broker.addresses.is_sorted_by(|a, b| a.0 < b.0));
        let fits = |address: &str| (1..=ADDRESS_LENGTH_MAX).contains(&address.len());
        assert!(broker.addresses.iter().all(|(_, address)| fits(address)));
        let addresses = broker.addresses.iter().map(|(_, address)| address.len());
        text += broker.cluster.len() + broker.broker_name.len() + addresses.sum::<usize>();
    }
    for queues in &route.queues {
        let max = QUEUES_PER_BROKER_MAX as i32;
        assert!(queues.write_queue_nums <= max && queues.read_queue_nums <= max);
        text += queues.broker_name.len();
    }
    // Bytes that are not UTF-8 become three each.
    assert!(text <= length * 3, "{text} bytes kept of {length}");
}

fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("a string is valid JSON")
}

/// The route in the words of a name server. Loose JSON has integer keys without quotes.
fn render(route: &TopicRoute, strict: bool) -> String {
    let integer_key = |key: i64| if strict { format!("\"{key}\"") } else { key.to_string() };
    let mut brokers = Vec::new();
    for broker in &route.brokers {
        let pair =
            |(id, address): &(i64, Box<str>)| format!("{}:{}", integer_key(*id), quote(address));
        let addresses: Vec<_> = broker.addresses.iter().map(pair).collect();
        let zone = broker.zone_name.as_deref().map_or("null".to_owned(), quote);
        brokers.push(format!(
            "{{\"brokerAddrs\":{{{}}},\"brokerName\":{},\"cluster\":{},\
             \"enableActingMaster\":{},\"zoneName\":{zone}}}",
            addresses.join(","),
            quote(&broker.broker_name),
            quote(&broker.cluster),
            broker.enable_acting_master,
        ));
    }
    let queues = route.queues.iter().map(|queues| {
        format!(
            "{{\"brokerName\":{},\"perm\":{},\"readQueueNums\":{},\"topicSysFlag\":{},\
             \"writeQueueNums\":{}}}",
            quote(&queues.broker_name),
            queues.perm,
            queues.read_queue_nums,
            queues.topic_sys_flag,
            queues.write_queue_nums,
        )
    });
    let queues: Vec<_> = queues.collect();
    let mut text = format!(
        "{{\"brokerDatas\":[{}],\"filterServerTable\":{{}},\"queueDatas\":[{}]",
        brokers.join(","),
        queues.join(","),
    );
    if let Some(conf) = &route.order_topic_conf {
        let _ = write!(text, ",\"orderTopicConf\":{}", quote(conf));
    }
    let _ = write!(text, ",\"topicQueueMappingByBroker\":{{{}}}}}", mappings(route, strict));
    text
}

fn mappings(route: &TopicRoute, strict: bool) -> String {
    let integer_key = |key: i32| if strict { format!("\"{key}\"") } else { key.to_string() };
    let mut parts = Vec::new();
    for mapping in &route.static_queues {
        let ids = mapping.curr_id_map.iter();
        let ids: Vec<_> = ids.map(|(from, to)| format!("{}:{to}", integer_key(*from))).collect();
        let scope = mapping.scope.as_deref().map_or("null".to_owned(), quote);
        parts.push(format!(
            "{key}:{{\"bname\":{key},\"scope\":{scope},\"epoch\":{},\"totalQueues\":{},\
             \"currIdMap\":{{{}}}}}",
            mapping.epoch,
            mapping.total_queues,
            ids.join(","),
            key = quote(&mapping.bname),
        ));
    }
    parts.join(",")
}
