//! What the tests of this package share. The tests themselves are in `tests/`.

pub mod conformance;
pub mod fuzz;
pub mod hunt;

/// The README's example, compiled by the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub mod readme {}

/// The manual's page about tests, which needs the test kit that the driver's own doc tests lack.
#[cfg(doctest)]
#[doc = include_str!("../../../runtimes/driver/src/manual/testing.md")]
pub mod manual_testing {}
