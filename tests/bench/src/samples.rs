//! Requests and answers as they are on the wire.

use bytes::Bytes;
use rocketmq_core::Message;
use rocketmq_core::wire::{
    EncodeError, Encoding, RequestCode, RequestHead, SendHeader, encode_response, encode_send,
};

/// The topic of all benchmarks.
pub const TOPIC: &str = "BenchmarkTopic";

/// The producer group of all benchmarks.
pub const GROUP: &str = "benchmark-producers";

/// A property string as most messages have it.
pub const PROPERTIES: &str = "UNIQ_KEY\u{1}7F0000010BADCAFE49D07C1F2B3C0001\u{2}WAIT\u{1}true\u{2}";

/// The recorded answer of a 5.3 broker, keys in the order of Java; `@` stands for the number of
/// the request.
const JAVA_ANSWER: &str = "{\"code\":0,\"extFields\":{\"queueId\":\"2\",\
     \"transactionId\":\"7F0000010BADCAFE49D07C1F2B3C0001\",\
     \"msgId\":\"AC1100020000278F000000000000A1B2\",\"queueOffset\":\"123456\",\
     \"MSG_REGION\":\"DefaultRegion\",\"TRACE_ON\":\"true\"},\"flag\":1,\"language\":\"JAVA\",\
     \"opaque\":@,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}";

/// A body of so many bytes.
pub fn body(length: usize) -> Bytes {
    Bytes::from(b"0123456789abcdef".iter().copied().cycle().take(length).collect::<Vec<u8>>())
}

/// A message of [`TOPIC`].
pub fn message(body: &Bytes) -> Message {
    Message::new(TOPIC, body.clone())
}

/// Appends a send's frame up to its body, as our client writes it.
///
/// # Errors
///
/// When the parts do not fit, which these do.
pub fn push_send(
    out: &mut Vec<u8>,
    encoding: Encoding,
    opaque: i32,
    body_length: usize,
) -> Result<(), EncodeError> {
    let code = RequestCode::SEND_MESSAGE_V2;
    let head = RequestHead { encoding, code, opaque, oneway: false };
    let header = SendHeader {
        producer_group: GROUP,
        topic: TOPIC,
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 2,
        sys_flag: 0,
        born_timestamp_ms: 1_800_000_000_000,
        flag: 0,
        properties: PROPERTIES,
        reconsume_times: 0,
        unit_mode: false,
        max_reconsume_times: None,
        batch: false,
        broker_name: "broker-a",
    };
    encode_send(out, &head, &header, body_length)
}

/// The answer to a send, as a Java broker writes it.
pub fn answer(encoding: Encoding, opaque: i32) -> Vec<u8> {
    match encoding {
        Encoding::Json => {
            let header = JAVA_ANSWER.replace('@', &opaque.to_string());
            let length = header.len() as u32;
            [&(length + 4).to_be_bytes()[..], &length.to_be_bytes(), header.as_bytes()].concat()
        }
        Encoding::Binary => {
            let fields = [
                ("queueId", "2"),
                ("transactionId", "7F0000010BADCAFE49D07C1F2B3C0001"),
                ("msgId", "AC1100020000278F000000000000A1B2"),
                ("queueOffset", "123456"),
                ("MSG_REGION", "DefaultRegion"),
                ("TRACE_ON", "true"),
            ];
            let mut out = Vec::new();
            let code = rocketmq_core::wire::ResponseCode::SUCCESS;
            encode_response(&mut out, encoding, opaque, code, None, &fields, &[])
                .expect("an answer that fits");
            out
        }
    }
}

/// A route over `brokers` brokers with `queues` queues each.
pub fn route(brokers: usize, queues: u32) -> Vec<u8> {
    use rocketmq_testkit::wire::{BrokerData, QueueData, TopicRoute};
    let name = |index: usize| format!("broker-{index}");
    let queues = (0..brokers).map(|index| QueueData {
        broker_name: name(index),
        read_queues: i64::from(queues),
        write_queues: i64::from(queues),
        perm: 6,
    });
    let addresses = (0..brokers).map(|index| BrokerData {
        cluster: "DefaultCluster".to_owned(),
        broker_name: name(index),
        addresses: [(0, format!("10.0.{}.{}:10911", index / 250, index % 250 + 1))].into(),
    });
    let route = TopicRoute {
        queues: queues.collect(),
        brokers: addresses.collect(),
        ..TopicRoute::default()
    };
    route.to_json(true, true).into_bytes()
}
