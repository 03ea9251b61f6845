//! Real threads in the simulation: the executor stands still while one of them runs.
//!
//! A guest that waits has to say so, with [`Guest::park`]. While all of them wait, the executor
//! goes on; what it does may wake a guest, and then it waits until that one waits again. So one
//! guest is as repeatable as a task, and the virtual clock cannot run ahead of it.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use super::executor::{Core, lock};

/// The threads, by number, and whether each waits.
#[derive(Debug, Default)]
pub(super) struct Guests {
    next: u64,
    known: BTreeMap<u64, State>,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// Running, and to be woken when it parks.
    Notified,
    Parked,
}

impl Guests {
    fn enter(&mut self) -> u64 {
        self.next += 1;
        self.known.insert(self.next, State::Running);
        self.next
    }

    fn are_waiting(&self) -> bool {
        self.known.values().all(|state| *state == State::Parked)
    }

    /// The simulation is over: nobody will wake them.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }
}

impl Core {
    /// Waits until every guest waits.
    pub(super) fn wait_for_guests(&self) {
        let mut ready = lock(&self.ready);
        while !ready.guests.are_waiting() {
            ready = self.changed.wait(ready).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

/// A thread of a simulation, as it sees itself.
///
/// Made by [`SimHandle::thread`](super::SimHandle::thread).
pub struct Guest {
    core: Arc<Core>,
    id: u64,
}

impl Guest {
    /// Waits for a future, as a thread does that knows no runtime.
    ///
    /// # Panics
    /// If the simulation ends before the future is ready.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let waker = self.waker();
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            self.park();
        }
    }

    /// Wakes this thread out of [`Guest::park`], be it now or the next time.
    pub fn waker(&self) -> Waker {
        Arc::new(GuestWaker { core: Arc::clone(&self.core), id: self.id }).into()
    }

    /// Waits for the [waker](Self::waker). Time passes meanwhile.
    ///
    /// # Panics
    /// If the simulation ends before.
    pub fn park(&self) {
        let mut ready = lock(&self.core.ready);
        let state = ready.guests.known.get_mut(&self.id).expect("a guest is known while it runs");
        if *state == State::Notified {
            *state = State::Running;
            return;
        }
        *state = State::Parked;
        self.core.changed.notify_all();
        while ready.guests.known.get(&self.id) == Some(&State::Parked) {
            if ready.guests.ended {
                drop(ready);
                panic!("the simulation has ended while a thread of it waited");
            }
            ready =
                self.core.changed.wait(ready).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        lock(&self.core.ready).guests.known.remove(&self.id);
        self.core.changed.notify_all();
    }
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("id", &self.id).finish_non_exhaustive()
    }
}

struct GuestWaker {
    core: Arc<Core>,
    id: u64,
}

impl Wake for GuestWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut ready = lock(&self.core.ready);
        if let Some(state) = ready.guests.known.get_mut(&self.id) {
            *state = if *state == State::Parked { State::Running } else { State::Notified };
            self.core.changed.notify_all();
        }
    }
}

/// What a thread left, and who waits for it.
struct Left<T> {
    result: Option<thread::Result<T>>,
    waker: Option<Waker>,
}

/// Runs `body` on a thread of its own.
pub(super) fn start<T: Send + 'static>(
    core: &Arc<Core>,
    body: impl FnOnce(&Guest) -> T + Send + 'static,
) -> impl Future<Output = T> + Send + 'static {
    let id = lock(&core.ready).guests.enter();
    let guest = Guest { core: Arc::clone(core), id };
    let left = Arc::new(Mutex::new(Left { result: None, waker: None }));
    let theirs = Arc::clone(&left);
    thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(|| body(&guest)));
        let mut left = lock(&theirs);
        left.result = Some(result);
        let waker = left.waker.take();
        drop(left);
        // Before it counts as gone: the executor must not go on without the news.
        waker.into_iter().for_each(Waker::wake);
        drop(guest);
    });
    poll_fn(move |cx| {
        let mut left = lock(&left);
        match left.result.take() {
            Some(Ok(output)) => Poll::Ready(output),
            Some(Err(panic)) => {
                drop(left);
                resume_unwind(panic)
            }
            None => {
                left.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
}
