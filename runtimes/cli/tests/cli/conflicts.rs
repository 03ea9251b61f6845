//! Options that contradict each other, or that this build does not have.

use rocketmq_tokio::Compression;

use crate::common::{rmq_send, run, single};

#[test]
fn options_that_contradict_each_other_are_refused_at_once_with_both_names() {
    let cluster = single();
    for (options, named) in [
        (&["--order-by=k", "--selector=random"][..], ["--order-by", "--selector random"]),
        (&["--order-by=k", "--selector=round-robin"], ["--order-by", "--selector round-robin"]),
        (&["--order-by=k", "--oneway"], ["--order-by", "--oneway"]),
        (&["--queue=a:0", "--selector=java-hash"], ["--queue", "--selector java-hash"]),
        (&["--batch=2", "--deliver-after=1s"], ["--batch", "--deliver-after"]),
        (&["--batch=2", "--delay-level=3"], ["--batch", "--delay-level"]),
        (&["--batch=2", "--compression=zlib"], ["--batch", "--compression zlib"]),
        (&["--batch=2", "--compress-over=1"], ["--batch", "--compress-over"]),
        (&["--batch=2", "--oneway"], ["--batch", "--oneway"]),
        (&["--delay-level=3", "--deliver-after=1s"], ["--delay-level", "--deliver-after"]),
        (&["--compression=none", "--compress-over=1"], ["--compression none", "--compress-over"]),
        (&["--strategy=current", "--queue=a:0"], ["--strategy current", "--queue"]),
        (&["--strategy=java-5.0.0", "--order-by=k"], ["--strategy java-5.0.0", "--order-by"]),
        (&["--strategy=current", "--selector=go-hash"], ["--strategy", "--selector go-hash"]),
        (&["--when-down=fail", "--selector=random"], ["--when-down", "--selector random"]),
        (&["--when-down=wait"], ["--when-down", "--order-by"]),
    ] {
        let done = run(rmq_send(&cluster, &[&["--body=x", "--json"], options].concat()));
        assert_eq!((done.status, &*done.stdout), (Some(2), ""), "{options:?}: {done:?}");
        let first = done.stderr.lines().next().expect("a line");
        assert!(first.starts_with("error: "), "{first}");
        for name in named {
            assert!(first.contains(name), "{name}: {first}");
        }
        assert!(first.contains("leave "), "what to do: {first}");
    }
    assert!(cluster.with(|cluster| cluster.frames().is_empty()), "servers were asked");
}

#[test]
fn what_fits_together_is_not_refused() {
    let cluster = single();
    for options in [
        &["--order-by=k", "--queue=broker-a:1", "--when-down=fail"][..],
        &["--order-by=k", "--batch=2"],
        &["--batch=2", "--compression=none", "--queue=broker-a:0"],
        &["--selector=round-robin", "--strategy=java-5.0.0", "--latency-avoidance=off"],
        &["--selector=go-hash", "--when-down=move", "--batch=2"],
        &["--oneway", "--delay-level=1"],
    ] {
        let done = run(rmq_send(&cluster, &[&["--body=x"], options].concat()));
        assert_eq!(done.status, Some(0), "{options:?}: {done:?}");
    }
}

#[test]
fn a_compression_that_is_not_built_in_is_told_as_such() {
    let cluster = single();
    for (name, compression) in [("lz4", Compression::Lz4), ("zstd", Compression::Zstd)] {
        let option = format!("--compression={name}");
        let done = run(rmq_send(&cluster, &["--size=5000", &option]));
        if compression.is_built() {
            assert_eq!(done.status, Some(0), "{done:?}");
            continue;
        }
        assert_eq!(done.status, Some(2), "{done:?}");
        let features = format!("--features {name}");
        for words in [&*format!("--compression {name}"), "not built into", &features, "none, zlib"]
        {
            assert!(done.stderr.contains(words), "{words}: {done:?}");
        }
    }
}

#[test]
fn a_namespace_that_is_none_is_refused() {
    let cluster = single();
    let done = run(rmq_send(&cluster, &["--body=x", "--namespace=a b"]));
    assert_eq!(done.status, Some(2), "{done:?}");
    assert!(done.stderr.contains("\"a b\" is not a namespace"), "{done:?}");
}
