//! Ctrl-C, the same under every runtime: the signals have a thread of their own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use smol::channel::{Receiver, Sender, bounded};

/// Status of a process that the second Ctrl-C ended: 128 and the number of SIGINT.
const ENDED_BY_SIGNAL: i32 = 130;

/// Whether sending shall stop. Clones mean the same.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    stopped: Arc<AtomicBool>,
    /// Closed when sending shall stop.
    signal: Sender<()>,
    waiting: Receiver<()>,
}

impl Stop {
    pub(crate) fn new() -> Stop {
        let (signal, waiting) = bounded(1);
        Stop { stopped: Arc::default(), signal, waiting }
    }

    /// Stops sending.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.signal.close();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Done once sending shall stop.
    pub(crate) async fn wait(&self) {
        // Nobody sends anything: the end of the channel is the signal.
        let _ = self.waiting.recv().await;
    }

    /// Stops sending at the first Ctrl-C (or SIGTERM), after calling `first`; ends the process at
    /// the second.
    ///
    /// # Errors
    /// If the system gives no thread or no signals. Ctrl-C then ends the process at once.
    pub(crate) fn on_interrupt(&self, first: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let stop = self.clone();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let watch = async move {
            let mut signals = match Signals::new() {
                Ok(signals) => signals,
                Err(error) => return ready.send(Err(error)).unwrap_or_default(),
            };
            ready.send(Ok(())).unwrap_or_default();
            signals.next().await;
            first();
            stop.stop();
            signals.next().await;
            std::process::exit(ENDED_BY_SIGNAL);
        };
        let thread = thread::Builder::new().name("signals".into());
        thread.spawn(move || runtime.block_on(watch))?;
        is_ready.recv().unwrap_or_else(|_| Err(io::Error::other("the signal thread has ended")))
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Signals { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
