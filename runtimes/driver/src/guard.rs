//! Calling code of the application, whose panic must not reach the driver.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `call` gives; `None` if it panics.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(panic) => {
            // What was thrown may throw in turn when it is dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
            None
        }
    }
}
