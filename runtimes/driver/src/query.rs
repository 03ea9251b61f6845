//! The way of one query from a handle to the machine and back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rocketmq_core::{Answer, Instant, Query, QueryError, QueryId};

use crate::client::Handle;
use crate::slot::Slot;

/// Where the result of a query is left.
pub(crate) type QuerySlot = Slot<Result<Answer, QueryError>>;

/// A query under way, from its call on. Dropping it gives the query up.
pub(crate) struct Asked {
    handle: Arc<Handle>,
    id: QueryId,
    slot: Arc<QuerySlot>,
    ended: bool,
}

impl Asked {
    /// Asks at once, whether or not the future is polled.
    pub(crate) fn start(handle: &Arc<Handle>, query: Query, deadline: Instant) -> Asked {
        let slot = Arc::new(Slot::new());
        let id = handle.shared.query(query, deadline, &slot);
        Asked { handle: Arc::clone(handle), id, slot, ended: false }
    }
}

impl Future for Asked {
    type Output = Result<Answer, QueryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = self.slot.poll(cx);
        self.ended |= poll.is_ready();
        poll
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.ended {
            self.handle.shared.cancel_query(self.id);
        }
    }
}

/// The queries that the driver has handed to the machine.
#[derive(Debug, Default)]
pub(crate) struct OpenQueries(Vec<(QueryId, Arc<QuerySlot>)>);

impl OpenQueries {
    pub(crate) fn enter(&mut self, id: QueryId, slot: Arc<QuerySlot>) {
        self.0.push((id, slot));
    }

    /// Takes a query out; `None` if it was given up.
    pub(crate) fn take(&mut self, id: QueryId) -> Option<Arc<QuerySlot>> {
        let position = self.0.iter().position(|(known, _)| *known == id)?;
        Some(self.0.swap_remove(position).1)
    }

    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Arc<QuerySlot>> {
        std::mem::take(&mut self.0).into_iter().map(|(_, slot)| slot)
    }
}
