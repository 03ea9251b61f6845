//! A server that answers sends at once, for benchmarks of clients.
//!
//! It stores nothing and checks nothing: a send costs it a search for the request id and a copy
//! of a prepared answer, so that what a benchmark measures is the client.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use memchr::memmem::Finder;

use crate::cluster::ReplyEncoding;
use crate::loopback::{AcceptThread, LOCALHOST, listen};
use crate::wire::{
    BrokerData, Command, Encoding, FLAG_ONEWAY, FLAG_RESPONSE, QueueData, TopicRoute,
    request_code as request, split_frame,
};

const READ_BYTES: usize = 256 * 1024;

/// How an [`InstantServer`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstantConfig {
    /// In which encoding; real 5.x servers always answer in JSON.
    pub reply_encoding: ReplyEncoding,
    /// Queues of every topic.
    pub queues: i64,
}

impl Default for InstantConfig {
    fn default() -> Self {
        Self { reply_encoding: ReplyEncoding::Always(Encoding::Json), queues: 4 }
    }
}

/// Name server and broker on one loopback port, with one thread for each connection.
///
/// Every topic exists. Ends with its threads and sockets when dropped.
///
/// # Examples
///
/// ```
/// use rocketmq_testkit::InstantServer;
///
/// let server = InstantServer::start()?;
/// println!("connect to {}", server.name_server_addresses());
/// assert_eq!(server.messages(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct InstantServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<AcceptThread>,
}

#[derive(Debug)]
struct Shared {
    config: InstantConfig,
    #[cfg(feature = "tls")]
    tls: Option<crate::tls::ServerTls>,
    address: SocketAddr,
    messages: AtomicU64,
    stopping: AtomicBool,
    served: Mutex<Vec<Served>>,
}

#[derive(Debug)]
struct Served {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl InstantServer {
    /// A server that answers in JSON, as real ones do.
    ///
    /// # Errors
    ///
    /// When the system gives no port or no thread.
    pub fn start() -> io::Result<Self> {
        Self::start_with(InstantConfig::default())
    }

    /// A server that answers as told.
    ///
    /// # Errors
    ///
    /// When the system gives no port or no thread.
    pub fn start_with(config: InstantConfig) -> io::Result<Self> {
        Self::listen(config, |_| {})
    }

    /// The same where every connection is encrypted.
    ///
    /// # Errors
    ///
    /// When the system gives no port or no thread.
    #[cfg(feature = "tls")]
    pub fn start_encrypted(config: InstantConfig, tls: crate::tls::ServerTls) -> io::Result<Self> {
        Self::listen(config, |shared| shared.tls = Some(tls))
    }

    fn listen(config: InstantConfig, change: impl FnOnce(&mut Shared)) -> io::Result<Self> {
        let listener = listen(LOCALHOST)?;
        let address = listener.local_addr()?;
        let mut shared = Shared {
            config,
            #[cfg(feature = "tls")]
            tls: None,
            address,
            messages: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            served: Mutex::new(Vec::new()),
        };
        change(&mut shared);
        let shared = Arc::new(shared);
        let accepting = Arc::clone(&shared);
        let acceptor = AcceptThread::start(listener, move |stream| accepting.connected(stream))?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens, as name server and as broker.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as clients take it.
    pub fn name_server_addresses(&self) -> String {
        self.address.to_string()
    }

    /// Send requests received so far, oneway ones included; a batch counts once.
    pub fn messages(&self) -> u64 {
        self.shared.messages.load(Ordering::Relaxed)
    }
}

impl Drop for InstantServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.acceptor = None;
        let served = std::mem::take(&mut *self.shared.served());
        for Served { stream, thread } in served {
            // The peer may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn served(&self) -> std::sync::MutexGuard<'_, Vec<Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connected(self: &Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(reading) = stream.try_clone() else {
            return;
        };
        let shared = Arc::clone(self);
        let thread = thread::Builder::new().name("instant server".into());
        // An error means that the client has gone, or sent what is no frame.
        let thread = thread.spawn(move || drop(shared.serve(reading)));
        let mut served = self.served();
        served.retain(|served| !served.thread.is_finished());
        if let Ok(thread) = thread {
            served.push(Served { stream, thread });
        }
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        #[cfg(feature = "tls")]
        let result = match &self.tls {
            None => self.answer_all(&mut stream),
            Some(tls) => {
                let session = rustls::ServerConnection::new(Arc::clone(&tls.config));
                let session = session.map_err(io::Error::other)?;
                self.answer_all(&mut rustls::StreamOwned::new(session, stream.try_clone()?))
            }
        };
        #[cfg(not(feature = "tls"))]
        let result = self.answer_all(&mut stream);
        // The accepting side keeps a handle, so dropping this one would not end the connection.
        let _ = stream.shutdown(Shutdown::Both);
        result
    }

    fn answer_all(&self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        let (mut start, mut end) = (0, 0);
        let mut answers = Vec::with_capacity(READ_BYTES);
        let templates = Templates::new();
        loop {
            let count = stream.read(&mut buffer[end..])?;
            if count == 0 || self.stopping.load(Ordering::Acquire) {
                return Ok(());
            }
            end += count;
            answers.clear();
            let mut messages = 0;
            let wanted = loop {
                let part = &buffer[start..end];
                match split_frame(part).map_err(io::Error::other)? {
                    Some(length) => {
                        let frame = &part[..length];
                        messages += u64::from(self.answer(frame, &templates, &mut answers)?);
                        start += length;
                    }
                    None => {
                        let prefix = part.first_chunk::<4>();
                        break prefix.map_or(8, |prefix| u32::from_be_bytes(*prefix) as usize + 4);
                    }
                }
            };
            self.messages.fetch_add(messages, Ordering::Relaxed);
            if !answers.is_empty() {
                stream.write_all(&answers)?;
            }
            // Keeps the rest at the front once there is no room for the frame it belongs to.
            if start == end {
                (start, end) = (0, 0);
            } else if start + wanted > buffer.len() || end == buffer.len() {
                buffer.copy_within(start..end, 0);
                (start, end) = (0, end - start);
                buffer.resize(buffer.len().max(wanted), 0);
            }
        }
    }

    /// Appends the answer to one frame; whether it was a message.
    fn answer(&self, frame: &[u8], templates: &Templates, out: &mut Vec<u8>) -> io::Result<bool> {
        let Some(scanned) = scan(frame) else {
            return self.answer_slowly(frame, out).map(|()| false);
        };
        if scanned.flag & (FLAG_ONEWAY | FLAG_RESPONSE) == 0 {
            let encoding = match (self.config.reply_encoding, frame[4]) {
                (ReplyEncoding::Always(encoding), _) => encoding,
                (ReplyEncoding::Mirror, 1) => Encoding::Binary,
                (ReplyEncoding::Mirror, _) => Encoding::Json,
            };
            templates.push(encoding, scanned.opaque, out);
        }
        Ok(true)
    }

    /// Everything that is not a message.
    fn answer_slowly(&self, frame: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let command = Command::decode(frame).map_err(io::Error::other)?;
        if command.is_oneway() || command.is_response() {
            return Ok(());
        }
        let mut answer = Command {
            code: 0,
            language: 0,
            version: 513,
            flag: FLAG_RESPONSE,
            encoding: match self.config.reply_encoding {
                ReplyEncoding::Always(encoding) => encoding,
                ReplyEncoding::Mirror => command.encoding,
            },
            ..Command::request(0, command.opaque)
        };
        match command.code {
            request::GET_ROUTEINFO_BY_TOPIC => {
                let strict = command.version >= 401
                    || command.ext.get("acceptStandardJsonOnly").is_some_and(|it| it == "true");
                answer.body = self.route().to_json(strict, true).into_bytes();
            }
            request::HEART_BEAT | request::UNREGISTER_CLIENT => {}
            code => {
                answer.code = 3;
                answer.remark = Some(format!(" request type {code} not supported"));
            }
        }
        out.extend(answer.encode());
        Ok(())
    }

    fn route(&self) -> TopicRoute {
        let name = "broker-a".to_owned();
        TopicRoute {
            queues: vec![QueueData {
                broker_name: name.clone(),
                read_queues: self.config.queues,
                write_queues: self.config.queues,
                perm: 6,
            }],
            brokers: vec![BrokerData {
                cluster: "DefaultCluster".to_owned(),
                broker_name: name,
                addresses: [(0, self.address.to_string())].into(),
            }],
            ..TopicRoute::default()
        }
    }
}

/// Prepared answers, cut where the request id goes.
struct Templates {
    json_before: Vec<u8>,
    json_after: Vec<u8>,
    binary: Vec<u8>,
}

/// Where the binary header has the request id, counted from the start of the frame.
const BINARY_OPAQUE: usize = 13;

impl Templates {
    fn new() -> Self {
        let mut answer = Command::request(0, 0)
            .field("MSG_REGION", "DefaultRegion")
            .field("TRACE_ON", "true")
            .field("msgId", "7F00000100002A9F0000000000000000")
            .field("queueId", "0")
            .field("queueOffset", "0")
            .field("transactionId", "7F000001000000000000000000000000");
        (answer.language, answer.version, answer.flag) = (0, 513, FLAG_RESPONSE);
        let json = answer.encode();
        answer.encoding = Encoding::Binary;
        let marker = b"\"opaque\":";
        // The marker is in every JSON header this crate writes.
        let cut = memchr::memmem::find(&json, marker).unwrap_or(0) + marker.len();
        Self {
            json_before: json[..cut].to_vec(),
            json_after: json[cut + 1..].to_vec(),
            binary: answer.encode(),
        }
    }

    fn push(&self, encoding: Encoding, opaque: i32, out: &mut Vec<u8>) {
        let start = out.len();
        if encoding == Encoding::Binary {
            out.extend_from_slice(&self.binary);
            let at = start + BINARY_OPAQUE;
            out[at..at + 4].copy_from_slice(&opaque.to_be_bytes());
            return;
        }
        out.extend_from_slice(&self.json_before);
        push_decimal(opaque, out);
        out.extend_from_slice(&self.json_after);
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        // The type byte of JSON is 0, so the header's length fills the whole word.
        out[start + 4..start + 8].copy_from_slice(&(length - 4).to_be_bytes());
    }
}

fn push_decimal(number: i32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

struct Scanned {
    opaque: i32,
    flag: i32,
}

/// Request id and flag of a message; `None` for every other request and what is unusual.
fn scan(frame: &[u8]) -> Option<Scanned> {
    let word = u32::from_be_bytes(*frame[4..].first_chunk()?);
    let header = &frame[8..8 + (word & 0x00ff_ffff) as usize];
    let (code, opaque, flag) = match word >> 24 {
        1 => {
            let code = i16::from_be_bytes(*header.first_chunk()?);
            let opaque = i32::from_be_bytes(*header.get(5..)?.first_chunk()?);
            let flag = i32::from_be_bytes(*header.get(9..)?.first_chunk()?);
            (i32::from(code), opaque, flag)
        }
        0 => {
            let code = json_number(header, &FIND_CODE)?;
            (code, json_number(header, &FIND_OPAQUE)?, json_number(header, &FIND_FLAG)?)
        }
        _ => return None,
    };
    request::SENDS.contains(&code).then_some(Scanned { opaque, flag })
}

static FIND_CODE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"code\":"));
static FIND_OPAQUE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"opaque\":"));
static FIND_FLAG: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"flag\":"));

/// The number behind a key of the outer object: those inside `extFields` are strings.
fn json_number(header: &[u8], finder: &Finder<'_>) -> Option<i32> {
    let length = finder.needle().len();
    finder.find_iter(header).find_map(|at| {
        let digits = &header[at + length..];
        let (negative, digits) = match digits {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let count = digits.iter().take(11).take_while(|digit| digit.is_ascii_digit()).count();
        let number =
            digits[..count].iter().fold(0, |sum: i64, digit| sum * 10 + i64::from(digit - b'0'));
        let number = if negative { -number } else { number };
        i32::try_from(number).ok().filter(|_| count > 0)
    })
}
