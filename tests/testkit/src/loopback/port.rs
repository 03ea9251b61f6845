//! One listening port that can close, open again and become a black hole.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

/// What a port does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Accepting,
    Closed,
    Hole,
}

/// A port of a server, kept for it while it does not listen.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    mode: Mode,
    acceptor: Option<AcceptThread>,
    hole: Option<Hole>,
    /// Bound, never listening: keeps the system from giving the port to somebody else.
    _reserve: Socket,
}

/// A listener whose queue is full of our own connections.
#[derive(Debug)]
struct Hole {
    _listener: TcpListener,
    _filling: Vec<TcpStream>,
}

impl Port {
    /// A free port, closed.
    pub(super) fn reserve() -> io::Result<Self> {
        let reserve = bind(super::LOCALHOST)?;
        let address = reserve.local_addr()?.as_socket();
        let address = address.ok_or_else(|| io::Error::other("no IP address"))?;
        Ok(Self { address, mode: Mode::Closed, acceptor: None, hole: None, _reserve: reserve })
    }

    /// A free port, and the one two below it, which is free as well.
    pub(super) fn reserve_pair() -> io::Result<(Self, Self)> {
        for _ in 0..100 {
            let upper = Self::reserve()?;
            let mut address = upper.address;
            let Some(port) = address.port().checked_sub(2) else { continue };
            address.set_port(port);
            // Only this one fails if another cluster holds the port without listening.
            if TcpListener::bind(address).is_err() {
                continue;
            }
            if let Ok(reserve) = bind(address) {
                let (mode, acceptor, hole) = (Mode::Closed, None, None);
                let lower = Self { address, mode, acceptor, hole, _reserve: reserve };
                return Ok((upper, lower));
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what the port does; connections go to `connected`, on a thread of the port.
    pub(super) fn change(
        &mut self,
        mode: Mode,
        connected: impl FnMut(TcpStream) + Send + 'static,
    ) -> io::Result<()> {
        if mode == self.mode {
            return Ok(());
        }
        self.acceptor = None;
        self.hole = None;
        self.mode = Mode::Closed;
        match mode {
            Mode::Closed => {}
            Mode::Accepting => {
                self.acceptor = Some(AcceptThread::start(listen(self.address)?, connected)?);
            }
            Mode::Hole => self.hole = Some(Hole::dig(self.address)?),
        }
        self.mode = mode;
        Ok(())
    }
}

impl Hole {
    fn dig(address: SocketAddr) -> io::Result<Self> {
        let listener = listen(address)?;
        // Listening again only changes the length of the queue.
        SockRef::from(&listener).listen(0)?;
        let mut filling = Vec::new();
        // The queue takes one or a few more than asked for; full is when a connect hangs.
        for _ in 0..16 {
            match TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
                Ok(stream) => filling.push(stream),
                Err(_) => break,
            }
        }
        Ok(Self { _listener: listener, _filling: filling })
    }
}

/// Accepts connections until dropped.
#[derive(Debug)]
pub(crate) struct AcceptThread {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AcceptThread {
    pub(crate) fn start(
        listener: TcpListener,
        mut connected: impl FnMut(TcpStream) + Send + 'static,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name(format!("listener {address}"));
        let thread = thread.spawn(move || {
            loop {
                let accepted = listener.accept();
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                match accepted {
                    Ok((stream, _)) => connected(stream),
                    // Out of file descriptors, or the client has gone: neither is final.
                    Err(_) => thread::sleep(Duration::from_millis(10)),
                }
            }
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }
}

impl Drop for AcceptThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Nothing else wakes a thread out of accept on every system.
        let wake = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        drop(wake);
    }
}

/// A listener whose port can be taken again at once after it closed.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bind(address)?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
