//! Events of a client, for those who want to know.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rocketmq_core::Event;

use crate::client::Handle;

/// Events that one stream holds; with the next one the oldest is dropped.
pub const EVENTS_MAX: usize = 1_024;

/// The events of one client, from the moment at which the stream was made.
///
/// At most [`EVENTS_MAX`] events wait in it. Whoever reads too slowly loses the oldest ones, and
/// learns how many from [`EventStream::dropped`]. Which kinds of events there are is set by
/// [`Config::events`](rocketmq_core::Config::events). The stream counts as a handle: the client
/// lives on while there is one.
pub struct EventStream {
    subscriber: Arc<Subscriber>,
    handle: Arc<Handle>,
}

impl EventStream {
    pub(crate) fn new(handle: Arc<Handle>) -> EventStream {
        EventStream { subscriber: handle.shared.hub.subscribe(), handle }
    }

    /// The next event, or `None` once the client has closed and all events have been read.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`EventStream::next`], for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut queue = self.subscriber.lock();
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if queue.ended {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next event, if there is one by now.
    pub fn try_next(&mut self) -> Option<Event> {
        self.subscriber.lock().events.pop_front()
    }

    /// How many events were dropped so far because nobody read them.
    pub fn dropped(&self) -> u64 {
        self.subscriber.lock().dropped
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.handle.shared.hub.unsubscribe(&self.subscriber);
    }
}

/// Hands every event to every stream.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    subscribers: Mutex<Subscribers>,
    /// Their number, so that events cost nothing while there is none.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Subscribers {
    list: Vec<Arc<Subscriber>>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Subscriber(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    dropped: u64,
    ended: bool,
    waker: Option<Waker>,
}

impl Hub {
    fn subscribe(&self) -> Arc<Subscriber> {
        let subscriber = Arc::new(Subscriber::default());
        let mut subscribers = self.lock();
        subscriber.lock().ended = subscribers.ended;
        subscribers.list.push(Arc::clone(&subscriber));
        self.count.store(subscribers.list.len(), Ordering::Relaxed);
        subscriber
    }

    fn unsubscribe(&self, subscriber: &Arc<Subscriber>) {
        let mut subscribers = self.lock();
        subscribers.list.retain(|known| !Arc::ptr_eq(known, subscriber));
        self.count.store(subscribers.list.len(), Ordering::Relaxed);
    }

    /// Gives `event` to all streams. `wakers` are to be woken afterwards.
    pub(crate) fn publish(&self, event: Event, wakers: &mut Vec<Waker>) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        for subscriber in &self.lock().list {
            let mut queue = subscriber.lock();
            if queue.events.len() >= EVENTS_MAX {
                queue.events.pop_front();
                queue.dropped += 1;
            }
            queue.events.push_back(event.clone());
            wakers.extend(queue.waker.take());
        }
    }

    /// There will be no further event.
    pub(crate) fn end(&self, wakers: &mut Vec<Waker>) {
        let mut subscribers = self.lock();
        subscribers.ended = true;
        for subscriber in &subscribers.list {
            let mut queue = subscriber.lock();
            queue.ended = true;
            wakers.extend(queue.waker.take());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
