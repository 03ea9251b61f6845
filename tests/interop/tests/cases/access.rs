//! Access control: of both generations, with everything that can be wrong about a client.

use std::collections::BTreeMap;
use std::sync::Arc;

use rocketmq_interop::{
    Comparison, Context, Outcome, Reader, Result, Sent, ServerOptions, Servers, compare,
};
use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{ClusterConfig, FrameRecord};
use rocketmq_tokio::{
    Config, Credentials, Delivery, Event, Interceptor, Message, PermissionReason, Producer,
    QueryErrorKind, RequestContext, SendErrorKind, TopicSettings,
};

use super::batches::with_own_keys;
use super::{NamedCase, Setting, all_of, expect, since, text, told};

pub(super) const CASES: &[NamedCase] =
    &[("access control", access_control), ("signatures of the Java class", signatures)];

const ADMIN: &str = "administrator12";
const SERVICE: &str = "service12";
const SECRET: &str = "12345678";

/// ACL 2.0, with its first user; the others are created by RocketMQ's own tool.
fn newer() -> ServerOptions {
    const AUTH: &str = "org.apache.rocketmq.auth";
    let class = |name: &str| format!("{AUTH}.{name}");
    let init = format!("{{\"username\":\"{ADMIN}\",\"password\":\"{SECRET}\"}}");
    let inner = format!("{{\"accessKey\":\"{ADMIN}\",\"secretKey\":\"{SECRET}\"}}");
    ServerOptions::new()
        .set("authenticationEnabled", "true")
        .set(
            "authenticationProvider",
            &class("authentication.provider.DefaultAuthenticationProvider"),
        )
        .set(
            "authenticationMetadataProvider",
            &class("authentication.provider.LocalAuthenticationMetadataProvider"),
        )
        .set("initAuthenticationUser", &init)
        .set("innerClientAuthenticationCredentials", &inner)
        .set("authorizationEnabled", "true")
        .set("authorizationProvider", &class("authorization.provider.DefaultAuthorizationProvider"))
        .set(
            "authorizationMetadataProvider",
            &class("authorization.provider.LocalAuthorizationMetadataProvider"),
        )
}

/// ACL 1.0, whose users are in a file.
fn older(allowed: &str) -> ServerOptions {
    let users = format!(
        "accounts:\n- accessKey: {ADMIN}\n  secretKey: \"{SECRET}\"\n  admin: true\n- accessKey: \
         {SERVICE}\n  secretKey: \"{SECRET}\"\n  admin: false\n  defaultTopicPerm: DENY\n  \
         defaultGroupPerm: SUB\n  topicPerms:\n  - {allowed}=PUB|SUB\n  - \
         {allowed}_batch=PUB|SUB\n"
    );
    ServerOptions::new().set("aclEnable", "true").file("conf/plain_acl.yml", &users)
}

fn credentials(access_key: &str, secret_key: &str) -> Credentials {
    Credentials::new(access_key, secret_key).expect("legal")
}

/// What a server says to somebody, and what the client makes of it.
struct Stranger {
    who: Option<Credentials>,
    reason: PermissionReason,
    newer: &'static str,
    older: &'static str,
}

/// The words are the servers' own, of 5.5.0, and of 4.9.7 and 5.1.4 up to the line number.
fn strangers() -> [Stranger; 4] {
    [
        Stranger {
            who: Some(credentials("nobody12", SECRET)),
            reason: PermissionReason::UnknownAccessKey,
            newer: "User:nobody12 is not found.",
            older: "No acl config for nobody12, ",
        },
        Stranger {
            who: Some(credentials(SERVICE, "87654321")),
            reason: PermissionReason::WrongSecret,
            newer: "check signature failed.",
            older: "Check signature failed for accessKey=service12, ",
        },
        Stranger {
            who: Some(credentials(SERVICE, SECRET)),
            reason: PermissionReason::MissingPermission,
            newer: "User:service12 has no permission to access Topic:Closed from 127.0.0.1, no \
                    matched policies.",
            older: "No default permission for topic:Closed, ",
        },
        Stranger {
            who: None,
            reason: PermissionReason::NoCredentials,
            newer: "username cannot be null.",
            older: "No accessKey is configured, ",
        },
    ]
}

/// The right credentials do everything that a producer does; all others are told apart, in one
/// attempt, and nothing of theirs is stored.
fn access_control(context: &Context, setting: Setting) -> Result<Comparison> {
    let open = context.topic("open");
    let batch = format!("{open}_batch");
    let new = since(context, "5.3");
    let options = if new { newer() } else { older(&open) };
    let servers = context.servers.start_others(&options)?;
    let reader = Reader::start_as(&servers, ADMIN, SECRET)?;
    let config = || Config::builder(&servers.name_server()).encoding(setting.encoding);
    let admin = config().credentials(credentials(ADMIN, SECRET));
    let made: Result<()> = setting.run(admin, async |client, _| {
        for topic in [&*open, &*batch, "Closed"] {
            let created = client.admin().create_topic(TopicSettings::new(topic, 2)).await;
            expect(created.as_ref().is_ok_and(|it| it.is_complete()), || format!("{created:?}"))?;
        }
        Ok(())
    })?;
    made?;
    if new {
        let mqadmin = |command, words: &str| reader.mqadmin(&servers, command, words);
        let user = format!("-c DefaultCluster -u {SERVICE} -p {SECRET} -t Normal");
        mqadmin("createUser", &user)?;
        let rule = format!(
            "-c DefaultCluster -s User:{SERVICE} -r Topic:{open},Topic:{batch} -a Pub -d Allow"
        );
        mqadmin("createAcl", &rule)?;
    }
    for topic in [&*open, &*batch, "Closed"] {
        await_topic(&servers, topic)?;
    }
    // A field of somebody else, and a token, are signed as well.
    let own = credentials(SERVICE, SECRET).with_security_token("t\"ö").expect("legal");
    let good = config().credentials(own).interceptor(Arc::new(Adds));
    let (sent, sent_batch) = setting.run(good, async |client, producer| {
        let mut events = client.events();
        let sent = (everything(producer, &open).await, batched(producer, &batch).await);
        client.close(std::time::Duration::from_secs(10)).await;
        while let Some(event) = events.try_next() {
            let refused = matches!(event, Event::HeartbeatFailed { .. });
            expect(!refused, || format!("{event:?}"))?;
        }
        Ok::<_, String>(sent)
    })??;
    for stranger in strangers() {
        refused(setting, config(), &stranger, new)?;
    }
    let single = compare(&sent, &reader.read(&[&open, "Closed"])?).exactly_once();
    let read = with_own_keys(context, &sent_batch, reader.read(&[&batch])?)?;
    let result = all_of([single, compare(&sent_batch, &read).exactly_once()]);
    expect(result.acknowledged == 25 && result.oneway_found == 1, || format!("{result:?}"))?;
    Ok(result)
}

fn await_topic(servers: &Servers, topic: &str) -> Result<()> {
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while servers.route(topic)?.is_none_or(|route| route.queues.is_empty()) {
        expect(std::time::Instant::now() < limit, || format!("no route of {topic}"))?;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Ok(())
}

/// Single messages, with all that a header may hold, and one that nobody answers.
async fn everything(producer: &Producer, topic: &str) -> Vec<Sent> {
    let mut sent = Vec::new();
    let long = "a long body ".repeat(1_000);
    for number in 0..20 {
        let body = if number % 4 == 0 { long.clone() } else { format!("body {number} ü") };
        let message = Message::new(topic.to_owned(), body)
            .with_tag("tag")
            .with_key(format!("key{number}"))
            .with_flag(number)
            .with_property("colour", "grün \"\\");
        sent.push(told(&message, producer.send(message.clone()).await));
    }
    let oneway = Message::new(topic.to_owned(), "oneway");
    let key = producer.send_oneway(oneway.clone()).await.map(|receipt| receipt.unique_key);
    sent.push(match key {
        Ok(key) => super::sent(&oneway, key.to_string(), Outcome::SentOneway),
        Err(error) => super::failed(&oneway, &error),
    });
    sent
}

async fn batched(producer: &Producer, topic: &str) -> Vec<Sent> {
    let message = |number| Message::new(topic.to_owned(), format!("of a batch {number}"));
    let batch: Vec<Message> = (0..5).map(message).collect();
    match producer.send_batch(batch.clone()).await {
        Ok(receipts) => batch.iter().zip(receipts).map(|(one, it)| told(one, Ok(it))).collect(),
        Err(error) => batch.iter().map(|one| super::failed(one, &error)).collect(),
    }
}

/// A field before, between and behind those of the client.
struct Adds;

impl Interceptor for Adds {
    fn request(&self, request: &mut RequestContext<'_>) {
        for (name, value) in FIELDS {
            request.add_field(name, value).expect("it is new");
        }
    }
}

/// Names whose order differs between code points and UTF-16, and that of letters of both cases.
const FIELDS: [(&str, &str); 5] =
    [("1st", "ä"), ("Between", "\"\\"), ("zone", "z"), ("\u{10000}", "x"), ("\u{ffee}", "y")];

fn refused(
    setting: Setting,
    config: rocketmq_tokio::ConfigBuilder,
    stranger: &Stranger,
    new: bool,
) -> Result<()> {
    let Stranger { who, reason, newer, older } = stranger;
    let config = match who {
        Some(who) => config.credentials(who.clone()),
        None => config,
    };
    let (sent, asked) = setting.run(config, async |client, producer| {
        let sent = producer.send(Message::new("Closed", "no")).await;
        (sent, client.admin().create_topic(TopicSettings::new("New", 1)).await)
    })?;
    let error = sent.err().ok_or("it was sent")?;
    let SendErrorKind::PermissionDenied { reason: found, code, remark } = error.kind() else {
        return Err(error.to_string());
    };
    let begin = match new {
        true => (*newer).to_owned(),
        false => format!("org.apache.rocketmq.acl.common.AclException: {older}"),
    };
    expect(remark.starts_with(&begin), || remark.to_string())?;
    expect(code.0 == if new { 16 } else { 1 } && found == reason, || error.to_string())?;
    let delivery = (error.delivery(), error.attempts().len());
    expect(delivery == (Delivery::Refused, 1), || error.to_string())?;
    let error = asked.err().ok_or("the topic was created")?;
    let QueryErrorKind::PermissionDenied { reason: found, .. } = error.kind() else {
        return Err(text(error));
    };
    expect(found == reason, || text(&error))
}

/// What our client signs, the Java class signs the same: with all kinds of fields and bodies.
fn signatures(context: &Context, setting: Setting) -> Result<Comparison> {
    let cluster = ClusterConfig::new().topic("Orders", 2).recalls(true);
    let cluster = LoopbackCluster::start(cluster).map_err(text)?;
    let names = cluster.name_server_addresses();
    let mut compared = BTreeMap::new();
    for (secret, token) in [("12345678", None), ("sécret \u{1f511}", Some("tök~en"))] {
        let own = credentials("ключ", secret);
        let own = match token {
            Some(token) => own.with_security_token(token).expect("legal"),
            None => own,
        };
        let config = Config::builder(&names).encoding(setting.encoding).credentials(own);
        let config = match token {
            Some(_) => config.interceptor(Arc::new(Adds)).namespace_v2("shops"),
            None => config.long_send_header(setting.encoding == rocketmq_tokio::Encoding::Json),
        };
        let frames = setting.run(config, async |client, producer| {
            let mut frames: Vec<(FrameRecord, Vec<u8>)> = Vec::new();
            let bodies = ["x".to_owned(), "ü\u{0}\n".to_owned(), "long".repeat(600)];
            for (number, body) in bodies.into_iter().enumerate() {
                let message =
                    Message::new("Orders", body.clone()).with_key(format!("\"{number}\\"));
                let message = message.with_property("grün", "\u{7}\u{1f600}");
                let message = if number == 2 { message } else { message.with_tag("t ä") };
                cluster.with(|cluster| cluster.clear_frames());
                producer.send(message).await.map_err(text)?;
                let seen = cluster.with(|cluster| cluster.frames().to_vec());
                let sends = seen.into_iter().filter(|frame| matches!(frame.code, 10 | 310));
                frames.extend(sends.map(|frame| (frame, body.clone().into_bytes())));
            }
            cluster.with(|cluster| cluster.clear_frames());
            let queues = client.queues("Orders").await.map_err(text)?;
            let queue = queues.get(0).ok_or("no queue")?;
            client.admin().max_offset("Orders", &queue).await.map_err(text)?;
            client.admin().create_topic(TopicSettings::new("New", 1)).await.map_err(text)?;
            client.close(std::time::Duration::from_secs(10)).await;
            let seen = cluster.with(|cluster| cluster.frames().to_vec());
            let bare =
                seen.into_iter().filter(|frame| frame.body_bytes == 0 && frame.flag & 1 == 0);
            frames.extend(bare.map(|frame| (frame, Vec::new())));
            Ok::<_, String>(frames)
        })??;
        for (frame, body) in frames {
            let fields: Vec<(&str, &str)> = frame
                .ext
                .iter()
                .filter(|(name, _)| !matches!(*name, "Signature" | "AccessKey" | "SecurityToken"))
                .collect();
            let theirs = context.reader.sign("ключ", secret, token, &fields, &body)?;
            let ours = frame.ext.get("Signature");
            expect(ours == Some(&*theirs), || format!("Java signs {theirs}: {frame:?}"))?;
            *compared.entry(frame.code).or_insert(0) += 1;
        }
    }
    let sends: i32 = [10, 310].iter().filter_map(|code| compared.get(code)).sum();
    let others =
        [17, 30, 35].iter().all(|code| compared.get(code).is_some_and(|count| *count >= 2));
    expect(sends == 6 && others, || format!("{compared:?}"))?;
    Ok(Comparison::default())
}
