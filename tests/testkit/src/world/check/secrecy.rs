//! I-30: what the machine says never shows a body.

use super::facts::Facts;
use super::{Found, Observer, Seen};
use crate::world::Outcome;

/// A body that contains this is a secret.
pub(crate) const SECRET: &str = "secret~body";

#[derive(Debug, Default)]
pub(super) struct Secrecy;

/// A line of the story.
pub(super) fn line(text: &str, found: &mut Found) {
    if memchr::memmem::find(text.as_bytes(), SECRET.as_bytes()).is_some() {
        found.add(30, "a body appears in the story".to_owned());
    }
}

impl Observer for Secrecy {
    fn see(&mut self, _facts: &Facts, seen: &Seen<'_>, found: &mut Found) {
        if let Seen::Ended { op, outcome: Outcome::Failed(error), .. } = seen {
            let text = format!("{error:?} {error}");
            if text.contains(SECRET) {
                found.add(30, format!("the error of {op} shows the body"));
            }
        }
    }
}
