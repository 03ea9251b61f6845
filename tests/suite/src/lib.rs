//! What the tests of this package share. The tests themselves are in `tests/`.

pub mod conformance;
pub mod fuzz;
pub mod hunt;

/// The README's example, compiled by the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub mod readme {}
