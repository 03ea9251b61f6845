//! The least that a tokio client can do for a send: copy a prepared frame, number it, write many
//! at once, read the number of each answer, wake its caller. What costs more is our doing.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;
use rocketmq_core::wire::Encoding;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::load::Target;
use crate::samples;

/// Numbers have ten digits, so that all frames are of one length.
const FIRST_NUMBER: u32 = 1_000_000_000;

/// Where a binary header has the number, from the start of the frame.
const BINARY_NUMBER: usize = 13;

/// A connection with a writing and a reading task.
#[derive(Clone)]
pub struct Bare(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    template: Template,
    tasks: [JoinHandle<io::Result<()>>; 2],
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    out: Vec<u8>,
    slots: Vec<Option<oneshot::Sender<bool>>>,
    free: Vec<u32>,
}

struct Template {
    frame: Vec<u8>,
    /// Where the number goes.
    at: usize,
    encoding: Encoding,
}

impl Template {
    fn new(encoding: Encoding, body_length: usize) -> Template {
        let mut frame = Vec::new();
        samples::push_send(&mut frame, encoding, FIRST_NUMBER as i32, body_length)
            .expect("a frame that fits");
        let marker = FIRST_NUMBER.to_string();
        let at = match encoding {
            Encoding::Json => memchr::memmem::rfind(&frame, marker.as_bytes()).expect("a number"),
            Encoding::Binary => BINARY_NUMBER,
        };
        Template { frame, at, encoding }
    }

    fn push(&self, out: &mut Vec<u8>, slot: u32, body: &[u8]) {
        let at = out.len() + self.at;
        out.extend_from_slice(&self.frame);
        out.extend_from_slice(body);
        let mut number = FIRST_NUMBER + slot;
        match self.encoding {
            Encoding::Binary => out[at..at + 4].copy_from_slice(&number.to_be_bytes()),
            Encoding::Json => {
                for digit in out[at..at + 10].iter_mut().rev() {
                    *digit = b'0' + (number % 10) as u8;
                    number /= 10;
                }
            }
        }
    }
}

impl Bare {
    /// Connects. All bodies are to be of `body_length`.
    ///
    /// # Errors
    ///
    /// When there is no connection.
    pub async fn connect(
        address: &str,
        encoding: Encoding,
        body_length: usize,
    ) -> io::Result<Bare> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let shared = Arc::new(Shared::default());
        let tasks = [
            tokio::spawn(write_all(Arc::clone(&shared), writer)),
            tokio::spawn(read_all(Arc::clone(&shared), reader)),
        ];
        let template = Template::new(encoding, body_length);
        Ok(Bare(Arc::new(Inner { shared, template, tasks })))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Target for Bare {
    fn send(&self, body: Bytes) -> impl Future<Output = bool> + Send {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.0.shared.lock();
            let slot = state.free.pop().unwrap_or_else(|| {
                state.slots.push(None);
                state.slots.len() as u32 - 1
            });
            state.slots[slot as usize] = Some(sender);
            self.0.template.push(&mut state.out, slot, &body);
        }
        self.0.shared.wake.notify_one();
        async move { receiver.await.unwrap_or(false) }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write_all(shared: Arc<Shared>, mut writer: OwnedWriteHalf) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        shared.wake.notified().await;
        // The other tasks add to what is written at once.
        tokio::task::yield_now().await;
        std::mem::swap(&mut bytes, &mut shared.lock().out);
        writer.write_all(&bytes).await?;
        bytes.clear();
    }
}

async fn read_all(shared: Arc<Shared>, mut reader: OwnedReadHalf) -> io::Result<()> {
    let finder = Finder::new("\"opaque\":");
    let mut buffer = BytesMut::with_capacity(256 * 1024);
    while reader.read_buf(&mut buffer).await? > 0 {
        while let Some(prefix) = buffer.first_chunk::<4>() {
            let length = u32::from_be_bytes(*prefix) as usize + 4;
            let Some(frame) = buffer.get(..length) else { break };
            if let Some((slot, stored)) = read_answer(frame, &finder) {
                let sender = {
                    let mut state = shared.lock();
                    let sender = state.slots.get_mut(slot as usize).and_then(Option::take);
                    state.free.push(slot);
                    sender
                };
                // A caller that has gone does not matter.
                let _ = sender.map(|sender| sender.send(stored));
            }
            buffer.advance(length);
        }
        buffer.reserve(64 * 1024);
    }
    Ok(())
}

/// The slot of an answer, and whether the message was stored.
fn read_answer(frame: &[u8], finder: &Finder<'_>) -> Option<(u32, bool)> {
    let header = frame.get(8..)?;
    let (number, stored) = if frame.get(4) == Some(&1) {
        let number = u32::from_be_bytes(*frame.get(BINARY_NUMBER..)?.first_chunk()?);
        (number, header.starts_with(&[0, 0]))
    } else {
        let digits = header.get(finder.find(header)? + 9..)?.first_chunk::<10>()?;
        let number = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        (number, header.starts_with(b"{\"code\":0,"))
    };
    Some((number.checked_sub(FIRST_NUMBER)?, stored))
}
