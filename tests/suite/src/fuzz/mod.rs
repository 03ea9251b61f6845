//! Bodies of the fuzz targets. They take any bytes and panic when something is wrong.
//!
//! The targets in `fuzz/` only call them, so that every build compiles the bodies and the ordinary
//! tests replay the corpora on a stable compiler.

mod bytes;
mod client;
mod corpus;
mod frame;
mod header;
mod model;
mod properties;
mod route;
mod split;
mod world;

pub use client::{client, client_outcome};
pub use corpus::{Mutator, dictionary, seeds};
pub use frame::frame;
pub use header::header;
pub use properties::properties;
pub use route::route;
pub use split::split;

/// A target's body.
pub type Body = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Body); 6] = [
    ("frame", frame),
    ("split", split),
    ("header", header),
    ("route", route),
    ("properties", properties),
    ("client", client),
];
