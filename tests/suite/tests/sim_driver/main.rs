//! The driver in virtual time: handles, futures, close and cancellation against a faulty cluster.

mod batches;
mod chaos;
mod corners;
mod discovery;
mod edges;
mod ledger;
mod messages;
mod scenarios;
mod swarm;
mod users;
