//! Names of operations for what the client sends by itself, beside the room of the application.

use rocketmq_core::OpId;

use super::Shared;

impl Shared {
    /// The name of a send that takes no room.
    pub(crate) fn lend_op(&self) -> OpId {
        self.lock().ids.allocate()
    }

    /// It has ended.
    pub(crate) fn take_op_back(&self, op: OpId) {
        self.lock().ids.free(op);
    }
}
