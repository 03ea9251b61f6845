//! Route bodies that a broken or hostile name server may send, one test a rule, and identifiers and
//! properties that must stay safe whatever the clock and the caller do.

use rocketmq_core::limits::{
    JSON_DEPTH_MAX, QUEUES_PER_BROKER_MAX, ROUTE_BODY_LENGTH_MAX, ROUTE_BROKERS_MAX,
};
use rocketmq_core::wire::{
    ADDRESSES_PER_BROKER_MAX, PropertyError, RouteError, TopicRoute, UniqueKeySource, decode_route,
    properties, push_property,
};

#[test]
fn t19_bare_keys_in_routes_are_accepted() {
    let loose = br#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911", 1 : "10.0.0.2:10911"},"brokerName":"a{0:1,2:3}","cluster":"c"}],"queueDatas":[{brokerName:"a{0:1,2:3}",perm:6,"readQueueNums":4,"topicSynFlag":1,"writeQueueNums":"8"}],"topicQueueMappingByBroker":{"b":{"bname":"b","currIdMap":{3:0,-1:2,1:1},"epoch":"9007199254740993","scope":"s","totalQueues":4}}}"#;
    let route = decode_route(loose).unwrap();
    let addresses = &route.brokers[0].addresses;
    assert_eq!(**addresses, [(0, "10.0.0.1:10911".into()), (1, "10.0.0.2:10911".into())]);
    assert_eq!(&*route.brokers[0].broker_name, "a{0:1,2:3}");
    assert_eq!(route.queues[0].broker_name, route.brokers[0].broker_name);
    assert_eq!((route.queues[0].write_queue_nums, route.queues[0].topic_sys_flag), (8, 1));
    let mapping = &route.static_queues[0];
    assert_eq!(mapping.curr_id_map, [(-1, 2), (1, 1), (3, 0)]);
    assert_eq!((mapping.epoch, mapping.total_queues), (9_007_199_254_740_993, 4));
    assert_eq!(mapping.scope.as_deref(), Some("s"));
}

#[test]
fn t60_too_many_queues_or_brokers_are_malformed_and_cost_no_memory() {
    let queues = |read: i64, write: i64| {
        let text = format!(
            r#"{{"queueDatas":[{{"brokerName":"b","readQueueNums":{read},"writeQueueNums":{write}}}]}}"#
        );
        decode_route(text.as_bytes())
    };
    let most = i64::from(QUEUES_PER_BROKER_MAX);
    assert_eq!(queues(most, most).unwrap().queues[0].write_queue_nums, 65_536);
    for (read, write) in [(most + 1, 1), (1, most + 1), (1, 2_147_483_647)] {
        let queues = queues(read, write);
        assert!(matches!(queues, Err(RouteError::TooManyQueues { .. })), "{queues:?}");
    }
    for member in ["brokerDatas", "queueDatas"] {
        let text = |count| format!("{{\"{member}\":[{}null]}}", "{},".repeat(count - 1));
        let route = decode_route(text(ROUTE_BROKERS_MAX).as_bytes()).unwrap();
        assert_eq!(route.brokers.capacity() + route.queues.capacity(), 0);
        let error = decode_route(text(ROUTE_BROKERS_MAX + 1).as_bytes()).unwrap_err();
        assert!(matches!(error, RouteError::TooManyEntries { .. }), "{error}");
    }
    let addresses = |count: usize| {
        let pairs: Vec<String> = (0..count).map(|id| format!("\"{id}\":\"h:1\"")).collect();
        let pairs = pairs.join(",");
        let text =
            format!("{{\"brokerDatas\":[{{\"brokerName\":\"b\",\"brokerAddrs\":{{{pairs}}}}}]}}");
        decode_route(text.as_bytes())
    };
    let most = ADDRESSES_PER_BROKER_MAX;
    assert_eq!(addresses(most).unwrap().brokers[0].addresses.len(), most);
    assert!(matches!(addresses(most + 1), Err(RouteError::TooManyAddresses { .. })));
}

#[test]
fn t61_negative_queues_and_missing_permissions_are_a_valid_route() {
    let text = br#"{"queueDatas":[{"brokerName":"b","readQueueNums":-1,"writeQueueNums":-2147483648,"perm":4},{"brokerName":"c","perm":2},{"perm":6}]}"#;
    let route = decode_route(text).unwrap();
    let [first, second] = route.queues.as_slice() else { panic!() };
    assert_eq!((first.read_queue_nums, first.write_queue_nums), (-1, i32::MIN));
    assert!(first.is_readable() && !first.is_writable());
    assert!(!second.is_readable() && second.is_writable());
}

#[test]
fn t63_brokers_without_an_address_and_bad_addresses_are_left_out() {
    let long = "h".repeat(300);
    let text = format!(
        r#"{{"orderTopicConf":"b:4","brokerDatas":[{{"brokerName":"a","brokerAddrs":{{"0":""}}}},{{"brokerName":"b","cluster":null,"enableActingMaster":true,"zoneName":"z","brokerAddrs":{{"2":"two:1","x":"y:1","0":"{long}","1":"one:1","1":"last:1","3":null}}}},{{"brokerAddrs":{{"0":"h:1"}}}}],"filterServerTable":{{}},"queueDatas":null,"topicQueueMappingByBroker":null}}"#
    );
    let route = decode_route(text.as_bytes()).unwrap();
    let [broker] = route.brokers.as_slice() else { panic!("{route:?}") };
    assert_eq!(broker.addresses, [(1, "last:1".into()), (2, "two:1".into())]);
    assert!(broker.enable_acting_master);
    assert_eq!(broker.zone_name.as_deref(), Some("z"));
    assert_eq!(route.order_topic_conf.as_deref(), Some("b:4"));
}

#[test]
fn t69_bodies_that_are_no_route_are_errors() {
    for body in [
        "",
        "{",
        "null",
        "[]",
        "x",
        "{\"queueDatas\":{}}",
        "{\"queueDatas\":[1]}",
        "{\"queueDatas\":[[]]}",
        "{}{}",
    ] {
        let error = decode_route(body.as_bytes()).unwrap_err();
        assert!(matches!(error, RouteError::Invalid { .. }), "{body}: {error}");
    }
    let deep = format!("{{\"x\":{}", "[".repeat(JSON_DEPTH_MAX));
    assert_eq!(decode_route(deep.as_bytes()), Err(RouteError::NestingTooDeep));
    let long = vec![b' '; ROUTE_BODY_LENGTH_MAX + 1];
    assert!(matches!(decode_route(&long), Err(RouteError::BodyTooLong { .. })));
    assert_eq!(decode_route(b"{}").unwrap(), TopicRoute::default());
    let route = decode_route(b"{\"orderTopicConf\":\"\xff:1\"}").unwrap();
    assert_eq!(route.order_topic_conf.as_deref(), Some("\u{fffd}:1"));
}

#[test]
fn t73_unique_keys_never_repeat() {
    let source = UniqueKeySource::new([10, 0, 0, 1].into(), 1, 2, 0);
    let mut seen = std::collections::HashSet::new();
    let start = 1_700_000_000_000;
    // One millisecond, then a clock that is set back, then one that jumps on.
    for wall in [start, start - 5, start, start + 1, 0, i64::MIN, start + 2, start + 3] {
        for _ in 0..70_000 {
            assert!(seen.insert(source.next(wall)));
        }
    }
    // The same time of the next month.
    let month = |ms: i64| {
        let source = UniqueKeySource::new([10, 0, 0, 1].into(), 1, 2, 0);
        let first = source.next(1_704_067_200_000 + ms);
        let last = (0..65_535).map(|_| source.next(1_704_067_200_001 + ms)).last();
        assert_eq!(last.unwrap().counter(), u16::MAX);
        (first, source.next(1_706_745_600_000 + ms))
    };
    let (january, february) = month(77);
    assert_eq!((january.month_ms(), january.counter()), (february.month_ms(), february.counter()));
    assert_ne!(january, february);
}

#[test]
fn t73_threads_share_a_source() {
    let source = UniqueKeySource::new("fd00::2".parse().unwrap(), 1, 2, 3_600_000);
    let keys = std::thread::scope(|scope| {
        let run = || (0..40_000).map(|_| source.next(1_700_000_000_000)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), 160_000);
}

#[test]
fn t77_t79_properties_that_would_be_misread_are_refused() {
    let mut text = String::from("a\u{1}b\u{2}");
    let cases = [
        ("x\u{1}", "v", PropertyError::SeparatorInName),
        ("x\u{2}", "v", PropertyError::SeparatorInName),
        ("x", "y\u{2}TRAN_MSG\u{1}true", PropertyError::SeparatorInValue),
        ("x", "y\u{1}", PropertyError::SeparatorInValue),
        ("", "v", PropertyError::NameEmpty),
        (" ", "v", PropertyError::NameEmpty),
        ("x", "", PropertyError::ValueEmpty),
        ("x", " \t", PropertyError::ValueEmpty),
    ];
    for (name, value, error) in cases {
        assert_eq!(push_property(&mut text, name, value), Err(error), "{name:?} {value:?}");
    }
    assert_eq!(text, "a\u{1}b\u{2}");
    let odd = "\u{2}x\u{2}\u{1}v\u{2}n\u{1}\u{2}a\u{1}b\u{1}c\u{2}\u{2}é\u{1}漢";
    assert!(properties(odd).eq([("a", "b\u{1}c"), ("é", "漢")]));
}
