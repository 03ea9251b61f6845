//! Compressed bodies.

use std::time::Duration;

use rocketmq_interop::{Comparison, Context, Result, compare};
use rocketmq_tokio::{Compression, Message, SendOptions};

use super::{NamedCase, Setting, all_told, expect, text, told};

pub(super) const CASES: &[NamedCase] = &[
    ("compressed: zlib", |context, setting| compressed(context, setting, Compression::Zlib)),
    ("compressed: LZ4", |context, setting| compressed(context, setting, Compression::Lz4)),
    ("compressed: zstd", |context, setting| compressed(context, setting, Compression::Zstd)),
    ("compressed: each send its own", mixed),
];

/// Words that repeat, so that it gets smaller, but not as one run.
fn compressible(length: usize) -> Vec<u8> {
    let words = (0..).flat_map(|n: u32| format!("line {n} of so many, ").into_bytes());
    words.take(length).collect()
}

/// Bytes in which no method finds anything: a plain generator's.
fn random(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// The bits of a stored message that name the method, as Java's `CompressionType` has them. That
/// of whether it is compressed at all the Java client takes away when it has decompressed.
const METHOD: i32 = 0x700;

fn method(compression: Compression) -> i32 {
    match compression {
        Compression::Lz4 => 0x100,
        Compression::Zstd => 0x200,
        Compression::Zlib => 0x300,
        _ => 0,
    }
}

fn compressed(context: &Context, setting: Setting, compression: Compression) -> Result<Comparison> {
    let topic = context.topic("compressed");
    context.servers.create_topic(&topic, 2)?;
    let bodies = [
        (compressible(4_095), Compression::None),
        (compressible(4_096), compression),
        (random(5_000), Compression::None),
        (compressible(100_000), compression),
        (compressible(4 << 20), compression),
    ];
    let config = setting.config(context).compression(compression);
    let config = config.send_timeout(Duration::from_secs(10));
    let (sent, viewed) = setting.run(config, async |client, producer| {
        let (mut sent, mut viewed) = (Vec::new(), Vec::new());
        for (number, (body, _)) in bodies.iter().enumerate() {
            let message = Message::new(topic.clone(), body.clone());
            let message = message.with_flag(number as i32).with_tag("squeezed");
            let result = producer.send(message.clone()).await;
            if let Ok(receipt) = &result {
                let id = receipt.offset_message_id.map(|id| id.to_string()).unwrap_or_default();
                viewed.push(client.admin().view(&topic, &id).await);
            }
            sent.push(told(&message, result));
        }
        (sent, viewed)
    })?;
    let read = context.reader.read(&[&topic])?;
    for message in &read {
        let wanted = method(bodies[message.flag as usize].1);
        let (number, found) = (message.flag, message.sys_flag);
        let right = found & METHOD == wanted;
        expect(right, || format!("message {number} has flags {found:#x}, not {wanted:#x}"))?;
    }
    expect(viewed.len() == bodies.len(), || format!("{} are acknowledged", viewed.len()))?;
    for (stored, (body, _)) in viewed.into_iter().zip(&bodies) {
        let stored = stored.map_err(text)?;
        let same = stored.body == *body && !stored.is_compressed();
        expect(same, || format!("viewed, it is another message: {stored:?}"))?;
    }
    Ok(compare(&sent, &read).exactly_once())
}

/// Choosing for one send wins over the client's setting, and neighbours do not see each other.
fn mixed(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("mixed");
    context.servers.create_topic(&topic, 2)?;
    let methods = [Compression::Zlib, Compression::Lz4, Compression::Zstd, Compression::None];
    let config = setting.config(context);
    let sent = setting.run(config, async |_, producer| {
        let mut pending = Vec::new();
        for number in 0..32 {
            let body = compressible(5_000 + number * 777);
            let message = Message::new(topic.clone(), body).with_flag(number as i32);
            let options = SendOptions::new().with_compression(methods[number % 4]);
            pending.push((message.clone(), producer.submit_with(message, options).await));
        }
        all_told(pending).await
    })?;
    let read = context.reader.read(&[&topic])?;
    let wrong = read.iter().find(|m| m.sys_flag & METHOD != method(methods[m.flag as usize % 4]));
    expect(wrong.is_none(), || format!("compressed otherwise: {wrong:?}"))?;
    let comparison = compare(&sent, &read).exactly_once();
    expect(comparison.acknowledged == 32, || format!("{comparison:?}"))?;
    Ok(comparison)
}
