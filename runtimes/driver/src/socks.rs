//! Connections through a SOCKS5 proxy: RFC 1928, with user and password of RFC 1929.
//!
//! By hand: the conversation is a few bytes over the driver's own [`Stream`], and the library for
//! it would bring nine crates, and an adapter as long as this.

use std::fmt;
use std::future::poll_fn;
use std::io::IoSlice;
use std::net::IpAddr;
use std::str::FromStr;

use bytes::{BufMut, BytesMut};
use rocketmq_core::{Address, ConnectFailure, Host, ProxyFailure};

use crate::runtime::Stream;

const VERSION: u8 = 5;
const NO_PROOF: u8 = 0;
const PASSWORD: u8 = 2;
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Longest user name, password or host name: their lengths are one byte.
const TEXT_MAX: usize = 255;

/// A SOCKS5 proxy through which all connections go, those that look up name servers included.
///
/// Host names are resolved by the proxy. TLS, if it is on, is spoken with the servers, through the
/// proxy.
///
/// ```
/// use rocketmq_driver::{ClientOptions, Config, Socks5};
///
/// let proxy = Socks5::new("proxy.example:1080".parse()?).with_credentials("user", "secret")?;
/// let config = Config::builder("names.example:9876").build()?;
/// let options = ClientOptions::new(config).with_socks5(proxy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Socks5 {
    address: Address,
    credentials: Option<(Box<str>, Box<str>)>,
}

impl Socks5 {
    /// The proxy at this address.
    pub fn new(address: Address) -> Socks5 {
        Socks5 { address, credentials: None }
    }

    /// With a user name and a password, which go to the proxy in plain text if it asks for them.
    ///
    /// # Errors
    /// If one of them is empty or longer than 255 bytes.
    pub fn with_credentials(mut self, user: &str, password: &str) -> Result<Socks5, Socks5Error> {
        if [user, password].iter().any(|text| text.is_empty() || text.len() > TEXT_MAX) {
            return Err(Socks5Error::Credentials);
        }
        self.credentials = Some((user.into(), password.into()));
        Ok(self)
    }

    /// The proxy's own address.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl FromStr for Socks5 {
    type Err = Socks5Error;

    /// Reads `host:port` or `user:password@host:port`; the last `@` and the first `:` count.
    fn from_str(text: &str) -> Result<Socks5, Socks5Error> {
        // Not the error of the address: it shows what may be a password.
        let address = |text: &str| text.parse().map_err(|_| Socks5Error::Address);
        let Some((credentials, proxy)) = text.rsplit_once('@') else {
            return Ok(Socks5::new(address(text)?));
        };
        let (user, password) = credentials.split_once(':').ok_or(Socks5Error::Credentials)?;
        Socks5::new(address(proxy)?).with_credentials(user, password)
    }
}

impl fmt::Debug for Socks5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Socks5");
        debug.field("address", &self.address).field("credentials", &self.credentials.is_some());
        debug.finish()
    }
}

/// Why a proxy cannot be used. Shows no credentials.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Socks5Error {
    /// Its address cannot be read.
    #[error("the proxy's address cannot be read; write HOST:PORT or USER:PASSWORD@HOST:PORT")]
    Address,
    /// User or password cannot be sent.
    #[error("user and password of a proxy have 1 to 255 bytes each; write USER:PASSWORD@HOST:PORT")]
    Credentials,
}

/// Has the proxy behind `socket` connect to `target`. What comes out leads there.
pub(crate) async fn open<S: Stream>(
    mut socket: S,
    proxy: &Socks5,
    target: &Address,
) -> Result<S, ConnectFailure> {
    match converse(&mut socket, proxy, target).await {
        Ok(()) => Ok(socket),
        Err(failure) => Err(ConnectFailure::Proxy(failure)),
    }
}

async fn converse<S: Stream>(
    socket: &mut S,
    proxy: &Socks5,
    target: &Address,
) -> Result<(), ProxyFailure> {
    let methods: &[u8] = match proxy.credentials {
        None => &[VERSION, 1, NO_PROOF],
        Some(_) => &[VERSION, 2, NO_PROOF, PASSWORD],
    };
    send(socket, methods).await?;
    match (receive::<S, 2>(socket).await?, &proxy.credentials) {
        ([VERSION, NO_PROOF], _) => {}
        ([VERSION, PASSWORD], Some((user, password))) => prove(socket, user, password).await?,
        ([VERSION, _], _) => return Err(ProxyFailure::CredentialsRequired),
        _ => return Err(ProxyFailure::NotSocks5),
    }
    send(socket, &request(target)?).await?;
    let kind = match receive::<S, 4>(socket).await? {
        [VERSION, 0, _, kind] => kind,
        [VERSION, failure, ..] => return Err(refusal(failure)),
        _ => return Err(ProxyFailure::NotSocks5),
    };
    // The address from which the proxy has connected, of no use here.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(receive::<S, 1>(socket).await?[0]),
        _ => return Err(ProxyFailure::NotSocks5),
    };
    skip(socket, length + 2).await
}

async fn prove<S: Stream>(socket: &mut S, user: &str, password: &str) -> Result<(), ProxyFailure> {
    let mut proof = BytesMut::with_capacity(3 + user.len() + password.len());
    proof.put_u8(PASSWORD_VERSION);
    for text in [user, password] {
        // At most 255, as was checked.
        proof.put_u8(text.len() as u8);
        proof.put_slice(text.as_bytes());
    }
    send(socket, &proof).await?;
    match receive::<S, 2>(socket).await? {
        [PASSWORD_VERSION, 0] => Ok(()),
        [PASSWORD_VERSION, _] => Err(ProxyFailure::CredentialsRefused),
        _ => Err(ProxyFailure::NotSocks5),
    }
}

fn request(target: &Address) -> Result<BytesMut, ProxyFailure> {
    let mut request = BytesMut::new();
    request.put_slice(&[VERSION, CONNECT, 0]);
    match target.host() {
        Host::Ip(IpAddr::V4(ip)) => {
            request.put_u8(IPV4);
            request.put_slice(&ip.octets());
        }
        Host::Ip(IpAddr::V6(ip)) => {
            request.put_u8(IPV6);
            request.put_slice(&ip.octets());
        }
        Host::Name(name) => {
            let length = u8::try_from(name.len()).map_err(|_| ProxyFailure::NotSupported)?;
            request.put_u8(NAME);
            request.put_u8(length);
            request.put_slice(name.as_bytes());
        }
    }
    request.put_u16(target.port());
    Ok(request)
}

fn refusal(failure: u8) -> ProxyFailure {
    match failure {
        2 => ProxyFailure::NotAllowed,
        // Network, host, time to live.
        3 | 4 | 6 => ProxyFailure::Unreachable,
        5 => ProxyFailure::Refused,
        7 | 8 => ProxyFailure::NotSupported,
        other => ProxyFailure::Other(other),
    }
}

async fn send<S: Stream>(socket: &mut S, mut bytes: &[u8]) -> Result<(), ProxyFailure> {
    while !bytes.is_empty() {
        let slices = [IoSlice::new(bytes)];
        match poll_fn(|cx| socket.poll_write_vectored(cx, &slices)).await {
            Ok(taken @ 1..) => bytes = bytes.get(taken..).unwrap_or_default(),
            _ => return Err(ProxyFailure::CutShort),
        }
    }
    Ok(())
}

async fn receive<S: Stream, const N: usize>(socket: &mut S) -> Result<[u8; N], ProxyFailure> {
    let bytes = read(socket, N).await?;
    bytes.first_chunk().copied().ok_or(ProxyFailure::NotSocks5)
}

async fn skip<S: Stream>(socket: &mut S, length: usize) -> Result<(), ProxyFailure> {
    read(socket, length).await.map(drop)
}

/// Exactly `length` bytes: what comes behind is for who uses the connection.
async fn read<S: Stream>(socket: &mut S, length: usize) -> Result<BytesMut, ProxyFailure> {
    let mut bytes = BytesMut::with_capacity(length);
    while bytes.len() < length {
        match poll_fn(|cx| socket.poll_read(cx, &mut bytes)).await {
            Ok(1..) => {}
            _ => return Err(ProxyFailure::CutShort),
        }
    }
    // Room for more than was asked for would take what is not ours.
    if bytes.len() > length { Err(ProxyFailure::NotSocks5) } else { Ok(bytes) }
}
