//! Runs every example of the tokio crate once, on a cluster of its own.
// What only their `main` needs is not used here, and each has its own copy of the module `support`.
#![allow(dead_code, unreachable_pub, clippy::duplicate_mod)]

use std::error::Error;
use std::fs;
use std::path::Path;

#[path = "../../../runtimes/tokio/examples/admin.rs"]
mod admin;
#[path = "../../../runtimes/tokio/examples/batch.rs"]
mod batch;
#[path = "../../../runtimes/tokio/examples/compression.rs"]
mod compression;
#[path = "../../../runtimes/tokio/examples/errors.rs"]
mod errors;
#[path = "../../../runtimes/tokio/examples/interceptor.rs"]
mod interceptor;
#[path = "../../../runtimes/tokio/examples/ordered.rs"]
mod ordered;
#[path = "../../../runtimes/tokio/examples/request.rs"]
mod request;
#[path = "../../../runtimes/tokio/examples/send.rs"]
mod send;
#[path = "../../../runtimes/tokio/examples/shutdown.rs"]
mod shutdown;
#[path = "../../../runtimes/tokio/examples/tls.rs"]
mod tls;
#[path = "../../../runtimes/tokio/examples/transaction.rs"]
mod transaction;

#[path = "../../../runtimes/tokio/examples/support/mod.rs"]
mod support;

fn on_a_cluster_of_its_own(run: impl AsyncFnOnce(&str) -> Result<(), Box<dyn Error>>) {
    let servers = support::Servers::local().expect("loopback sockets");
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(run(servers.name_servers())).expect("the example ends well");
}

#[test]
fn the_example_admin_runs() {
    on_a_cluster_of_its_own(async |name_servers| admin::run(name_servers).await);
}

#[test]
fn the_example_transaction_runs() {
    on_a_cluster_of_its_own(async |name_servers| transaction::run(name_servers).await);
}

#[test]
fn the_example_request_runs() {
    on_a_cluster_of_its_own(async |name_servers| request::run(name_servers).await);
}

#[test]
fn the_example_batch_runs() {
    on_a_cluster_of_its_own(async |name_servers| batch::run(name_servers).await);
}

#[test]
fn the_example_compression_runs() {
    on_a_cluster_of_its_own(async |name_servers| compression::run(name_servers).await);
}

#[test]
fn the_example_errors_runs() {
    on_a_cluster_of_its_own(async |name_servers| errors::run(name_servers).await);
}

#[test]
fn the_example_interceptor_runs() {
    on_a_cluster_of_its_own(async |name_servers| interceptor::run(name_servers).await);
}

#[test]
fn the_example_ordered_runs() {
    on_a_cluster_of_its_own(async |name_servers| ordered::run(name_servers).await);
}

#[test]
fn the_example_send_runs() {
    on_a_cluster_of_its_own(async |name_servers| send::run(name_servers).await);
}

#[test]
fn the_example_shutdown_runs() {
    on_a_cluster_of_its_own(async |name_servers| shutdown::run(name_servers).await);
}

/// Its cluster is one that takes nothing but TLS.
#[test]
fn the_example_tls_runs() {
    on_a_cluster_of_its_own(async |_| tls::run().await);
}

#[test]
fn no_example_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes/tokio/examples");
    let here = include_str!("examples.rs");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the examples").flatten() {
        let name = entry.file_name().into_string().expect("a name");
        if let Some(name) = name.strip_suffix(".rs") {
            assert!(here.contains(&format!("fn the_example_{name}_runs()")), "{name}");
            count += 1;
        }
    }
    assert_eq!(count, 11);
}
