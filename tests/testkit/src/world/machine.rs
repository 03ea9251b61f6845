//! A client's machine, and whether anything was put into it.

use std::ops::{Deref, DerefMut};

use rocketmq_core::Client;

/// A machine that remembers whether it may have something to say: with no input, no output.
///
/// Whoever could put something in counts as having done so.
pub(super) struct Machine {
    client: Client,
    touched: bool,
}

impl Machine {
    pub(super) fn new(client: Client) -> Self {
        Self { client, touched: true }
    }

    /// Whether something may have been put in since [`rest`](Self::rest).
    pub(super) fn is_touched(&self) -> bool {
        self.touched
    }

    /// Everything that it had to say was taken.
    pub(super) fn rest(&mut self) {
        self.touched = false;
    }

    /// For taking out.
    pub(super) fn outlet(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Deref for Machine {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Machine {
    fn deref_mut(&mut self) -> &mut Client {
        self.touched = true;
        &mut self.client
    }
}
