//! Asking a URL for the list of name servers: one GET over a socket of the runtime.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use rocketmq_core::{CloseReason, ConnectFailure, DiscoveryFailure, NameServerUrl, limits};

use crate::connection::close_reason;
use crate::runtime::Stream;
use crate::signal::Source;

/// Headers of an answer; more is no answer of a look-up service.
const HEADERS_MAX: usize = 64;

/// Room for one read.
const READ_ROOM: usize = 4 * 1024;

type Answer = Result<Box<str>, DiscoveryFailure>;

/// One look-up under way. Ends its connection when it is dropped.
pub(crate) struct Fetch {
    number: u64,
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
    source: Arc<Source>,
    waker: Waker,
}

impl Fetch {
    pub(crate) fn new<S: Stream>(
        number: u64,
        connect: impl Future<Output = Result<S, ConnectFailure>> + Send + 'static,
        url: &NameServerUrl,
        source: Arc<Source>,
    ) -> Fetch {
        let request = request(url);
        let future = async move {
            let stream = connect.await.map_err(DiscoveryFailure::Connect)?;
            ask(stream, request).await
        };
        let waker = Waker::from(Arc::clone(&source));
        Fetch { number, future: Box::pin(future), source, waker }
    }

    /// Goes on; ready with the number of the look-up and the first line of the answer.
    pub(crate) fn poll(&mut self) -> Poll<(u64, Answer)> {
        self.source.rearm();
        let answer = ready!(self.future.as_mut().poll(&mut Context::from_waker(&self.waker)));
        Poll::Ready((self.number, answer))
    }
}

fn request(url: &NameServerUrl) -> Vec<u8> {
    let (path, host) = (url.path(), url.authority());
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: rocketmq-rust\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    )
    .into_bytes()
}

async fn ask<S: Stream>(mut stream: S, request: Vec<u8>) -> Answer {
    let lost = |error: io::Error| DiscoveryFailure::Closed(close_reason(&error));
    let mut rest = &request[..];
    while !rest.is_empty() {
        let slices = [IoSlice::new(rest)];
        let taken = poll_fn(|cx| stream.poll_write_vectored(cx, &slices)).await.map_err(lost)?;
        if taken == 0 {
            return Err(DiscoveryFailure::Closed(CloseReason::Io));
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    let mut received = BytesMut::new();
    loop {
        received.reserve(READ_ROOM);
        let count = poll_fn(|cx| stream.poll_read(cx, &mut received)).await.map_err(lost)?;
        if let Some(line) = first_line(&received, count == 0)? {
            let _ = stream.poll_close(&mut Context::from_waker(Waker::noop()));
            return Ok(line);
        }
        if received.len() > limits::FETCH_LENGTH_MAX {
            return Err(DiscoveryFailure::TooLong);
        }
    }
}

/// The first line of the body, once all of it is there. `ended`: nothing more comes.
// Java: HttpTinyClient#httpGet, DefaultTopAddressing#clearNewLine
fn first_line(mut received: &[u8], ended: bool) -> Result<Option<Box<str>>, DiscoveryFailure> {
    // Round by round over interim answers, which are at most as many as fit.
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut headers);
        let head = match answer.parse(received) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if ended && received.is_empty() => {
                return Err(DiscoveryFailure::Closed(CloseReason::Eof));
            }
            Ok(httparse::Status::Partial) if ended => return Err(DiscoveryFailure::NotHttp),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(DiscoveryFailure::NotHttp),
        };
        let rest = received.get(head..).unwrap_or_default();
        match answer.code.unwrap_or_default() {
            200 => return line_of(answer.headers, rest, ended),
            // An interim answer, before the real one.
            100..=199 => received = rest,
            status @ 300..=399 => return Err(DiscoveryFailure::Redirect { status }),
            status => return Err(DiscoveryFailure::Status { status }),
        }
    }
}

/// The first line of the body that begins at `rest`, as far as it has come.
fn line_of(
    headers: &[httparse::Header<'_>],
    rest: &[u8],
    ended: bool,
) -> Result<Option<Box<str>>, DiscoveryFailure> {
    let (body, whole) = body(headers, rest)?;
    match body.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        Some(end) => Ok(Some(text(body.get(..end).unwrap_or_default()))),
        None if whole => Ok(Some(text(&body))),
        // Neither a length nor the end of the chunks came: what is missing may be an address.
        None if ended && is_framed(headers) => Err(DiscoveryFailure::Closed(CloseReason::Eof)),
        None if ended => Ok(Some(text(&body))),
        None => Ok(None),
    }
}

fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    Some(header.value.trim_ascii())
}

fn is_chunked(headers: &[httparse::Header<'_>]) -> bool {
    header(headers, "transfer-encoding").is_some_and(|value| {
        let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
        last.trim_ascii().eq_ignore_ascii_case(b"chunked")
    })
}

/// Whether the body says where it ends; otherwise the end of the connection does.
fn is_framed(headers: &[httparse::Header<'_>]) -> bool {
    is_chunked(headers) || header(headers, "content-length").is_some()
}

/// The body as far as it has come, and whether that is all of it.
fn body(
    headers: &[httparse::Header<'_>],
    rest: &[u8],
) -> Result<(Vec<u8>, bool), DiscoveryFailure> {
    if is_chunked(headers) {
        return chunks(rest);
    }
    let Some(length) = header(headers, "content-length") else {
        return Ok((rest.to_vec(), false));
    };
    let length = str::from_utf8(length).ok().and_then(|text| text.parse::<usize>().ok());
    let length = length.ok_or(DiscoveryFailure::NotHttp)?;
    match rest.get(..length) {
        Some(body) => Ok((body.to_vec(), true)),
        None => Ok((rest.to_vec(), false)),
    }
}

fn chunks(mut rest: &[u8]) -> Result<(Vec<u8>, bool), DiscoveryFailure> {
    let mut body = Vec::new();
    loop {
        let (head, size) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete((head, size))) => (head, size),
            Ok(httparse::Status::Partial) => return Ok((body, false)),
            Err(_) => return Err(DiscoveryFailure::NotHttp),
        };
        if size == 0 {
            return Ok((body, true));
        }
        if size > limits::FETCH_LENGTH_MAX as u64 {
            return Err(DiscoveryFailure::TooLong);
        }
        let chunk = rest.get(head..).unwrap_or_default();
        let size = size as usize;
        body.extend_from_slice(chunk.get(..size).unwrap_or(chunk));
        // The line end behind a chunk is part of it.
        match chunk.get(size..).and_then(|after| after.split_first_chunk::<2>()) {
            Some((b"\r\n", after)) => rest = after,
            Some(_) => return Err(DiscoveryFailure::NotHttp),
            None => return Ok((body, false)),
        }
    }
}

/// What is no text is no list of addresses either, and is refused as such.
fn text(line: &[u8]) -> Box<str> {
    String::from_utf8_lossy(line).trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: &str =
        "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 9\r\n\r\na:1;b:2\r\nnoise";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n\
                           4\r\na:1;\r\n3;x=y\r\nb:2\r\n0\r\n\r\n";
    const CLOSED: &str = "HTTP/1.0 200 Fine\r\n\r\na:1;b:2";

    fn read(answer: &str, ended: bool) -> Result<Option<String>, DiscoveryFailure> {
        first_line(answer.as_bytes(), ended).map(|line| line.map(String::from))
    }

    #[test]
    fn the_first_line_is_found_however_the_body_ends() {
        let list = || Ok(Some("a:1;b:2".to_owned()));
        assert_eq!(read(LENGTH, false), list());
        assert_eq!(read(CHUNKED, false), list());
        assert_eq!(read(CLOSED, true), list());
        assert_eq!(read(&format!("HTTP/1.1 100 Continue\r\n\r\n{CHUNKED}"), false), list());
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\n a:1;b:2 \nmore", false), list());
        let empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(empty, false), Ok(Some(String::new())));
    }

    /// Bytes may come one at a time; no part of an answer is taken for the whole.
    #[test]
    fn a_part_of_an_answer_is_waited_for_and_no_list_when_it_ends() {
        for (answer, framed) in [(LENGTH, true), (CHUNKED, true), (CLOSED, false)] {
            let head = answer.find("\r\n\r\n").unwrap() + 4;
            let complete = (0..=answer.len()).find(|end| {
                let line = read(&answer[..*end], false).unwrap();
                assert!(line.is_none_or(|line| line == "a:1;b:2"), "{}", &answer[..*end]);
                read(&answer[..*end], false).unwrap().is_some()
            });
            let complete = complete.unwrap_or(answer.len());
            for end in 0..complete {
                let ended = read(&answer[..end], true);
                assert_eq!(ended.is_err(), framed || end < head, "{:?}", &answer[..end]);
            }
        }
    }

    #[test]
    fn what_is_no_list_is_told_apart() {
        let status = |line: &str| read(&format!("HTTP/1.1 {line}\r\n\r\n"), true).unwrap_err();
        assert_eq!(status("404 Not Found"), DiscoveryFailure::Status { status: 404 });
        assert_eq!(status("204 No Content"), DiscoveryFailure::Status { status: 204 });
        assert_eq!(status("302 Found"), DiscoveryFailure::Redirect { status: 302 });
        assert_eq!(read("", true), Err(DiscoveryFailure::Closed(CloseReason::Eof)));
        for other in ["\0\0\0\x01", "SSH-2.0-x\r\n", "HTTP/2 200\r\n\r\n"] {
            assert_eq!(read(other, true), Err(DiscoveryFailure::NotHttp), "{other}");
        }
        let head = "HTTP/1.1 200 OK\r\n";
        let bad = format!("{head}Content-Length: many\r\n\r\n");
        assert_eq!(read(&bad, false), Err(DiscoveryFailure::NotHttp));
        let bad = format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n");
        assert_eq!(read(&bad, false), Err(DiscoveryFailure::NotHttp));
        let bad = format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\nabc");
        assert_eq!(read(&bad, false), Err(DiscoveryFailure::NotHttp));
        let long = format!("{head}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFF\r\n");
        assert_eq!(read(&long, false), Err(DiscoveryFailure::TooLong));
    }

    /// As many as fit into an answer: each costs 16 bytes, and none may cost a part of the stack.
    #[test]
    fn a_flood_of_interim_answers_is_read_to_its_end() {
        let interim = "HTTP/1.1 100\r\n\r\n".repeat(limits::FETCH_LENGTH_MAX / 16);
        assert_eq!(read(&interim, false), Ok(None));
        assert_eq!(read(&format!("{interim}{LENGTH}"), false), Ok(Some("a:1;b:2".to_owned())));
    }

    #[test]
    fn the_request_is_one_get() {
        let url = "http://ns.example:8080/rocketmq/nsaddr?x=1".parse().unwrap();
        let request = String::from_utf8(request(&url)).unwrap();
        assert!(request.starts_with("GET /rocketmq/nsaddr?x=1 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nHost: ns.example:8080\r\n"), "{request}");
        assert!(request.ends_with("Connection: close\r\n\r\n"), "{request}");
    }
}
