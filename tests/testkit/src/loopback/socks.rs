//! A SOCKS5 proxy on a loopback port.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{AcceptThread, LOCALHOST, listen, lock};

/// What a proxy was asked for, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyRecord {
    /// User and password, if the client gave them.
    pub credentials: Option<(String, String)>,
    /// Host and port, as the client wrote them: a name is a name here.
    pub target: String,
}

/// What a proxy says instead of what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyFault {
    /// It answers the request with this failure.
    Refuse(u8),
    /// It sends these bytes in place of its first answer, and closes.
    Greeting(Vec<u8>),
    /// It sends these bytes in place of its answer to the request, and closes.
    Answer(Vec<u8>),
    /// It answers nothing.
    Silent,
}

/// A proxy that connects to whatever it is asked for, on threads of its own. Ends when dropped.
///
/// # Examples
///
/// ```
/// use rocketmq_testkit::SocksProxy;
///
/// let proxy = SocksProxy::start()?;
/// proxy.with(|proxy| proxy.alias("broker.example", [127, 0, 0, 1].into()));
/// println!("connect through {}", proxy.address());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SocksProxy {
    address: SocketAddr,
    settings: Arc<Mutex<ProxySettings>>,
    _acceptor: AcceptThread,
}

/// What a proxy does and has seen.
#[derive(Debug, Default)]
pub struct ProxySettings {
    credentials: Option<(String, String)>,
    names: BTreeMap<String, IpAddr>,
    fault: Option<ProxyFault>,
    piecemeal: bool,
    seen: Vec<ProxyRecord>,
    open: Vec<TcpStream>,
}

impl ProxySettings {
    /// Lets in only who has these.
    pub fn demand(&mut self, user: &str, password: &str) {
        self.credentials = Some((user.to_owned(), password.to_owned()));
    }

    /// Knows a host by a name; it knows no others.
    pub fn alias(&mut self, name: &str, address: IpAddr) {
        self.names.insert(name.to_owned(), address);
    }

    /// Misbehaves from now on, or no longer.
    pub fn set_fault(&mut self, fault: Option<ProxyFault>) {
        self.fault = fault;
    }

    /// Sends its own answers byte by byte.
    pub fn send_piecemeal(&mut self) {
        self.piecemeal = true;
    }

    /// What it was asked for, in order.
    pub fn seen(&self) -> &[ProxyRecord] {
        &self.seen
    }
}

impl SocksProxy {
    /// A proxy that lets everybody in.
    ///
    /// # Errors
    ///
    /// When the system gives no port or no thread.
    pub fn start() -> io::Result<Self> {
        let listener = listen(LOCALHOST)?;
        let address = listener.local_addr()?;
        let settings = Arc::<Mutex<ProxySettings>>::default();
        let served = Arc::clone(&settings);
        let acceptor = AcceptThread::start(listener, move |stream| {
            let settings = Arc::clone(&served);
            if let Ok(handle) = stream.try_clone() {
                lock(&settings).open.push(handle);
            }
            // An error means that the client has gone, or was turned away.
            let _ = thread::Builder::new().spawn(move || drop(serve(stream, &settings)));
        })?;
        Ok(Self { address, settings, _acceptor: acceptor })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it what to do, and asks what it has seen.
    pub fn with<T>(&self, change: impl FnOnce(&mut ProxySettings) -> T) -> T {
        change(&mut lock(&self.settings))
    }
}

impl Drop for SocksProxy {
    fn drop(&mut self) {
        for stream in &lock(&self.settings).open {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(mut stream: TcpStream, settings: &Mutex<ProxySettings>) -> io::Result<()> {
    let result = converse(&mut stream, settings);
    if let Ok(Some(server)) = result {
        return relay(stream, server, settings);
    }
    // The settings keep a handle, so dropping this one would not end the connection.
    stream.shutdown(Shutdown::Both)
}

/// The conversation; gives the connection to the server.
// RFC 1928, RFC 1929
fn converse(
    stream: &mut TcpStream,
    settings: &Mutex<ProxySettings>,
) -> io::Result<Option<TcpStream>> {
    let (fault, demanded, piecemeal) = {
        let settings = lock(settings);
        (settings.fault.clone(), settings.credentials.clone(), settings.piecemeal)
    };
    let say = |stream: &mut TcpStream, bytes: &[u8]| {
        let pieces = if piecemeal { 1 } else { bytes.len().max(1) };
        bytes.chunks(pieces).try_for_each(|piece| stream.write_all(piece))
    };
    let [_, count] = take::<2>(stream)?;
    let methods = take_text(stream, count)?;
    match &fault {
        Some(ProxyFault::Silent) => return stream.read_to_end(&mut Vec::new()).map(|_| None),
        Some(ProxyFault::Greeting(bytes)) => return say(stream, bytes).map(|()| None),
        _ => {}
    }
    let method = if demanded.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        return say(stream, &[5, 0xff]).map(|()| None);
    }
    say(stream, &[5, method])?;
    let mut credentials = None;
    if method == 2 {
        let [_, length] = take::<2>(stream)?;
        let user = String::from_utf8_lossy(&take_text(stream, length)?).into_owned();
        let [length] = take::<1>(stream)?;
        let password = String::from_utf8_lossy(&take_text(stream, length)?).into_owned();
        credentials = Some((user, password));
        let good = credentials == demanded;
        say(stream, &[1, u8::from(!good)])?;
        if !good {
            return Ok(None);
        }
    }
    let [_, _, _, kind] = take::<4>(stream)?;
    let host = match kind {
        1 => Ipv4Addr::from(take::<4>(stream)?).to_string(),
        4 => Ipv6Addr::from(take::<16>(stream)?).to_string(),
        _ => {
            let [length] = take::<1>(stream)?;
            String::from_utf8_lossy(&take_text(stream, length)?).into_owned()
        }
    };
    let port = u16::from_be_bytes(take::<2>(stream)?);
    let known = {
        let mut settings = lock(settings);
        let target = format!("{host}:{port}");
        settings.seen.push(ProxyRecord { credentials, target });
        host.parse().ok().or_else(|| settings.names.get(&host).copied())
    };
    match &fault {
        Some(ProxyFault::Refuse(failure)) => return answer(stream, *failure, say).map(|()| None),
        Some(ProxyFault::Answer(bytes)) => return say(stream, bytes).map(|()| None),
        _ => {}
    }
    let Some(ip) = known else { return answer(stream, 4, say).map(|()| None) };
    match TcpStream::connect((ip, port)) {
        Ok(server) => answer(stream, 0, say).map(|()| Some(server)),
        Err(_) => answer(stream, 5, say).map(|()| None),
    }
}

/// With a name for its own address, which is the longest kind.
fn answer(
    stream: &mut TcpStream,
    failure: u8,
    say: impl Fn(&mut TcpStream, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let name = b"proxy.example";
    let bytes = [&[5, failure, 0, 3, name.len() as u8], &name[..], &[0, 80]].concat();
    say(stream, &bytes)
}

fn take<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn take_text(stream: &mut TcpStream, length: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn relay(client: TcpStream, server: TcpStream, settings: &Mutex<ProxySettings>) -> io::Result<()> {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    lock(settings).open.push(server.try_clone()?);
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let upward = thread::Builder::new().spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    })?;
    let (mut from_server, mut to_client) = (server, client);
    let _ = io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Both);
    let _ = upward.join();
    Ok(())
}
