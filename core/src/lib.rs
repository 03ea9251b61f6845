//! To be written.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
pub mod limits;
pub mod wire;
