//! The driver in virtual time: handles, futures, close and cancellation against a faulty cluster.

mod chaos;
mod discovery;
mod ledger;
mod scenarios;
mod swarm;
mod users;
