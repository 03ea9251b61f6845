//! The cluster's codec against bytes that the Java classes made.

use crate::common::{
    BATCH, END_TRANSACTION, KEY, RECEIPT_BINARY, ROUTE_BINARY, ROUTE_JSON, SEND_BINARY, hex,
};
use rocketmq_testkit::wire::{
    BatchMessage, BrokerData, Command, Encoding, Heartbeat, LogMessage, QueueData, TopicRoute,
    cluster_info_json, decode_batch, encode_batch, format_properties, offset_message_id,
    parse_offset_message_id, parse_properties, quote_keys, split_frame,
};

#[test]
fn java_frames_decode_and_encode_to_the_same_bytes_where_java_has_an_order() {
    let mut command = Command::decode(&hex(ROUTE_JSON)).expect("a JSON frame");
    assert_eq!((command.code, command.language, command.version), (105, 12, 479));
    assert_eq!((command.opaque, command.flag, command.encoding), (7, 0, Encoding::Json));
    assert_eq!(&command.ext["topic"], "TopicTest");
    assert_eq!(command.encode(), hex(ROUTE_JSON));
    command.encoding = Encoding::Binary;
    assert_eq!(command.encode(), hex(ROUTE_BINARY));
    assert_eq!(Command::decode(&hex(ROUTE_BINARY)), Ok(command));
}

#[test]
fn java_send_decodes_field_by_field() {
    let send = Command::decode(&hex(SEND_BINARY)).expect("a binary frame");
    assert_eq!((send.code, send.opaque, send.body.as_slice()), (310, 1, b"hi".as_slice()));
    assert_eq!(send.ext.len(), 13, "l is absent");
    assert_eq!((&send.ext["a"], &send.ext["n"]), ("PG", "broker-a"));
    let properties = parse_properties(&send.ext["i"]);
    assert_eq!(&properties["UNIQ_KEY"], KEY);
    assert_eq!(&properties["KEYS"], "k1 k2");
    // Java writes these fields in the order of the alphabet, so the bytes are the same.
    assert_eq!(send.encode(), hex(SEND_BINARY));

    let receipt = Command::decode(&hex(RECEIPT_BINARY)).expect("a binary frame");
    assert!(receipt.is_response());
    assert_eq!(&receipt.ext["queueOffset"], "5");
    assert_eq!(&receipt.ext["msgId"], "C0A8000100002A9F0000000000000064");
    let end = Command::decode(&hex(END_TRANSACTION)).expect("a binary frame");
    assert_eq!((end.code, end.is_oneway(), end.remark.as_deref()), (37, true, Some("ré")));
    assert_eq!(&end.ext["commitOrRollback"], "8");
}

#[test]
fn malformed_frames_are_errors_as_early_as_in_java() {
    // One byte over the limit is refused on the four length bytes alone.
    assert_eq!(split_frame(&16_777_212u32.to_be_bytes()), Ok(None));
    assert!(split_frame(&16_777_213u32.to_be_bytes()).is_err());
    assert!(split_frame(&[0xff; 4]).is_err());
    assert!(split_frame(&[0, 0, 0, 3]).is_err());
    assert_eq!(split_frame(&[0, 0, 0]), Ok(None));
    assert!(split_frame(&hex("00000004 00000001")).is_err(), "header longer than the frame");
    assert!(Command::decode(&hex("00000004 00000000")).is_err(), "no JSON");
    assert!(Command::decode(&hex("00000006 02000002 7b7d")).is_err(), "unknown type");
    let bad = |header: &str| {
        let mut frame = (header.len() as u32 + 4).to_be_bytes().to_vec();
        frame.extend((header.len() as u32).to_be_bytes());
        frame.extend(header.as_bytes());
        Command::decode(&frame).is_err()
    };
    assert!(!bad("{}"), "every key may be absent");
    assert!(bad("[]") && bad("{") && bad("{\"opaque\":2147483648}"));
    assert!(bad("{\"code\":{}}") && bad("{\"extFields\":[]}"));
    // Cut a good binary frame everywhere, with the lengths of frame and header made to fit.
    let good = hex(ROUTE_BINARY);
    for length in 8..good.len() {
        let mut cut = good[..length].to_vec();
        cut[..4].copy_from_slice(&(length as u32 - 4).to_be_bytes());
        cut[4..8].copy_from_slice(&((length as u32 - 8) | 1 << 24).to_be_bytes());
        assert!(Command::decode(&cut).is_err(), "{length}");
    }
}

#[test]
fn json_field_values_become_text_and_null_means_absent() {
    let header = br#"{"extFields":{"a":1,"b":true,"c":null,"d":""},"remark":null,"opaque":-3,
        "language":"KLINGON","version":"7","more":[{}]}"#;
    let mut frame = (header.len() as u32 + 4).to_be_bytes().to_vec();
    frame.extend((header.len() as u32).to_be_bytes());
    frame.extend(header);
    let command = Command::decode(&frame).expect("legal");
    let fields: Vec<_> = command.ext.iter().collect();
    assert_eq!(fields, [("a", "1"), ("b", "true"), ("d", "")]);
    assert_eq!((command.opaque, command.language, command.version), (-3, 7, 7));
    assert_eq!(command.remark, None);
}

#[test]
fn properties_without_name_or_value_are_dropped() {
    let text = "KEYS\u{1}k1 k2\u{2}Empty\u{1}\u{2}\u{1}bc\u{2}ab\u{2}x\u{1}y\u{1}z\u{2}last\u{1}1";
    let properties = parse_properties(text);
    let expected = [("KEYS", "k1 k2"), ("last", "1"), ("x", "y\u{1}z")];
    assert!(properties.iter().eq(expected), "{properties:?}");
    assert_eq!(parse_properties(&format_properties(&properties)), properties);
}

#[test]
fn java_batch_decodes_and_encodes_to_the_same_bytes() {
    let messages = decode_batch(&hex(BATCH)).expect("a batch");
    let message = |flag, body: &[u8], properties: &str| BatchMessage {
        flag,
        body: body.to_vec(),
        properties: properties.into(),
    };
    let second = message(258, b"BC", "TAGS\u{1}x\u{2}");
    assert_eq!(messages, [message(0, b"A", "UNIQ_KEY\u{1}U1\u{2}"), second]);
    assert_eq!(encode_batch(&messages), hex(BATCH));
    assert!(decode_batch(&[]).is_err());
    let batch = hex(BATCH);
    for length in (1..batch.len()).filter(|length| *length != 35) {
        assert!(decode_batch(&batch[..length]).is_err(), "{length}");
    }
}

#[test]
fn offset_message_ids_hold_address_and_offset() {
    let v4 = "192.168.0.1:10911".parse().expect("an address");
    assert_eq!(offset_message_id(v4, 0x64), "C0A8000100002A9F0000000000000064");
    let v6 = "[fd00::1]:10911".parse().expect("an address");
    let long = offset_message_id(v6, 0x400);
    assert_eq!(long, "FD00000000000000000000000000000100002A9F0000000000000400");
    assert_eq!(parse_offset_message_id(&long), Some((v6, 0x400)));
    assert_eq!(parse_offset_message_id("C0A8000100002A9F0000000000000064"), Some((v4, 0x64)));
    assert_eq!(parse_offset_message_id("C0A8"), None);
    assert_eq!(parse_offset_message_id(&"é".repeat(16)), None);
}

#[test]
fn routes_are_written_as_by_the_reference_classes() {
    let addresses = [(0, "10.0.0.1:10911".to_owned()), (1, "10.0.0.2:10911".to_owned())];
    let route = TopicRoute {
        queues: vec![QueueData {
            broker_name: "broker-a".into(),
            read_queues: 4,
            write_queues: 4,
            perm: 6,
        }],
        brokers: vec![BrokerData {
            cluster: "DefaultCluster".into(),
            broker_name: "broker-a".into(),
            addresses: addresses.into(),
        }],
        ..TopicRoute::default()
    };
    let strict = r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911","1":"10.0.0.2:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#;
    assert_eq!(route.to_json(true, true), strict);
    let loose = strict.replace(r#""0":"#, "0:").replace(r#""1":"#, "1:");
    assert_eq!(route.to_json(false, true), loose);
    assert_eq!(quote_keys(&loose), strict);
    assert!(!route.to_json(true, false).contains("enableActingMaster"));
    let mut odd = route.clone();
    odd.brokers[0].cluster = "a/é".into();
    assert!(odd.to_json(true, true).contains(r#""cluster":"a\/\u00E9""#));
    assert_eq!(
        cluster_info_json(&route.brokers, true),
        r#"{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}},"clusterAddrTable":{"DefaultCluster":["broker-a"]}}"#
    );
}

#[test]
fn a_heartbeat_needs_a_client_id_and_nothing_else() {
    let java = br#"{"clientID":"192.0.2.2@golden","consumerDataSet":[{"groupName":"CG","subscriptionDataSet":[]}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"PG"}],"withoutSub":false}"#;
    let heartbeat = Heartbeat::decode(java).expect("a heartbeat");
    assert_eq!(heartbeat.client_id, "192.0.2.2@golden");
    assert_eq!(
        (heartbeat.producer_groups.as_slice(), heartbeat.consumer_groups.as_slice()),
        (["PG".to_owned()].as_slice(), ["CG".to_owned()].as_slice())
    );
    assert_eq!(Heartbeat::decode(&heartbeat.encode()), Ok(heartbeat));
    assert!(Heartbeat::decode(br#"{"clientID":"c"}"#).is_ok());
    assert!(Heartbeat::decode(br#"{"producerDataSet":[]}"#).is_err());
    assert!(Heartbeat::decode(br#"{"clientID":"c","producerDataSet":null}"#).is_err());
}

#[test]
fn a_stored_message_has_the_bytes_of_the_reference() {
    let java = "0000006bdaa320a73610a68600000003000000000000000000000009000000000000040000000000\
        0000018bcfe56800c0a800090000d4310000018bcfe56805c0a8000100002a9f000000000000000000000000\
        0000000568656c6c6f0154000a54414753015461674102";
    let mut message = LogMessage {
        topic: "T".into(),
        queue_id: 3,
        flag: 0,
        queue_offset: 9,
        commit_log_offset: 1024,
        sys_flag: 0,
        born_timestamp_ms: 1_700_000_000_000,
        born_host: "192.168.0.9:54321".parse().expect("an address"),
        store_timestamp_ms: 1_700_000_000_005,
        store_host: "192.168.0.1:10911".parse().expect("an address"),
        body: b"hello".to_vec(),
        properties: "TAGS\u{1}TagA\u{2}".into(),
    };
    assert_eq!(message.encode(), hex(java));
    message.topic = "T".repeat(128);
    message.store_host = "[::1]:1".parse().expect("an address");
    assert_eq!(message.encode()[..8], hex("000000f7daa320ab"));
}
