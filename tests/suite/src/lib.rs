//! What the tests of this package share. The tests themselves are in `tests/`.

pub mod conformance;
pub mod fuzz;
