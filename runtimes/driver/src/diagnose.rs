//! What is wrong between this process and a message that is stored.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use rocketmq_core::wire::{CLIENT_VERSION, TopicRoute, version_name};
use rocketmq_core::{
    Address, Answer, AnswerValue, AttemptFailure, CloseReason, ConnectFailure, Host, QueryError,
    QueryErrorKind, QueryRequest, Target,
};

use crate::admin::{Call, EVERYWHERE, masters};
use crate::client::Handle;
use crate::slot::Slot;

/// Clocks that differ by more than this are worth a word. Brokers tell theirs to the second.
const SKEW_MAX: Duration = Duration::from_secs(3);

/// What an answer says of the credentials that it was asked with: nobody who checks none would
/// refuse them.
const ACCEPTED: &str = "accepts the credentials, or checks none";

/// What to do about a client that has ended.
const DIAGNOSE_OPEN: &str = "diagnose with a client that is open";

/// What [`Client::diagnose`](crate::Client::diagnose) found. Displays as one line per finding.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Diagnosis {
    /// Everything that was looked at, in order: the client, name servers, the topic, brokers.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// The worst of all findings.
    pub fn severity(&self) -> Severity {
        self.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

/// One thing that was looked at. Displays as one line.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at.
    pub subject: Subject,
    /// What was seen.
    pub what: String,
    /// What to do about it, unless all is well.
    pub remedy: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}: {}", self.severity.name(), self.subject, self.what)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; to do: {remedy}"),
            None => Ok(()),
        }
    }
}

/// How bad a finding is.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// As it should be, or of no weight.
    Ok,
    /// Messages can be sent, but something is not as one would wish.
    Warning,
    /// Some or all messages cannot be sent.
    Problem,
}

impl Severity {
    /// The severity in lower case, as in machine-readable output.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        }
    }
}

/// What was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Subject {
    /// This client.
    Client,
    /// A name server.
    NameServer {
        /// Its address.
        address: Address,
    },
    /// A topic.
    Topic {
        /// Its name.
        topic: Box<str>,
    },
    /// A broker.
    Broker {
        /// Its name.
        broker_name: Box<str>,
        /// The address at which it is reached, if the route names a master.
        address: Option<Address>,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Client => f.write_str("client"),
            Subject::NameServer { address } => write!(f, "name server {address}"),
            Subject::Topic { topic } => write!(f, "topic \"{topic}\""),
            Subject::Broker { broker_name, address: Some(address) } => {
                write!(f, "broker \"{broker_name}\" at {address}")
            }
            Subject::Broker { broker_name, .. } => write!(f, "broker \"{broker_name}\""),
        }
    }
}

/// Looks at everything, one stage after the other; within a stage everything at once.
pub(crate) async fn diagnose(handle: &Arc<Handle>, topic: Option<&str>) -> Diagnosis {
    let mut walk = Walk { handle, findings: Vec::new() };
    let version = version_name(i32::from(CLIENT_VERSION));
    let text = format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    walk.ok(Subject::Client, format!("{text}, speaks the protocol of RocketMQ {version}"));
    walk.proxy();
    walk.trust();
    let route = walk.routes(topic).await;
    if let Some(route) = route {
        walk.brokers(&route).await;
    }
    Diagnosis { findings: walk.findings }
}

struct Walk<'a> {
    handle: &'a Arc<Handle>,
    findings: Vec<Finding>,
}

impl Walk<'_> {
    /// What lies between here and all servers.
    fn proxy(&mut self) {
        if let Some(proxy) = self.handle.transport.proxy() {
            let what = format!("connects through the SOCKS5 proxy at {}", proxy.address());
            self.ok(Subject::Client, what);
        }
    }
}

#[cfg(feature = "tls")]
impl Walk<'_> {
    /// Whom the client trusts.
    fn trust(&mut self) {
        use crate::tls::Trust;

        let Some(trust) = self.handle.transport.tls.trust() else { return };
        let what = format!("TLS: {}", trust.describe());
        if trust != Trust::Anybody {
            return self.ok(Subject::Client, what);
        }
        let remedy = "give the client the certificate of the servers' authority; until then \
                      whoever is in between can read and alter everything";
        self.found(Severity::Warning, Subject::Client, what, remedy);
    }

    /// How a server was reached, in front of what it is.
    fn secured(&self, address: &Address) -> String {
        let tls = &self.handle.transport.tls;
        tls.version(address).map_or(String::new(), |version| format!(" over {version}"))
    }
}

#[cfg(not(feature = "tls"))]
impl Walk<'_> {
    fn trust(&mut self) {}

    fn secured(&self, _: &Address) -> &'static str {
        ""
    }
}

impl Walk<'_> {
    fn ok(&mut self, subject: Subject, what: impl Into<String>) {
        self.findings.push(Finding {
            severity: Severity::Ok,
            subject,
            what: what.into(),
            remedy: None,
        });
    }

    fn found(&mut self, severity: Severity, subject: Subject, what: String, remedy: &str) {
        self.findings.push(Finding { severity, subject, what, remedy: Some(remedy.into()) });
    }

    fn stage(&self) -> Call<'_> {
        Call::within(self.handle, self.handle.shared.config.request_timeout)
    }

    /// Asks every name server, and judges the topic. Gives a route that names brokers.
    async fn routes(&mut self, topic: Option<&str>) -> Option<TopicRoute> {
        let handle = self.handle;
        let config = &handle.shared.config;
        let default_topic = &*config.create_topic_key;
        let asked_topic = topic.unwrap_or(default_topic);
        let name_servers = self.name_servers().await?;
        let call = self.stage();
        let asked: Vec<_> = name_servers
            .into_iter()
            .map(|address| {
                let request = QueryRequest::Route { topic: asked_topic.into() };
                (address.clone(), call.ask(Target::Server(address), request))
            })
            .collect();
        let mut answers = Vec::new();
        for (address, asked) in asked {
            answers.extend(self.name_server(address, asked.await));
        }
        if answers.is_empty() {
            return None;
        }
        let known: Vec<&TopicRoute> = answers.iter().flatten().collect();
        let route = known.first().map(|route| (*route).clone());
        if let Some(topic) = topic {
            let agreed = answers.len() == known.len() && known.windows(2).all(same_queues);
            self.topic(topic, route.as_ref(), agreed || known.is_empty()).await;
        }
        if route.is_some() {
            return route;
        }
        for topic in [default_topic, EVERYWHERE] {
            if let Ok(route) = self.stage().route(topic).await {
                return Some(route);
            }
        }
        let subject = Subject::Client;
        let what = String::from("the name servers know no broker");
        let remedy = "check that brokers run and are given these name servers (namesrvAddr)";
        self.found(Severity::Problem, subject, what, remedy);
        None
    }

    /// The name servers that are in use. If none is yet, waits until they have been looked up.
    async fn name_servers(&mut self) -> Option<Vec<Address>> {
        let shared = &self.handle.shared;
        let used = async || {
            let slot = Arc::new(Slot::new());
            shared.name_servers(&slot);
            poll_fn(|cx| slot.poll(cx)).await
        };
        let mut list = used().await;
        let Some(url) = shared.config.name_server_url.as_ref().filter(|_| list.is_empty()) else {
            return Some(list);
        };
        let slot = Arc::new(Slot::new());
        shared.wait_ready(&slot, shared.clock.now() + shared.config.request_timeout);
        let ready = poll_fn(|cx| slot.poll(cx)).await;
        list = used().await;
        if !list.is_empty() {
            return Some(list);
        }
        let failed = ready.err().and_then(|not_ready| not_ready.name_servers.into_iter().next());
        let what = match failed {
            Some(failed) => format!("the look-up of the name servers fails: {failed}"),
            None => format!("the name servers have not been looked up at {url}"),
        };
        let remedy = "check name_server_url and the service there, or give a list of name servers";
        self.found(Severity::Problem, Subject::Client, what, remedy);
        None
    }

    /// What one name server answered; `None` if it is not one that works.
    fn name_server(
        &mut self,
        address: Address,
        result: Result<Answer, QueryError>,
    ) -> Option<Option<TopicRoute>> {
        let resolved = match address.host() {
            Host::Name(_) => "its host name resolves, and it ",
            Host::Ip(_) => "",
        };
        let secured = self.secured(&address);
        let subject = Subject::NameServer { address };
        let error = match result {
            Ok(answer) => {
                let version = version_name(answer.version);
                let time = millis(answer.elapsed);
                let what = format!("{resolved}answered{secured} in {time}, RocketMQ {version}");
                self.ok(subject, what);
                return match answer.value {
                    AnswerValue::Route(route) => Some(Some(route)),
                    _ => Some(None),
                };
            }
            Err(error) => error,
        };
        if *error.kind() == QueryErrorKind::TopicNotFound {
            let time = millis(error.elapsed());
            let what = format!("{resolved}answered{secured} in {time}");
            self.ok(subject, what);
            return Some(None);
        }
        let remedy = match error.kind() {
            // Java: NettyRemotingAbstract#processRequestCommand, code 3
            QueryErrorKind::Refused { code, .. } if code.0 == 3 => {
                "this is a broker's port, or that of another server of RocketMQ; give the name \
                 server's port, usually 9876"
            }
            QueryErrorKind::Lost(failure) => remedy(failure, Peer::NameServer),
            QueryErrorKind::PermissionDenied { reason, .. } => reason.advice(),
            QueryErrorKind::BadAnswer(_) => {
                "check that this is a name server, and which version it has"
            }
            QueryErrorKind::Closed | QueryErrorKind::DriverStopped => DIAGNOSE_OPEN,
            _ => "check the address and what runs there",
        };
        self.found(Severity::Problem, subject, said(&error), remedy);
        None
    }

    async fn topic(&mut self, topic: &str, route: Option<&TopicRoute>, agreed: bool) {
        let subject = || Subject::Topic { topic: topic.into() };
        let Some(route) = route else {
            let config = &self.handle.shared.config;
            let creates = config.create_topics;
            let default = self.stage().route(&config.create_topic_key).await;
            if creates && default.is_ok() {
                let what = String::from("does not exist; the first send creates it");
                let remedy = "check the name; create topics yourself in production";
                return self.found(Severity::Warning, subject(), what, remedy);
            }
            let what = String::from("does not exist, and sends do not create it");
            let remedy = "check the name, or create it: rmq topic create NAME --queues N";
            return self.found(Severity::Problem, subject(), what, remedy);
        };
        let writable: Vec<_> = route
            .queues
            .iter()
            .filter(|data| data.is_writable() && data.write_queue_nums > 0)
            .collect();
        let queues: i64 = writable.iter().map(|data| i64::from(data.write_queue_nums)).sum();
        if queues == 0 {
            let what = String::from("has no queue that can be written to");
            let remedy = "give it write permission (mqadmin updateTopic -p 6), or check \
                          brokerPermission of its brokers";
            self.found(Severity::Problem, subject(), what, remedy);
        } else {
            let what = format!("{queues} writable queues on {} brokers", writable.len());
            self.ok(subject(), what);
        }
        for data in route.queues.iter().filter(|data| !data.is_writable()) {
            let what = format!("may not be written to on broker \"{}\"", data.broker_name);
            let remedy = "give it write permission there (mqadmin updateTopic -p 6), unless that \
                          is meant";
            self.found(Severity::Warning, subject(), what, remedy);
        }
        if !agreed {
            let what = String::from("the name servers do not agree about its queues");
            let remedy = "give every broker all name servers; if one has just been restarted, wait \
                          half a minute";
            self.found(Severity::Warning, subject(), what, remedy);
        }
    }

    async fn brokers(&mut self, route: &TopicRoute) {
        let handle = self.handle;
        let call = Call::within(handle, handle.shared.config.request_timeout);
        let map = &handle.shared.config.address_map;
        let masters = masters(route);
        let mut asked = Vec::new();
        for data in &route.brokers {
            let master = masters.iter().find(|(name, _)| *name == data.broker_name);
            let Some((name, announced)) = master else {
                let subject =
                    Subject::Broker { broker_name: data.broker_name.clone(), address: None };
                let what = String::from("has no master in the route, or an address that is none");
                let remedy = "check that its master runs, and brokerIP1 in its settings";
                self.found(Severity::Problem, subject, what, remedy);
                continue;
            };
            let address = map.reachable(announced.clone());
            let info = call.broker(announced.clone(), QueryRequest::BrokerInfo);
            let vip = map.reachable_vip(announced).map(|vip| {
                let request = QueryRequest::BrokerInfo;
                (vip.port(), call.ask(Target::Server(vip), request))
            });
            asked.push((name.clone(), announced.clone(), address, info, vip));
        }
        for (broker_name, announced, address, info, vip) in asked {
            let mapped = announced != address;
            let subject = Subject::Broker { broker_name, address: Some(address) };
            let reached = self.broker(&subject, info.await, &announced, mapped);
            if let Some((port, asked)) = vip
                && reached
            {
                self.vip(subject, port, asked.await);
            }
        }
    }

    /// What one broker answered. Whether it answered at all.
    fn broker(
        &mut self,
        subject: &Subject,
        result: Result<Answer, QueryError>,
        announced: &Address,
        mapped: bool,
    ) -> bool {
        let announces = if mapped { format!(", announces {announced}") } else { String::new() };
        match result {
            Ok(answer) => {
                let version = version_name(answer.version);
                let time = millis(answer.elapsed);
                let secured = match subject {
                    Subject::Broker { address: Some(address), .. } => Some(self.secured(address)),
                    _ => None,
                };
                let secured = secured.unwrap_or_default();
                let what = format!("answered{secured} in {time}, RocketMQ {version}{announces}");
                self.ok(subject.clone(), what);
                if self.handle.shared.signs() {
                    self.ok(subject.clone(), ACCEPTED);
                }
                self.clock(subject.clone(), &answer);
                true
            }
            Err(error) => match error.kind() {
                QueryErrorKind::Lost(failure) => {
                    let remedy = remedy(failure, Peer::Broker);
                    let what = format!("{}{announces}", said(&error));
                    self.found(Severity::Problem, subject.clone(), what, remedy);
                    false
                }
                QueryErrorKind::Closed | QueryErrorKind::DriverStopped => {
                    let what = error.kind().to_string();
                    self.found(Severity::Problem, subject.clone(), what, DIAGNOSE_OPEN);
                    false
                }
                QueryErrorKind::PermissionDenied { reason, .. } if reason.is_identity() => {
                    let what = format!("refuses this client: {}{announces}", remark(&error));
                    self.found(Severity::Problem, subject.clone(), what, reason.advice());
                    true
                }
                // It may keep that to administrators; it is there, and that is the question.
                kind => {
                    let what = format!(
                        "answered in {}{announces}; clock and version not checked ({kind})",
                        millis(error.elapsed())
                    );
                    self.ok(subject.clone(), what);
                    true
                }
            },
        }
    }

    fn clock(&mut self, subject: Subject, answer: &Answer) {
        let AnswerValue::Broker(info) = &answer.value else { return };
        let Some(theirs) = info.clock() else {
            return self.ok(subject, "clock not checked: the broker does not tell it");
        };
        let ours = self.handle.shared.clock.wall();
        let ahead = theirs.as_millis().saturating_sub(ours.as_millis());
        // The answer was on its way for a part of that time.
        let doubt = SKEW_MAX + answer.elapsed;
        if u128::from(ahead.unsigned_abs()) <= doubt.as_millis() {
            return self.ok(subject, "its clock agrees with this one");
        }
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        let seconds = ahead.unsigned_abs() / 1_000;
        let what = format!("its clock is {seconds} s {side} this one");
        let remedy = "set both by NTP: delays, searches by time and transaction checks go by the \
                      broker's clock";
        self.found(Severity::Warning, subject, what, remedy);
    }

    fn vip(&mut self, subject: Subject, port: u16, result: Result<Answer, QueryError>) {
        let lost = match &result {
            Err(error) => match error.kind() {
                QueryErrorKind::Lost(failure) => Some(failure),
                _ => None,
            },
            Ok(_) => None,
        };
        let used = self.handle.shared.config.vip_channel;
        match lost {
            None => self.ok(subject, format!("VIP port {port} is open")),
            Some(failure) if used => {
                let what = format!("VIP port {port}: {failure}");
                let remedy = "open that port, or turn vip_channel off";
                self.found(Severity::Problem, subject, what, remedy);
            }
            Some(_) => self.ok(subject, format!("VIP port {port} is not reachable, nor needed")),
        }
    }
}

/// Who did not answer.
#[derive(Copy, Clone, PartialEq)]
enum Peer {
    NameServer,
    Broker,
}

/// What to do about a server that did not answer.
fn remedy(failure: &AttemptFailure, peer: Peer) -> &'static str {
    let broker = peer == Peer::Broker;
    match failure {
        AttemptFailure::Connect(ConnectFailure::NameNotResolved) => {
            "check the host name and this machine's DNS"
        }
        AttemptFailure::Connect(ConnectFailure::Proxy(_)) => {
            "check the proxy, its rules, and the address as the proxy sees it"
        }
        AttemptFailure::Connect(ConnectFailure::Tls(_))
        | AttemptFailure::Closed(CloseReason::Tls(_)) => {
            "see tls.* in the server's settings and the TLS settings of this client; \
             openssl s_client -connect shows the server's certificate"
        }
        AttemptFailure::Connect(_) if broker => {
            "check that the broker runs and that its address is reachable from here; in \
             containers, behind NAT or a tunnel set brokerIP1 on the broker, or map the address \
             (address_map, rmq --map)"
        }
        AttemptFailure::Connect(_) => {
            "check the address, that a name server runs there, and firewalls between"
        }
        AttemptFailure::NoCredentials(_) => {
            "check the provider of credentials, or give the client some to begin with"
        }
        AttemptFailure::Closed(CloseReason::Protocol(_)) => {
            "check the port: this server speaks another protocol"
        }
        // A server that insists on TLS closes a plain connection without a word (measured).
        AttemptFailure::Closed(
            CloseReason::Wordless | CloseReason::Eof | CloseReason::Reset | CloseReason::Io,
        ) => {
            "it closes plain connections without a word, as a server does that insists on TLS, or \
             one of another protocol; check the port and its tls.server.mode"
        }
        _ => "it accepts connections and says nothing; check that it is not overloaded or stalled",
    }
}

fn same_queues(pair: &[&TopicRoute]) -> bool {
    let sorted = |route: &TopicRoute| {
        let mut queues: Vec<_> = route
            .queues
            .iter()
            .map(|data| (data.broker_name.clone(), data.write_queue_nums, data.perm))
            .collect();
        queues.sort();
        queues
    };
    matches!(pair, [a, b] if sorted(a) == sorted(b))
}

fn remark(error: &QueryError) -> &str {
    error.remark().unwrap_or_default()
}

fn said(error: &QueryError) -> String {
    format!("{} (after {})", error.kind(), millis(error.elapsed()))
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
