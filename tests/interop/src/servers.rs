//! A name server and brokers of one version, started for a test and gone after it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::environment::write;
use crate::frame::{self, Answer, Asker, Route};
use crate::jvm::{Jvm, Launch, settings};
use crate::{Environment, Result, Tls};

/// With access control a broker takes a quarter of a minute; a busy machine takes longer.
const START_LIMIT: Duration = Duration::from_secs(90);
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(5);
const ROUTE_LIMIT: Duration = Duration::from_secs(60);
/// There in every set-up, unlike `TBW102`, which needs automatic creation.
const PROBE_TOPIC: &str = "SELF_TEST_TOPIC";
/// The brokers are quiet about themselves for so long before they are asked to register again.
const REGISTER_AGAIN: Duration = Duration::from_secs(2);

/// What to start, and how it differs from the defaults.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    brokers: usize,
    everywhere: Vec<(String, String)>,
    single: Vec<(usize, String, String)>,
    flags: Vec<String>,
    files: Vec<(String, String)>,
    tls: Option<Tls>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            brokers: 1,
            everywhere: Vec::new(),
            single: Vec::new(),
            flags: Vec::new(),
            files: Vec::new(),
            tls: None,
        }
    }
}

impl ServerOptions {
    /// One broker, topics created automatically.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many brokers in one cluster, named `broker-a`, `broker-b` and so on.
    pub fn brokers(mut self, count: usize) -> Self {
        self.brokers = count;
        self
    }

    /// A property of every broker, such as `autoCreateTopicEnable`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.everywhere.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A property of one broker, counted from 0; it wins over [`set`](Self::set).
    pub fn set_for(mut self, broker: usize, key: &str, value: &str) -> Self {
        self.single.push((broker, key.to_owned(), value.to_owned()));
        self
    }

    /// A flag for every server's JVM, such as `-Dtls.server.mode=permissive`.
    pub fn jvm_flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Every server speaks TLS alone, and so do the suite and the Java client.
    pub fn tls(mut self, tls: &Tls) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// A file below every broker's home, such as `conf/plain_acl.yml`.
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }
}

/// One server: how it is started, and its process while it runs.
#[derive(Debug)]
struct Server {
    launch: Launch,
    properties: BTreeMap<String, String>,
    settings: PathBuf,
    jvm: Option<Jvm>,
}

impl Server {
    /// Starts the process without waiting until it is ready.
    fn spawn(&mut self) -> Result<()> {
        // The broker rewrites this file when its settings change; ours is the one that counts.
        write(&self.settings, &settings(&self.properties))?;
        self.jvm = None;
        self.jvm = Some(self.launch.start()?);
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        self.running()?.wait_for("boot success", START_LIMIT)
    }

    fn running(&self) -> Result<&Jvm> {
        self.jvm.as_ref().ok_or_else(|| format!("{} was killed", self.launch.name))
    }
}

/// A running name server with its brokers. Dropping it kills exactly the processes it started and
/// removes its folder.
///
/// Every method takes `&self`, so that one thread can kill what another one sends to.
#[derive(Debug)]
pub struct Servers {
    environment: Environment,
    version: String,
    asker: Asker,
    /// Of every JVM that is to talk to the servers.
    tls_flags: Vec<String>,
    name_server_port: u16,
    name_server: Mutex<Server>,
    broker_ports: Vec<u16>,
    brokers: Vec<Mutex<Server>>,
    /// Last, so that it is removed when nobody writes there any more.
    folder: Folder,
}

impl Servers {
    /// Starts a name server and brokers of `version` and waits until every broker has a route.
    pub fn start(
        environment: &Environment,
        version: &str,
        options: &ServerOptions,
    ) -> Result<Self> {
        let folder = Folder::create(environment.cache())?;
        let mut options = options.clone();
        let tls_flags = match &options.tls {
            Some(tls) => tls.install(&folder.0)?,
            None => Vec::new(),
        };
        options.flags.extend(tls_flags.iter().cloned());
        let options = &options;
        let name_server_port = free_ports()?;
        let name_server = name_server(environment, version, options, &folder.0, name_server_port)?;
        let mut broker_ports = Vec::new();
        let mut brokers = Vec::new();
        for index in 0..options.brokers {
            let port = free_ports()?;
            let ports = (name_server_port, port);
            let server = broker(environment, version, options, &folder.0, index, ports)?;
            broker_ports.push(port);
            brokers.push(Mutex::new(server));
        }
        let servers = Self {
            environment: environment.clone(),
            version: version.to_owned(),
            asker: Asker::over(options.tls.as_ref())?,
            tls_flags,
            folder,
            name_server_port,
            name_server: Mutex::new(name_server),
            broker_ports,
            brokers,
        };
        // All at once: a broker that starts before the name server listens registers when asked.
        let all = || std::iter::once(&servers.name_server).chain(&servers.brokers);
        all().try_for_each(|server| lock(server).spawn())?;
        all().try_for_each(|server| lock(server).wait())?;
        servers.await_route(PROBE_TOPIC, |_| true)?;
        Ok(servers)
    }

    /// Other servers of the same version, for a case that needs them set up in its own way.
    pub fn start_others(&self, options: &ServerOptions) -> Result<Self> {
        Self::start(&self.environment, &self.version, options)
    }

    /// The version of RocketMQ.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    pub(crate) fn tls_flags(&self) -> &[String] {
        &self.tls_flags
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// `127.0.0.1:port` of the name server.
    pub fn name_server(&self) -> String {
        format!("127.0.0.1:{}", self.name_server_port)
    }

    /// How many brokers were started, running or not.
    pub fn brokers(&self) -> usize {
        self.brokers.len()
    }

    /// `127.0.0.1:port` of a broker, counted from 0.
    pub fn broker(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.broker_ports[index])
    }

    /// The name of a broker: `broker-a` is number 0.
    pub fn broker_name(&self, index: usize) -> String {
        broker_name(index)
    }

    /// SIGKILL. The route stays until the name server notices, which takes minutes.
    pub fn kill_broker(&self, index: usize) {
        lock(&self.brokers[index]).jvm = None;
    }

    /// Starts a broker again, on the same port and with the same store, and waits until it serves.
    pub fn restart_broker(&self, index: usize) -> Result<()> {
        let mut broker = lock(&self.brokers[index]);
        broker.spawn()?;
        broker.wait()?;
        drop(broker);
        self.await_route(PROBE_TOPIC, |_| true)
    }

    /// SIGSTOP: connections stay open and nothing is answered.
    pub fn stall_broker(&self, index: usize) -> Result<()> {
        lock(&self.brokers[index]).running()?.signal("STOP")
    }

    /// SIGCONT, after [`stall_broker`](Self::stall_broker).
    pub fn resume_broker(&self, index: usize) -> Result<()> {
        lock(&self.brokers[index]).running()?.signal("CONT")
    }

    /// SIGKILL of the name server.
    pub fn kill_name_server(&self) {
        lock(&self.name_server).jvm = None;
    }

    /// Starts the name server again, on the same port, and waits until it knows every running
    /// broker. It forgets all routes when it ends; the brokers are asked to register at once.
    pub fn restart_name_server(&self) -> Result<()> {
        let mut name_server = lock(&self.name_server);
        name_server.spawn()?;
        name_server.wait()?;
        drop(name_server);
        self.await_route(PROBE_TOPIC, |_| true)
    }

    /// Changes a property of a running broker, for now and for its restarts. `brokerPermission` (6
    /// by default, 4 is read-only) is told to the name server at once.
    pub fn set_broker(&self, index: usize, key: &str, value: &str) -> Result<()> {
        let answer = self.configure(index, key, value)?;
        if answer.code != 0 {
            return Err(format!("{key}={value}: code {}, {}", answer.code, answer.remark));
        }
        let mut broker = lock(&self.brokers[index]);
        broker.properties.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Creates a topic on every running broker and waits until the name server knows it there.
    pub fn create_topic(&self, topic: &str, queues: u32) -> Result<()> {
        let count = queues.to_string();
        let fields = [
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", &count),
            ("writeQueueNums", &count),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
            ("topicSysFlag", "0"),
            ("order", "false"),
        ];
        for index in self.running() {
            let answer =
                self.asker.request(&self.broker(index), 17, &fields, &[], REQUEST_LIMIT)?;
            if answer.code != 0 {
                let (code, remark) = (answer.code, answer.remark);
                return Err(format!("topic {topic} is refused: code {code}, {remark}"));
            }
        }
        // A broker whose permission was taken away shows no writable queue: known is enough there.
        self.await_route(topic, |count| count == 0 || count == u64::from(queues))
    }

    /// What the name server says about a topic: nothing if it knows no route.
    pub fn route(&self, topic: &str) -> Result<Option<Route>> {
        frame::route(&self.asker, &self.name_server(), topic)
    }

    /// Brings back whatever a failed case left killed or stalled.
    pub fn heal(&self) -> Result<()> {
        for server in std::iter::once(&self.name_server).chain(&self.brokers) {
            let mut server = lock(server);
            match &server.jvm {
                Some(jvm) if jvm.signal("CONT").is_ok() => {}
                _ => {
                    server.spawn()?;
                    server.wait()?;
                }
            }
        }
        self.await_route(PROBE_TOPIC, |_| true)
    }

    /// The brokers that were not killed (stalled ones count).
    fn running(&self) -> Vec<usize> {
        (0..self.brokers.len()).filter(|&i| lock(&self.brokers[i]).jvm.is_some()).collect()
    }

    fn configure(&self, index: usize, key: &str, value: &str) -> Result<Answer> {
        let body = format!("{key}={value}\n");
        self.asker.request(&self.broker(index), 25, &[], body.as_bytes(), REQUEST_LIMIT)
    }

    /// "boot success" comes before the name server surely knows the broker: asks until it does.
    ///
    /// A broker registers on its own every 10 seconds at best. Setting its permission, even to what
    /// it is, makes it register now; where that is refused (access control) patience remains.
    fn await_route(&self, topic: &str, enough: impl Fn(u64) -> bool) -> Result<()> {
        let start = Instant::now();
        let mut asked: Option<Instant> = None;
        loop {
            let known = self.route(topic);
            let running = self.running();
            let missing = |index: &&usize| match &known {
                Ok(Some(route)) => {
                    !route.queues.get(&broker_name(**index)).is_some_and(|&count| enough(count))
                }
                _ => true,
            };
            let missing: Vec<usize> = running.iter().filter(missing).copied().collect();
            if missing.is_empty() && known.is_ok() {
                return Ok(());
            }
            if start.elapsed() > ROUTE_LIMIT {
                return Err(format!("no route of {topic} to brokers {missing:?}: {known:?}"));
            }
            if asked.is_none_or(|last| last.elapsed() > REGISTER_AGAIN) {
                for index in missing {
                    let permission =
                        lock(&self.brokers[index]).properties["brokerPermission"].clone();
                    let _ = self.configure(index, "brokerPermission", &permission);
                }
                asked = Some(Instant::now());
            } else {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn lock(server: &Mutex<Server>) -> MutexGuard<'_, Server> {
    // A case that panicked while it held the lock does not change what is running.
    server.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn broker_name(index: usize) -> String {
    let letter = u8::try_from(index).ok().filter(|&i| i < 26).map_or('z', |i| char::from(b'a' + i));
    format!("broker-{letter}")
}

fn name_server(
    environment: &Environment,
    version: &str,
    options: &ServerOptions,
    folder: &Path,
    port: u16,
) -> Result<Server> {
    let home = folder.join("namesrv");
    let properties = [
        ("bindAddress", "127.0.0.1".to_owned()),
        ("listenPort", port.to_string()),
        ("kvConfigPath", home.join("kvConfig.json").display().to_string()),
        ("serverWorkerThreads", "2".to_owned()),
        // Routes show the order of queues where one is configured; nowhere else does it matter.
        ("orderMessageEnable", "true".to_owned()),
    ];
    let properties = properties.map(|(key, value)| (key.to_owned(), value)).into();
    let mut launch = launch(environment, version, "namesrv", &home)?;
    launch.flags = options.flags.clone();
    let settings = home.join("namesrv.properties");
    launch.program = program("org.apache.rocketmq.namesrv.NamesrvStartup", &settings);
    Ok(Server { launch, properties, settings, jvm: None })
}

fn broker(
    environment: &Environment,
    version: &str,
    options: &ServerOptions,
    folder: &Path,
    index: usize,
    (name_server, port): (u16, u16),
) -> Result<Server> {
    let name = broker_name(index);
    let home = folder.join(&name);
    // 4.x looks for `logback_broker.xml`, whatever the broker is called.
    let mut launch = launch(environment, version, "broker", &home)?;
    let store = home.join("store").display().to_string();
    let mut properties: BTreeMap<String, String> =
        BROKER.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    let own = [
        ("brokerName", name),
        ("namesrvAddr", format!("127.0.0.1:{name_server}")),
        ("listenPort", port.to_string()),
        ("storePathCommitLog", format!("{store}/commitlog")),
        ("storePathRootDir", store),
    ];
    properties.extend(own.map(|(key, value)| (key.to_owned(), value)));
    properties.extend(options.everywhere.iter().cloned());
    let single = options.single.iter().filter(|(broker, ..)| *broker == index);
    properties.extend(single.map(|(_, key, value)| (key.clone(), value.clone())));
    for (path, text) in &options.files {
        let path = home.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|e| e.to_string())?;
        }
        write(&path, text)?;
    }
    launch.flags = vec!["-Drocketmq.broker.diskSpaceWarningLevelRatio=0.90".to_owned()];
    launch.flags.extend(options.flags.iter().cloned());
    let settings = home.join("broker.properties");
    launch.program = program("org.apache.rocketmq.broker.BrokerStartup", &settings);
    Ok(Server { launch, properties, settings, jvm: None })
}

fn launch(environment: &Environment, version: &str, name: &str, home: &Path) -> Result<Launch> {
    fs::create_dir_all(home).map_err(|e| format!("cannot create {}: {e}", home.display()))?;
    Launch::new(environment, version, name, home)
}

fn program(main: &str, settings: &Path) -> Vec<String> {
    let settings = settings.display().to_string();
    vec!["Guard".to_owned(), main.to_owned(), "-c".to_owned(), settings]
}

/// Small files, few threads, short transactions; everything on the loopback interface.
const BROKER: &[(&str, &str)] = &[
    ("brokerClusterName", "DefaultCluster"),
    ("brokerId", "0"),
    ("brokerRole", "ASYNC_MASTER"),
    ("brokerIP1", "127.0.0.1"),
    ("brokerIP2", "127.0.0.1"),
    ("bindAddress", "127.0.0.1"),
    ("brokerPermission", "6"),
    ("registerNameServerPeriod", "10000"),
    ("autoCreateTopicEnable", "true"),
    ("defaultTopicQueueNums", "4"),
    ("mappedFileSizeCommitLog", "16777216"),
    ("mappedFileSizeConsumeQueue", "20000"),
    ("mappedFileSizeTimerLog", "1048576"),
    ("maxHashSlotNum", "4000"),
    ("maxIndexNum", "1000"),
    ("enableCompaction", "false"),
    ("flushDiskType", "ASYNC_FLUSH"),
    ("diskMaxUsedSpaceRatio", "95"),
    ("timerPrecisionMs", "100"),
    ("recallMessageEnable", "true"),
    ("transactionTimeOut", "3000"),
    // Operation messages are written in batches; with the usual 3 s a decided transaction would be
    // checked again.
    ("transactionOpBatchInterval", "100"),
    ("transactionCheckInterval", "1000"),
    ("transactionCheckMax", "15"),
    ("sendMessageThreadPoolNums", "1"),
    ("pullMessageThreadPoolNums", "2"),
    ("adminBrokerThreadPoolNums", "2"),
    ("clientManageThreadPoolNums", "2"),
    ("serverWorkerThreads", "2"),
];

const FOLDER: &str = "rocketmq-interop-";

/// A folder of our own, removed on drop.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn create(cache: &Path) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{FOLDER}{}-{count}", std::process::id());
        let memory = Path::new("/dev/shm");
        let place = if has_room(memory) { memory } else { cache };
        sweep(place);
        let folder = place.join(name);
        // Left over from a process that had our id and was killed.
        let _ = fs::remove_dir_all(&folder);
        match fs::create_dir_all(&folder) {
            Ok(()) => Ok(Self(folder)),
            Err(error) => Err(format!("cannot create {}: {error}", folder.display())),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what runs that were interrupted left behind: folders of processes that are no more.
fn sweep(place: &Path) {
    if !Path::new("/proc/self").exists() {
        return;
    }
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
        let process = rest.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Containers often have 64 MiB there, and a broker refuses writes on a disk that is nearly full.
fn has_room(folder: &Path) -> bool {
    let output = Command::new("df").arg("-Pk").arg(folder).output();
    let Ok(output) = output else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    let row = text.lines().nth(1).unwrap_or_default();
    let available = row.split_whitespace().nth(3).and_then(|field| field.parse::<u64>().ok());
    available.is_some_and(|kibibytes| kibibytes > 1 << 20)
}

/// A port whose neighbours −2 (used for VIP) and +1 (used for replication) are free as well.
///
/// Below the range from which systems take ports for outgoing connections, so that nobody gets the
/// port of a broker that is down for a moment.
pub(crate) fn free_ports() -> Result<u16> {
    const BLOCKS: usize = 3000;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Processes that run at the same time begin far from each other.
    let first = std::process::id() as usize * 37;
    for _ in 0..BLOCKS {
        let block = (first + NEXT.fetch_add(1, Ordering::Relaxed)) % BLOCKS;
        let port = 20_002 + 4 * u16::try_from(block).map_err(|e| e.to_string())?;
        let free = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if [port - 2, port, port + 1].into_iter().all(free) {
            return Ok(port);
        }
    }
    Err("no free ports between 20000 and 32000".to_owned())
}
