//! TLS with real servers: as they come, with certificates of our own, and without.

use std::time::Duration;

use rocketmq_interop::{Comparison, Context, Result, Sent, ServerOptions, Tls, compare};
use rocketmq_testkit::tls::{Authority, GOOD};
use rocketmq_tokio::{
    AttemptFailure, ClientOptions, CloseReason, ConnectFailure, Delivery, Message, TlsConfig,
    TlsConfigBuilder, TlsFailure,
};

use super::{NamedCase, Setting, expect, text, told};

pub(super) const CASES: &[NamedCase] = &[
    ("TLS as servers come", as_they_come),
    ("TLS enforced", enforced),
    ("TLS switched off", switched_off),
];

const BODY: usize = 300_000;

/// Sends to `topic` over TLS, small and large.
fn send(context: &Context, setting: Setting, topic: &str, tls: TlsConfig) -> Result<Vec<Sent>> {
    // A server's first handshake takes seconds on a busy machine: no reason for another broker.
    let config = setting.config(context).send_timeout(Duration::from_secs(30));
    let options = ClientOptions::new(config.build().map_err(text)?).with_tls(tls);
    setting.runtime.run(options, async |client| {
        let producer = client.producer("interop").map_err(text)?;
        let mut sent = Vec::new();
        for number in 0..20 {
            let body = if number % 10 == 9 { vec![number; BODY] } else { vec![number; 20] };
            let message = Message::new(topic.to_owned(), body);
            sent.push(told(&message, producer.send(message.clone()).await));
        }
        Ok(sent)
    })
}

/// What keeps a client with these settings from sending, with `tls` or without.
fn failure(
    context: &Context,
    setting: Setting,
    tls: Option<TlsConfigBuilder>,
) -> Result<AttemptFailure> {
    let config = setting.config(context).send_timeout(Duration::from_secs(2));
    let mut options = ClientOptions::new(config.build().map_err(text)?);
    if let Some(tls) = tls {
        options = options.with_tls(tls.build().map_err(text)?);
    }
    setting.runtime.run(options, async |client| {
        let producer = client.producer("interop").map_err(text)?;
        let error = match producer.send(Message::new("never", "never")).await {
            Ok(receipt) => return Err(format!("it was sent: {receipt:?}")),
            Err(error) => error,
        };
        expect(error.delivery() == Delivery::NotSent, || error.to_string())?;
        let first = error.name_servers().first().map(|server| server.failure.clone());
        first.ok_or_else(|| error.to_string())
    })
}

fn same(seen: &AttemptFailure, expected: &AttemptFailure) -> Result<()> {
    expect(seen == expected, || format!("{seen:?}, and not {expected:?}"))
}

fn dial(failure: TlsFailure) -> AttemptFailure {
    AttemptFailure::Connect(ConnectFailure::Tls(failure))
}

/// Permissive, with the certificate that each server makes for itself at its start: nobody can
/// verify it, so it takes the mode that says so.
fn as_they_come(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("tls");
    context.servers.create_topic(&topic, 2)?;
    let insecure = TlsConfig::builder().dangerous_accept_any_certificate();
    let sent = send(context, setting, &topic, insecure.build().map_err(text)?)?;
    let verifying = TlsConfig::builder().roots_pem(Authority::new("nobody").pem());
    let seen = failure(context, setting, Some(verifying))?;
    same(&seen, &dial(TlsFailure::UnknownIssuer))?;
    Ok(compare(&sent, &context.reader.read(&[&topic])?).exactly_once())
}

/// Servers of our own authority that take nothing but TLS, and demand a certificate of the client.
fn enforced(context: &Context, setting: Setting) -> Result<Comparison> {
    let tls = Tls::new();
    let other = context.beside(&ServerOptions::new().brokers(2).tls(&tls))?;
    let topic = other.topic("enforced");
    other.servers.create_topic(&topic, 2)?;
    let trusting = || TlsConfig::builder().roots_pem(&tls.authority);
    let known = || trusting().client_certificate_pem(&tls.client.certificate, &tls.client.key);
    let sent = send(&other, setting, &topic, known().build().map_err(text)?)?;

    let seen = failure(&other, setting, None)?;
    same(&seen, &AttemptFailure::Closed(CloseReason::Wordless))?;
    let stranger = Authority::new("nobody");
    let seen = failure(&other, setting, Some(TlsConfig::builder().roots_pem(stranger.pem())))?;
    same(&seen, &dial(TlsFailure::UnknownIssuer))?;
    let seen = failure(&other, setting, Some(known().server_name("elsewhere.example")))?;
    same(&seen, &dial(TlsFailure::WrongName))?;
    let seen = failure(&other, setting, Some(trusting()))?;
    same(&seen, &AttemptFailure::Closed(CloseReason::Tls(TlsFailure::ClientCertificateRequired)))?;
    let theirs = stranger.issue(&["client.example"], GOOD);
    let unknown = trusting().client_certificate_pem(&theirs.certificate, &theirs.key);
    let seen = failure(&other, setting, Some(unknown))?;
    let refused = matches!(
        seen,
        AttemptFailure::Closed(CloseReason::Tls(TlsFailure::ClientCertificateRefused(_)))
    );
    expect(refused, || format!("{seen:?}"))?;
    Ok(compare(&sent, &other.reader.read(&[&topic])?).exactly_once())
}

/// Servers that were told to take no TLS.
fn switched_off(context: &Context, setting: Setting) -> Result<Comparison> {
    let other = context.beside(&ServerOptions::new().jvm_flag("-Dtls.server.mode=disabled"))?;
    let insecure = TlsConfig::builder().dangerous_accept_any_certificate();
    let seen = failure(&other, setting, Some(insecure))?;
    same(&seen, &dial(TlsFailure::HungUp))?;
    Ok(Comparison::default())
}
