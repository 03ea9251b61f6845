//! Namespaces, ports, look-ups and what a request carries besides.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rocketmq_interop::{Comparison, Context, Reader, Result, Sent, compare};
use rocketmq_tokio::{
    Config, Interceptor, Message, Producer, RequestContext, ResponseContext, TopicSettings,
};

use super::{NamedCase, Setting, all_of, expect, text, told};

pub(super) const CASES: &[NamedCase] = &[
    ("namespace", namespace),
    ("namespace in a field", namespace_v2),
    ("VIP port", vip_port),
    ("fields of an interceptor", added_fields),
    ("name servers by URL", by_url),
];

async fn send(producer: &Producer, topic: &str, count: usize) -> Vec<Sent> {
    let mut sent = Vec::new();
    for number in 0..count {
        let message = Message::new(topic.to_owned(), format!("body {number}"));
        let message = message.with_key(format!("key{number}")).with_flag(number as i32);
        sent.push(told(&message, producer.send(message.clone()).await));
    }
    sent
}

/// Waits until the name server knows a topic on both brokers.
fn await_route(context: &Context, topic: &str) -> Result<()> {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let route = context.servers.route(topic)?.unwrap_or_default();
        if route.queues.len() == context.servers.brokers() {
            return Ok(());
        }
        expect(Instant::now() < limit, || format!("{topic} has {route:?}"))?;
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What we send in a namespace, a Java client of that namespace reads, and the other way round; on
/// the wire its name stands before the topic's.
fn namespace(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("inside");
    let wire = format!("shop%{topic}");
    let config = || setting.config(context).namespace("shop");
    let created = setting.run(config(), async |client, _| {
        client.admin().create_topic(TopicSettings::new(topic.clone(), 2)).await
    })?;
    let created = created.map_err(text)?;
    expect(created.is_complete(), || format!("{created:?}"))?;
    await_route(context, &wire)?;
    let reader = Reader::start_in(&context.servers, "shop")?;
    let theirs = reader.send(&topic, 10)?;
    let (ours, offsets, viewed) = setting.run(config(), async |client, producer| {
        let sent = send(producer, &topic, 20).await;
        let viewed = client.admin().view(&topic, &theirs[0].unique_key).await;
        (sent, client.admin().offsets(&topic).await, viewed)
    })?;
    let viewed = viewed.map_err(text)?;
    expect(viewed.body == theirs[0].body, || format!("{viewed:?}"))?;
    let offsets = offsets.map_err(text)?;
    let stored: u64 = offsets.iter().flat_map(|of| &of.range).map(|range| range.max).sum();
    expect(offsets.len() == 4 && stored == 30, || format!("{offsets:?}"))?;

    let sent: Vec<_> = ours.into_iter().chain(theirs).collect();
    let inside = compare(&sent, &reader.read(&[&topic])?).exactly_once();
    let bare = |sent: &Sent| Sent { topic: wire.clone(), ..sent.clone() };
    let bare: Vec<_> = sent.iter().map(bare).collect();
    let outside = context.reader.read(&[&wire, &topic])?;
    let outside = compare(&bare, &outside).exactly_once();
    expect(inside.acknowledged == 30, || format!("{inside:?}"))?;
    Ok(all_of([inside, outside]))
}

/// Looks for fields of requests, and adds some.
#[derive(Default)]
struct Fields {
    namespaces: AtomicUsize,
    requests: AtomicUsize,
    answers: AtomicUsize,
    adds: bool,
}

impl Interceptor for Fields {
    fn request(&self, request: &mut RequestContext<'_>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let has = |name, value| request.fields().any(|(n, v)| (&*n, &*v) == (name, value));
        if has("ns", "shop") && has("nsd", "true") {
            self.namespaces.fetch_add(1, Ordering::Relaxed);
        }
        if self.adds {
            request.add_field("Signature", "AAECAwQ=").expect("nobody else has it");
            request.add_field("größe", "\"quoted\" \\ 世界").expect("nobody else has it");
        }
    }

    fn response(&self, _: &ResponseContext<'_>) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }
}

fn namespace_v2(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("field");
    context.servers.create_topic(&topic, 2)?;
    let fields = Arc::new(Fields::default());
    let config =
        setting.config(context).namespace_v2("shop").interceptor(Arc::<Fields>::clone(&fields));
    let sent = setting.run(config, async |_, producer| send(producer, &topic, 10).await)?;
    let (all, with) = (&fields.requests, &fields.namespaces);
    let (all, with) = (all.load(Ordering::Relaxed), with.load(Ordering::Relaxed));
    expect(all > 10 && all == with, || format!("{with} of {all} requests name it"))?;
    // Brokers leave it to proxies: the topic's name stays as it is.
    let comparison = compare(&sent, &context.reader.read(&[&topic])?).exactly_once();
    expect(comparison.acknowledged == 10, || format!("{comparison:?}"))?;
    Ok(comparison)
}

fn vip_port(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("vip");
    context.servers.create_topic(&topic, 2)?;
    let config = setting.config(context).vip_channel(true);
    let message = |number: usize| Message::new(topic.clone(), format!("body {number}"));
    let results = setting.run(config, async |_, producer| {
        let mut results = Vec::new();
        for number in 0..20 {
            results.push((message(number), producer.send(message(number)).await));
        }
        results
    })?;
    let vip = |index| {
        let address = context.servers.broker(index);
        let (host, port) = address.rsplit_once(':').expect("an address");
        format!("{host}:{}", port.parse::<u16>().expect("a port") - 2)
    };
    let vips = [vip(0), vip(1)];
    for (_, result) in &results {
        let address = result.as_ref().map(|receipt| receipt.address.to_string());
        let expected = address.as_ref().is_ok_and(|address| vips.contains(address));
        expect(expected, || format!("{address:?} is not among {vips:?}"))?;
    }
    let sent: Vec<_> = results.into_iter().map(|(message, one)| told(&message, one)).collect();
    Ok(compare(&sent, &context.reader.read(&[&topic])?).exactly_once())
}

/// Every server takes a request with fields that it does not know.
fn added_fields(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("added");
    context.servers.create_topic(&topic, 2)?;
    let fields = Arc::new(Fields { adds: true, ..Fields::default() });
    let config = setting.config(context).interceptor(Arc::<Fields>::clone(&fields));
    let (sent, infos) = setting.run(config, async |client, producer| {
        let sent = send(producer, &topic, 20).await;
        (sent, client.admin().offsets(&topic).await)
    })?;
    let infos = infos.map_err(text)?;
    expect(infos.iter().all(|of| of.range.is_ok()), || format!("{infos:?}"))?;
    let (asked, answered) = (&fields.requests, &fields.answers);
    let (asked, answered) = (asked.load(Ordering::Relaxed), answered.load(Ordering::Relaxed));
    expect(asked > 28 && asked == answered, || format!("{answered} of {asked} answered"))?;
    let comparison = compare(&sent, &context.reader.read(&[&topic])?).exactly_once();
    expect(comparison.acknowledged == 20, || format!("{comparison:?}"))?;
    Ok(comparison)
}

/// A web server knows the name servers.
fn by_url(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("looked_up");
    context.servers.create_topic(&topic, 2)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let port = listener.local_addr().map_err(text)?.port();
    let list = context.servers.name_server();
    let server = std::thread::spawn(move || -> std::io::Result<String> {
        let (mut stream, _) = listener.accept()?;
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
            request.push(byte[0]);
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", list.len() + 1);
        stream.write_all(format!("{head}{list}\n").as_bytes())?;
        Ok(String::from_utf8_lossy(&request).into_owned())
    });
    let config = Config::builder("").encoding(setting.encoding);
    let config = config.name_server_domain(&format!("127.0.0.1:{port}"), "nsaddr");
    let sent = setting.run(config, async |_, producer| send(producer, &topic, 10).await)?;
    let request = server.join().map_err(|_| "the web server panicked")?.map_err(text)?;
    let line = request.lines().next().unwrap_or_default();
    expect(line == "GET /rocketmq/nsaddr HTTP/1.1", || format!("asked for {line:?}"))?;
    let comparison = compare(&sent, &context.reader.read(&[&topic])?).exactly_once();
    expect(comparison.acknowledged == 10, || format!("{comparison:?}"))?;
    Ok(comparison)
}
