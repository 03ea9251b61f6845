//! Options that do not go together, or that this build cannot carry out.

use rocketmq_tokio::Compression;

use super::args::{CompressionName, SelectorName, SendArguments, StrategyName};

/// What stands against these options together: names both sides, and says what to do.
pub(super) fn conflict(arguments: &SendArguments) -> Option<String> {
    if let Some(name) = arguments.compression
        && let Some(refused) = not_built(name.into())
    {
        return Some(refused);
    }
    let selector = arguments.selector.map(|name| format!("--selector {}", name.name()));
    let compression = arguments.compression.map(|name| Compression::from(name).to_string());
    let compressed = arguments.compression.is_some_and(|name| name != CompressionName::None);
    let pairs = [
        clash(
            arguments.order_by.is_some().then_some("--order-by"),
            selector.as_deref(),
            "both choose the queue; leave one of them out: an order needs the one queue of its key",
        ),
        clash(
            arguments.queue.is_some().then_some("--queue"),
            selector.as_deref(),
            "both choose the queue; leave one of them out",
        ),
        clash(
            arguments.order_by.is_some().then_some("--order-by"),
            arguments.oneway.then_some("--oneway"),
            "do not go together: brokers store messages that want no answer in any order; leave \
             one of them out",
        ),
        clash(
            arguments.deliver_after.is_some().then_some("--deliver-after"),
            arguments.delay_level.is_some().then_some("--delay-level"),
            "both say when to deliver, and brokers would pass over one of them; leave one of them \
             out",
        ),
        clash(
            compression
                .filter(|_| !compressed)
                .map(|name| format!("--compression {name}"))
                .as_deref(),
            arguments.compress_over.is_some().then_some("--compress-over"),
            "do not go together: there is nothing to compress; leave one of them out",
        ),
    ];
    let pairs = pairs.into_iter().chain(with_batch(arguments)).chain(with_strategy(arguments));
    let mut pairs = pairs.chain(with_transaction(arguments));
    pairs.find_map(|pair| pair).or_else(|| needless_when_down(arguments))
}

/// A compression that is not part of this build.
fn not_built(compression: Compression) -> Option<String> {
    use Compression::{Lz4, None as Plain, Zlib, Zstd};
    if compression.is_built() {
        return None;
    }
    let built = [Plain, Zlib, Lz4, Zstd].into_iter().filter(|one| one.is_built());
    let built: Vec<_> = built.map(|one| one.to_string()).collect();
    Some(format!(
        "--compression {compression}: it is not built into this rmq; build it with --features \
         {compression}, or take one of: {}",
        built.join(", ")
    ))
}

fn with_batch(arguments: &SendArguments) -> [Option<String>; 5] {
    let batch = arguments.batch.map(|_| "--batch");
    let compression = arguments.compression.filter(|name| *name != CompressionName::None);
    let compression = compression.map(|name| format!("--compression {}", Compression::from(name)));
    let delayed = "do not go together: brokers deliver the messages of a batch at once; leave one \
                   of them out";
    let compressed = "do not go together: batches are never compressed; leave one of them out";
    let present = |name, given: bool| given.then_some(name);
    [
        clash(batch, present("--deliver-after", arguments.deliver_after.is_some()), delayed),
        clash(batch, present("--delay-level", arguments.delay_level.is_some()), delayed),
        clash(batch, compression.as_deref(), compressed),
        clash(batch, present("--compress-over", arguments.compress_over.is_some()), compressed),
        clash(
            batch,
            present("--oneway", arguments.oneway),
            "do not go together: a batch is acknowledged message by message; leave one of them out",
        ),
    ]
}

/// A strategy has nothing to choose where something else does.
fn with_strategy(arguments: &SendArguments) -> [Option<String>; 3] {
    let strategy = arguments.strategy.map(|name| match name {
        StrategyName::Current => "--strategy current",
        StrategyName::Java500 => "--strategy java-5.0.0",
    });
    let chosen = "both choose the queue; leave one of them out";
    let selector = arguments.selector.filter(|name| *name != SelectorName::RoundRobin);
    let selector = selector.map(|name| format!("--selector {}", name.name()));
    [
        clash(strategy, selector.as_deref(), chosen),
        clash(strategy, arguments.queue.is_some().then_some("--queue"), chosen),
        clash(strategy, arguments.order_by.is_some().then_some("--order-by"), chosen),
    ]
}

fn with_transaction(arguments: &SendArguments) -> [Option<String>; 3] {
    let transaction = arguments.transaction.map(|_| "--transaction");
    [
        clash(
            transaction,
            arguments.batch.map(|_| "--batch"),
            "do not go together: each message is a transaction; leave one of them out",
        ),
        clash(
            transaction,
            arguments.oneway.then_some("--oneway"),
            "do not go together: a transaction begins with an acknowledgement; leave one of them \
             out",
        ),
        clash(
            transaction,
            arguments.delay_level.map(|_| "--delay-level"),
            "do not go together: brokers would drop the delay; leave one of them out",
        ),
    ]
}

fn needless_when_down(arguments: &SendArguments) -> Option<String> {
    let hashed = arguments.selector.is_some_and(SelectorName::is_hash);
    let belongs = hashed || arguments.queue.is_some() || arguments.order_by.is_some();
    let needless = arguments.when_down.is_some() && !belongs;
    needless.then(|| match arguments.selector {
        Some(name) => format!(
            "--when-down and --selector {} do not go together: it takes another broker anyway; \
             leave --when-down out",
            name.name()
        ),
        None => String::from(
            "--when-down is for messages that belong to one queue; give --order-by, --queue or a \
             hash by --selector as well, or leave it out",
        ),
    })
}

fn clash(first: Option<&str>, second: Option<&str>, why: &str) -> Option<String> {
    Some(format!("{} and {} {why}", first?, second?))
}
