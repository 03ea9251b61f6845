//! Requests to a server written by hand, independent of the client under test.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};

use crate::Result;
use crate::servers::REQUEST_LIMIT;
use crate::tls::Tls;

/// More than any answer asked for here: a length beyond it means that we misread the stream.
const LARGEST_ANSWER: usize = 16 << 20;

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The response code, 0 for success.
    pub code: i64,
    /// What the server says about it.
    pub remark: String,
    /// The bytes after the header.
    pub body: Vec<u8>,
}

/// Who serves a topic, as the name server tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// The number of writable queues of each broker name; 0 where the topic is read-only.
    pub queues: BTreeMap<String, u64>,
}

/// Sends one request to `address` (`host:port`) over a connection of its own and awaits the answer;
/// connecting and each read may take up to `limit`.
pub fn request(
    address: &str,
    code: u16,
    fields: &[(&str, &str)],
    body: &[u8],
    limit: Duration,
) -> Result<Answer> {
    Asker::default().request(address, code, fields, body, limit)
}

/// How servers are asked: in plain text, or over TLS.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asker {
    tls: Option<Arc<ClientConfig>>,
}

impl Asker {
    pub(crate) fn over(tls: Option<&Tls>) -> Result<Asker> {
        Ok(Asker { tls: tls.map(Tls::client).transpose()? })
    }

    pub(crate) fn request(
        &self,
        address: &str,
        code: u16,
        fields: &[(&str, &str)],
        body: &[u8],
        limit: Duration,
    ) -> Result<Answer> {
        let frame = framed(code, fields, body);
        let answer = connect(address, limit).and_then(|mut stream| match &self.tls {
            None => exchange(&mut stream, &frame),
            Some(config) => {
                let name = ServerName::from(stream.peer_addr()?.ip());
                let session = ClientConnection::new(Arc::clone(config), name);
                let session = session.map_err(std::io::Error::other)?;
                exchange(&mut StreamOwned::new(session, stream), &frame)
            }
        });
        answer.map_err(|error| format!("request {code} to {address}: {error}"))
    }
}

fn framed(code: u16, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let fields: BTreeMap<_, _> = fields.iter().copied().collect();
    let header = json!({"code": code, "language": "OTHER", "version": 479, "opaque": 1, "flag": 0,
        "extFields": fields})
    .to_string();
    let mut frame = Vec::new();
    frame.extend_from_slice(&((4 + header.len() + body.len()) as u32).to_be_bytes());
    frame.extend_from_slice(&(header.len() as u32).to_be_bytes());
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(body);
    frame
}

fn invalid(text: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, text)
}

fn connect(address: &str, limit: Duration) -> std::io::Result<TcpStream> {
    let address: SocketAddr = address.parse().map_err(|_| invalid("not an address"))?;
    let stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    Ok(stream)
}

fn exchange(stream: &mut (impl Read + Write), frame: &[u8]) -> std::io::Result<Answer> {
    stream.write_all(frame)?;

    let mut word = [0; 4];
    stream.read_exact(&mut word)?;
    let length = u32::from_be_bytes(word) as usize;
    stream.read_exact(&mut word)?;
    // The topmost byte is the encoding; answers to JSON are JSON.
    let header_length = (u32::from_be_bytes(word) & 0x00ff_ffff) as usize;
    if length > LARGEST_ANSWER || header_length + 4 > length {
        return Err(invalid("lengths of the answer make no sense"));
    }
    let mut rest = vec![0; length - 4];
    stream.read_exact(&mut rest)?;
    let body = rest.split_off(header_length);
    let header: Value = serde_json::from_slice(&rest)?;
    Ok(Answer {
        code: header["code"].as_i64().ok_or_else(|| invalid("an answer without code"))?,
        remark: header["remark"].as_str().unwrap_or_default().to_owned(),
        body,
    })
}

/// Asks a name server for the route of `topic`: nothing if it knows none.
pub(crate) fn route(asker: &Asker, name_server: &str, topic: &str) -> Result<Option<Route>> {
    let fields = [("topic", topic), ("acceptStandardJsonOnly", "true")];
    let answer = asker.request(name_server, 105, &fields, &[], REQUEST_LIMIT)?;
    match answer.code {
        0 => {}
        17 => return Ok(None),
        code => return Err(format!("route of {topic}: code {code}, {}", answer.remark)),
    }
    let body: Value = serde_json::from_slice(&answer.body)
        .map_err(|e| format!("route of {topic}: {e}: {}", String::from_utf8_lossy(&answer.body)))?;
    let mut route = Route::default();
    for queues in body["queueDatas"].as_array().into_iter().flatten() {
        let name = queues["brokerName"].as_str().unwrap_or_default().to_owned();
        let writable = queues["perm"].as_u64().unwrap_or_default() & 2 != 0;
        let count = queues["writeQueueNums"].as_u64().unwrap_or_default();
        route.queues.insert(name, if writable { count } else { 0 });
    }
    Ok(Some(route))
}
