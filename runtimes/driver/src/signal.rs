//! How the driver is woken: once while it sleeps, and with the name of what became ready.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Wakes the driver's task, but only if it sleeps.
///
/// Whoever has work for the driver puts it into a queue under that queue's lock and then calls
/// [`Signal::wake`]. The driver calls [`Signal::sleep`] and then looks into all queues once more.
/// Either it finds the work, or the queue's lock orders its `sleep` before the `wake`.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    asleep: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    task: Option<Waker>,
    ready: Vec<usize>,
}

impl Signal {
    /// The driver's task runs, under the waker `task`.
    pub(crate) fn begin(&self, task: &Waker) {
        self.asleep.store(false, Ordering::Release);
        let mut inner = self.lock();
        if !inner.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            inner.task = Some(task.clone());
        }
    }

    /// The driver is about to sleep. It must look into its queues after this, not before.
    pub(crate) fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    /// The driver found work after all.
    pub(crate) fn stay_awake(&self) {
        self.asleep.store(false, Ordering::Release);
    }

    /// Wakes the driver if it sleeps.
    pub(crate) fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // Cloned, so that no foreign code runs under the lock.
            let task = self.lock().task.clone();
            if let Some(task) = task {
                task.wake();
            }
        }
    }

    /// Moves the names of all sources that became ready into `into`, which is empty.
    pub(crate) fn take_ready(&self, into: &mut Vec<usize>) {
        std::mem::swap(&mut self.lock().ready, into);
    }

    /// Whether any source is ready.
    pub(crate) fn has_ready(&self) -> bool {
        !self.lock().ready.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that the driver polls with a waker of its own, so that a wake costs nothing for what
/// stays idle: one direction of a connection, or the timer.
#[derive(Debug)]
pub(crate) struct Source {
    name: usize,
    queued: AtomicBool,
    signal: Arc<Signal>,
}

impl Source {
    /// A source that is reported as `name`.
    pub(crate) fn new(name: usize, signal: &Arc<Signal>) -> Arc<Source> {
        Arc::new(Source { name, queued: AtomicBool::new(false), signal: Arc::clone(signal) })
    }

    /// Lets the source report itself again. To be called before it is polled, not after.
    pub(crate) fn rearm(&self) {
        self.queued.store(false, Ordering::SeqCst);
    }
}

impl Wake for Source {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.signal.lock().ready.push(self.name);
        }
        self.signal.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_a_sleeper_is_woken_and_only_once() {
        let (signal, count) = (Arc::new(Signal::default()), Arc::new(Count::default()));
        let woken = || count.0.load(Ordering::Relaxed);
        signal.begin(&Waker::from(Arc::clone(&count)));
        signal.wake();
        assert_eq!(woken(), 0);
        signal.sleep();
        signal.wake();
        signal.wake();
        assert_eq!(woken(), 1);
    }

    #[test]
    fn a_source_is_queued_once_until_it_is_rearmed() {
        let signal = Arc::new(Signal::default());
        let source = Source::new(7, &signal);
        let waker = Waker::from(Arc::clone(&source));
        let mut ready = Vec::new();
        waker.wake_by_ref();
        waker.wake_by_ref();
        signal.take_ready(&mut ready);
        assert_eq!(ready, [7]);
        waker.wake_by_ref();
        assert!(!signal.has_ready());
        source.rearm();
        waker.wake_by_ref();
        assert!(signal.has_ready());
    }
}
