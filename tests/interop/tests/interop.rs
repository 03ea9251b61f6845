//! Sends to real RocketMQ servers and reads back with the official Java client.
//!
//! Prints "not run: no java" and passes where the machine lacks Java or Maven, unless
//! `ROCKETMQ_INTEROP_REQUIRED=1` says that it must not.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rocketmq_interop::{
    Arguments, Case, Comparison, Context, Result, ServerOptions, compare, request, run,
};

mod cases;

const VERSIONS: &[&str] = &["5.5.0", "4.9.7"];
/// Other versions to run against, separated by spaces.
const OTHER_VERSIONS: &str = "ROCKETMQ_INTEROP_VERSIONS";

fn main() -> ExitCode {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // With one thread a broker stores in the order of arrival, whatever the client does.
    let options = ServerOptions::new().brokers(2).set("sendMessageThreadPoolNums", "4");
    let other = std::env::var(OTHER_VERSIONS).unwrap_or_default();
    let other: Vec<&str> = other.split_whitespace().collect();
    let versions = if other.is_empty() { VERSIONS } else { &other };
    run(&Arguments::from_env(), cache, versions, &options, &cases())
}

fn cases() -> Vec<Case> {
    // The suite checks itself first: nothing it says counts if these fail.
    let check = |name, run: fn(&Context) -> Result<Comparison>| Case::new("-", "java", name, run);
    let mut all = vec![
        check("self: read back", read_back),
        check("self: two brokers", two_brokers),
        check("self: broker killed", broker_killed),
        check("self: broker stalled", broker_stalled),
        check("self: name server killed", name_server_killed),
        check("self: read-only broker", read_only_broker),
    ];
    all.extend(cases::all());
    all
}

fn read_back(context: &Context) -> Result<Comparison> {
    let topic = context.topic("plain");
    let sent = context.reader.send(&topic, 20)?;
    let absent = context.topic("absent");
    Ok(compare(&sent, &context.reader.read(&[&topic, &absent])?).exactly_once())
}

fn two_brokers(context: &Context) -> Result<Comparison> {
    let topic = context.topic("spread");
    context.servers.create_topic(&topic, 3)?;
    let sent = context.reader.send(&topic, 24)?;
    let read = context.reader.read(&[&topic])?;
    for index in 0..context.servers.brokers() {
        let name = context.servers.broker_name(index);
        let count = read.iter().filter(|message| message.broker == name).count();
        expect(count == 12, || format!("{count} of 24 messages on {name}"))?;
    }
    Ok(compare(&sent, &read).exactly_once())
}

/// What was acknowledged before a SIGKILL is there after the restart.
fn broker_killed(context: &Context) -> Result<Comparison> {
    let topic = context.topic("killed");
    context.servers.create_topic(&topic, 2)?;
    let mut sent = context.reader.send(&topic, 200)?;
    context.servers.kill_broker(0);
    let address = context.servers.broker(0);
    expect(!answers(&address), || format!("{address} answers although it was killed"))?;
    context.servers.restart_broker(0)?;
    sent.extend(context.reader.send(&topic, 20)?);
    Ok(compare(&sent, &context.reader.read(&[&topic])?))
}

fn broker_stalled(context: &Context) -> Result<Comparison> {
    let topic = context.topic("stalled");
    context.servers.create_topic(&topic, 2)?;
    let mut sent = context.reader.send(&topic, 8)?;
    let address = context.servers.broker(1);
    expect(answers(&address), || format!("{address} does not answer"))?;
    context.servers.stall_broker(1)?;
    let silent = !answers(&address);
    context.servers.resume_broker(1)?;
    expect(silent, || format!("{address} answers although it was stopped"))?;
    sent.extend(context.reader.send(&topic, 8)?);
    Ok(compare(&sent, &context.reader.read(&[&topic])?))
}

fn name_server_killed(context: &Context) -> Result<Comparison> {
    let topic = context.topic("routed");
    context.servers.create_topic(&topic, 2)?;
    let mut sent = context.reader.send(&topic, 8)?;
    context.servers.kill_name_server();
    expect(context.servers.route(&topic).is_err(), || "a route from nobody".to_owned())?;
    // The client goes on with the route it has.
    sent.extend(context.reader.send(&topic, 8)?);
    context.servers.restart_name_server()?;
    Ok(compare(&sent, &context.reader.read(&[&topic])?))
}

fn read_only_broker(context: &Context) -> Result<Comparison> {
    let topic = context.topic("read_only");
    context.servers.create_topic(&topic, 2)?;
    context.servers.set_broker(0, "brokerPermission", "4")?;
    let route = context.servers.route(&topic)?.unwrap_or_default();
    let sent = context.reader.send(&topic, 8)?;
    context.servers.set_broker(0, "brokerPermission", "6")?;
    let wanted = [(context.servers.broker_name(0), 0), (context.servers.broker_name(1), 2)];
    expect(route.queues == wanted.into(), || format!("the route is {route:?}"))?;
    Ok(compare(&sent, &context.reader.read(&[&topic])?))
}

/// Whether a broker says anything to a request for its version and load (28).
fn answers(address: &str) -> bool {
    request(address, 28, &[], &[], Duration::from_secs(1)).is_ok()
}

fn expect(held: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if held { Ok(()) } else { Err(otherwise()) }
}
