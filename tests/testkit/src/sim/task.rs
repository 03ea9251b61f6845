//! Tasks that a test starts, and what they give.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::executor::{BoxFuture, lock};

/// A task of a simulation. Await it for what it gives; dropping it lets the task go on.
#[must_use = "await it for what the task gives, or drop it with `drop` to let the task go on"]
pub struct SimTask<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

struct Slot<T> {
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    output: Option<T>,
    over: bool,
    /// Of the task.
    task: Option<Waker>,
    /// Of the one who awaits it.
    waiting: Option<Waker>,
}

impl<T> SimTask<T> {
    /// Whether it has ended, well or not.
    pub fn is_finished(&self) -> bool {
        lock(&self.slot).over
    }

    /// Drops what the task has not done yet.
    pub fn cancel(self) {
        let mut slot = lock(&self.slot);
        let (future, task) = (slot.future.take(), slot.task.take());
        slot.over = true;
        drop(slot);
        drop(future);
        task.into_iter().for_each(Waker::wake);
    }
}

impl<T> Future for SimTask<T> {
    type Output = T;

    /// # Panics
    /// If the task's process was killed before it had ended.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut slot = lock(&self.slot);
        match slot.output.take() {
            Some(output) => Poll::Ready(output),
            None => {
                let lost = slot.over;
                slot.waiting = Some(cx.waker().clone());
                drop(slot);
                assert!(!lost, "a task is awaited that was killed, or was awaited before");
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for SimTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimTask").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

/// What the executor polls. Dropping it ends the task.
struct Body<T>(Arc<Mutex<Slot<T>>>);

impl<T> Future for Body<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut slot = lock(&self.0);
        slot.task = Some(cx.waker().clone());
        // Taken out, so that the task may look at its own handle.
        let Some(mut future) = slot.future.take() else { return Poll::Ready(()) };
        drop(slot);
        let poll = future.as_mut().poll(cx);
        let mut slot = lock(&self.0);
        match poll {
            Poll::Ready(output) => {
                slot.output = Some(output);
                Poll::Ready(())
            }
            // Cancelled by itself.
            Poll::Pending if slot.over => {
                drop(slot);
                drop(future);
                Poll::Ready(())
            }
            Poll::Pending => {
                slot.future = Some(future);
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Body<T> {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        slot.over = true;
        let (future, waiting) = (slot.future.take(), slot.waiting.take());
        drop(slot);
        drop(future);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// A task and its handle.
pub(super) fn new<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> (SimTask<T>, BoxFuture) {
    let slot = Slot {
        future: Some(Box::pin(future) as Pin<Box<dyn Future<Output = T> + Send>>),
        output: None,
        over: false,
        task: None,
        waiting: None,
    };
    let slot = Arc::new(Mutex::new(slot));
    (SimTask { slot: Arc::clone(&slot) }, Box::pin(Body(slot)))
}
