//! Processes: the one that serves, what each has used, and what else the machine was doing.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rocketmq_testkit::cluster::{ClusterConfig, Node, ReplyEncoding};
use rocketmq_testkit::tls::Authority;
use rocketmq_testkit::wire::Encoding;
use rocketmq_testkit::{InstantConfig, InstantServer, LoopbackCluster};

use crate::samples::TOPIC;

/// A server in another process, so that its CPU time and memory are not the client's. Ends when
/// dropped.
pub struct Server {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    address: String,
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Answers sends at once, always in JSON, as real servers do.
    InstantJson,
    /// The same over TLS.
    InstantTls,
    /// Answers sends at once, in the encoding of the request.
    InstantMirror,
    /// A whole cluster with one broker, which can be made to stand still.
    Cluster,
}

impl Kind {
    const ALL: [(Kind, &'static str); 4] = [
        (Kind::InstantTls, "instant-tls"),
        (Kind::InstantJson, "instant-json"),
        (Kind::InstantMirror, "instant-mirror"),
        (Kind::Cluster, "cluster"),
    ];

    fn name(self) -> &'static str {
        Kind::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

impl Server {
    /// Starts this very program with the arguments `server KIND`; see [`serve`].
    ///
    /// # Errors
    ///
    /// When the program cannot be started or does not say where it listens.
    pub fn start(kind: Kind) -> io::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["server", kind.name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let commands = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let mut server =
            Server { child, commands, answers: BufReader::new(stdout), address: String::new() };
        server.address = server.read_line()?;
        Ok(server)
    }

    /// The name server's address, and with [`InstantServer`] the broker's as well.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Has the server do something, and waits until it is done.
    ///
    /// # Errors
    ///
    /// When the server has gone.
    pub fn tell(&mut self, command: &str) -> io::Result<()> {
        let commands = self.commands.as_mut();
        let commands = commands.ok_or_else(|| io::Error::other("the server has ended"))?;
        writeln!(commands, "{command}")?;
        commands.flush()?;
        self.read_line().map(drop)
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let line = line.trim().to_owned();
        if line.is_empty() { Err(io::Error::other("the server has ended")) } else { Ok(line) }
    }

    /// CPU time that the server has used.
    pub fn cpu(&self) -> Duration {
        ticks_of(&self.child.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends with its input.
        self.commands = None;
        let _ = self.child.wait();
    }
}

/// The other side of [`Server`]: prints the address, then obeys `stall` and `resume` until its
/// input ends.
///
/// # Errors
///
/// When the kind is not known, or there is no port.
pub fn serve(kind: &str) -> io::Result<()> {
    let known = Kind::ALL.iter().find(|(_, name)| *name == kind).map(|(kind, _)| *kind);
    let kind = known.ok_or_else(|| io::Error::other(format!("unknown server {kind}")))?;
    let reply_encoding = match kind {
        Kind::InstantMirror => ReplyEncoding::Mirror,
        _ => ReplyEncoding::Always(Encoding::Json),
    };
    if kind == Kind::Cluster {
        let config = ClusterConfig::new().brokers(1).topic(TOPIC, 4).record_frames(false);
        let cluster = LoopbackCluster::start(config)?;
        return obey(&cluster.name_server_addresses(), |command| {
            cluster.with(|cluster| match command {
                "stall" => cluster.stall(Node::Broker(0)),
                _ => cluster.resume(Node::Broker(0)),
            });
        });
    }
    let config = InstantConfig { reply_encoding, queues: 4 };
    let server = if kind == Kind::InstantTls {
        let tls = Authority::new("bench").server(&["127.0.0.1"]);
        InstantServer::start_encrypted(config, tls)?
    } else {
        InstantServer::start_with(config)?
    };
    obey(&server.name_server_addresses(), |_| {})
}

fn obey(address: &str, mut command: impl FnMut(&str)) -> io::Result<()> {
    println!("{address}");
    for line in io::stdin().lines() {
        command(&line?);
        println!("done");
    }
    Ok(())
}

/// CPU time that this process has used, to the nanosecond.
///
/// # Panics
///
/// When the system has no such clock.
pub fn cpu() -> Duration {
    cpu_time::ProcessTime::now().as_duration()
}

/// Memory that this process holds, in bytes; 0 where `/proc` does not tell.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

/// CPU time that all processes have used, in ticks of 10 ms.
pub fn cpu_of_all() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    // user, nice, system, then after idle and iowait: irq, softirq, steal.
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|index| fields.get(*index)).sum::<u64>();
    Duration::from_millis(busy * 10)
}

/// CPU time that this process has used, in ticks, to be compared with others' ticks.
pub fn cpu_in_ticks() -> Duration {
    ticks_of("self")
}

fn ticks_of(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name of the program stands in parentheses and may hold spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = [11, 12].iter().filter_map(|index| fields.get(*index)?.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
