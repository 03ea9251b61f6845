//! `rmq send`.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::CommandFactory;
use clap::error::ErrorKind;
use rocketmq_tokio::{
    AddressMap, ClientOptions, Config, Message, Producer, SendError, SendOptions,
};
use smol::channel::Receiver;
use smol::{LocalExecutor, Timer, future};

use crate::args::Arguments;
use crate::console::{Console, Progress, write_line};
use crate::interrupt::Stop;
use crate::report::summary::Summary;
use crate::report::{Ended, failure, json, stored};
use crate::text::harmless;
use crate::{DONE, INCOMPLETE, USAGE};

pub(crate) mod args;
mod conflicts;
mod source;
mod template;

use args::{EndName, SendArguments, Switch};
use source::{Content, Load, Source};
use template::Template;

/// Longest wait for the sends under way after Ctrl-C.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for brokers to take note of the end, once all sends have ended.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// In-flight bound of the client, unless more is asked for: its default.
const IN_FLIGHT_MIN: u32 = 1_024;

/// Sends what the arguments say.
pub(crate) fn run(arguments: SendArguments) -> ExitCode {
    if let Some(conflict) = conflicts::conflict(&arguments) {
        usage_error(&conflict);
    }
    let config = match config(&arguments) {
        Ok(config) => config,
        Err(error) => usage_error(&error),
    };
    let options = match arguments.transport.options(config) {
        Ok(options) => options,
        Err(error) => usage_error(&error),
    };
    let runtime = arguments.runtime;
    let status = runtime.block_on(carry_out(arguments, options)).unwrap_or_else(|error| {
        write_line(&format!("rmq: the runtime cannot start: {error}"));
        INCOMPLETE
    });
    ExitCode::from(status)
}

/// Ends the process as clap does when it refuses an argument itself.
pub(crate) fn usage_error(message: &str) -> ! {
    let error = Arguments::command().error(ErrorKind::ValueValidation, harmless(message));
    // Standard error may be closed.
    let _ = error.print();
    std::process::exit(i32::from(USAGE))
}

fn config(arguments: &SendArguments) -> Result<Config, String> {
    let rules = arguments.address_rules.iter().cloned();
    let map = rules.fold(AddressMap::new(), |map, (from, to)| map.with_rule(from, to));
    let mut builder = Config::builder(&arguments.name_server)
        .topic(&*arguments.topic)
        .namespace(&*arguments.namespace)
        .vip_channel(arguments.vip)
        .encoding(arguments.encoding.into())
        .send_timeout(arguments.timeout)
        .retries_max(arguments.retries)
        .in_flight_messages_max(arguments.in_flight.max(IN_FLIGHT_MIN))
        .latency_avoidance(arguments.latency_avoidance == Switch::On)
        .address_map(map);
    if let Some(strategy) = arguments.strategy {
        builder = builder.queue_strategy(strategy.into());
    }
    if let Some(compression) = arguments.compression {
        builder = builder.compression(compression.into());
    }
    if let Some(bytes) = arguments.compress_over {
        builder = builder.compress_over(bytes);
    }
    arguments.access.apply(builder)?.build().map_err(|error| error.to_string())
}

/// Everything between the start of the client and its end. Gives the exit status.
async fn carry_out(arguments: SendArguments, options: ClientOptions) -> u8 {
    let started = arguments.runtime.start(options);
    let producer = started.and_then(|client| Ok(client.producer(&arguments.group)?));
    let producer = match producer {
        Ok(producer) => producer,
        Err(error) => usage_error(&error.to_string()),
    };
    let content = Content::new(&arguments);
    let total = content.total();
    let stop = Stop::new();
    let console = Console::new(total);
    if total.is_none() && io::stdin().is_terminal() {
        console.line("each line is a message; end with Ctrl-D");
    }
    let on_first = {
        let console = console.clone();
        move || {
            let seconds = DRAIN_TIMEOUT.as_secs();
            console.line(&format!(
                "stopping: the sends under way get up to {seconds} s; Ctrl-C again ends at once"
            ));
        }
    };
    if let Err(error) = stop.on_interrupt(on_first) {
        console.line(&format!("Ctrl-C will end at once, without a report: {error}"));
    }
    let start = Instant::now();
    let capacity = arguments.in_flight as usize;
    let together = arguments.batch.map_or(1, |messages| messages as usize);
    let source = Source::start(content, arguments.rate, together, capacity, &stop, &console);
    let source = match source {
        Ok(source) => source,
        Err(error) => {
            console.line(&format!("rmq: no thread for the messages: {error}"));
            return INCOMPLETE;
        }
    };
    let topic = harmless(&arguments.topic);
    let sending = Sending::new(arguments, producer, stop, console, total);
    sending.send_all(source.items()).await;
    sending.finish(&source, &topic, start.elapsed()).await
}

/// What all sends share.
struct Sending {
    in_flight: u32,
    oneway: bool,
    batched: bool,
    transaction: Option<EndName>,
    vip: bool,
    json: bool,
    single: bool,
    template: Template,
    /// Batches that have ended.
    batches: Cell<u64>,
    producer: Producer,
    stop: Stop,
    console: Console,
    tally: RefCell<Tally>,
}

struct Tally {
    summary: Summary,
    progress: Progress,
    /// Nobody reads standard output any more.
    output_closed: bool,
}

impl Sending {
    fn new(
        arguments: SendArguments,
        producer: Producer,
        stop: Stop,
        console: Console,
        total: Option<u64>,
    ) -> Sending {
        let progress = Progress::new(console.clone());
        Sending {
            in_flight: arguments.in_flight,
            oneway: arguments.oneway,
            batched: arguments.batch.is_some(),
            transaction: arguments.transaction,
            vip: arguments.vip,
            json: arguments.json,
            single: total == Some(1),
            template: Template::new(arguments),
            batches: Cell::new(0),
            producer,
            stop,
            console,
            tally: RefCell::new(Tally { summary: Summary::new(), progress, output_closed: false }),
        }
    }

    /// Sends until there is nothing more to send, or sending shall stop.
    async fn send_all(&self, items: &Receiver<Load>) {
        let executor = LocalExecutor::new();
        let workers: Vec<_> =
            (0..self.in_flight).map(|_| executor.spawn(self.work(items.clone()))).collect();
        let finished = async {
            for worker in workers {
                worker.await;
            }
        };
        let stopped = async {
            self.stop.wait().await;
            items.close();
            // Ends every open send, in time or with its verdict; the workers see it and end.
            self.producer.close(DRAIN_TIMEOUT).await;
            future::pending::<()>().await;
        };
        executor.run(future::or(finished, stopped)).await;
    }

    /// Sends one load after the other.
    async fn work(&self, items: Receiver<Load>) {
        while let Ok(load) = items.recv().await {
            if self.stop.is_stopped() {
                return;
            }
            if self.batched {
                self.send_batch(load).await;
                continue;
            }
            for (number, body) in (load.first..).zip(load.bodies) {
                let length = body.len();
                let ended = self.send(number, self.template.message(body)).await;
                self.tally.borrow_mut().summary.add(&ended, length);
                self.report(&ended, None);
            }
        }
    }

    async fn send(&self, number: u64, message: Message) -> Ended {
        let options = self.template.options(number);
        if self.oneway {
            let sent = self.producer.send_oneway_with(message, options).await;
            return sent.map_or_else(Ended::Failed, Ended::Sent);
        }
        if let Some(end) = self.transaction {
            return self.send_in_transaction(message, options, end).await;
        }
        let stored = self.producer.send_with(message, options).await;
        stored.map_or_else(Ended::Failed, Ended::Stored)
    }

    async fn send_in_transaction(
        &self,
        message: Message,
        options: SendOptions,
        end: EndName,
    ) -> Ended {
        let transaction = match self.producer.begin_transaction_with(message, options).await {
            Ok(transaction) => transaction,
            Err(error) => return Ended::Failed(error),
        };
        let receipt = transaction.receipt().clone();
        let Some(decision) = end.decision() else { return Ended::Stored(receipt) };
        match transaction.decide(decision).await {
            Ok(()) => Ended::Stored(receipt),
            Err(error) => Ended::NotDecided(receipt, error),
        }
    }

    async fn send_batch(&self, load: Load) {
        let options = self.template.options(load.first);
        let lengths: Vec<_> = load.bodies.iter().map(|body| body.len()).collect();
        let messages = load.bodies.into_iter().map(|body| self.template.message(body));
        let ended = self.producer.send_batch_with(messages, options).await;
        let batch = self.batches.get() + 1;
        self.batches.set(batch);
        match ended {
            Ok(receipts) => {
                for (receipt, length) in receipts.into_iter().zip(lengths) {
                    let ended = Ended::Stored(receipt);
                    self.tally.borrow_mut().summary.add(&ended, length);
                    self.report(&ended, Some(batch));
                }
            }
            Err(error) => self.report_batch(&error, lengths.len(), batch),
        }
    }

    /// Tells of a message that has ended, in this batch if it was in one.
    fn report(&self, ended: &Ended, batch: Option<u64>) {
        if self.json {
            self.print(|| json::line(ended, batch, self.transaction));
        } else {
            match ended {
                Ended::Failed(error) => self.console.line(&failure::line(error, self.vip)),
                Ended::NotDecided(_, error) => self.console.line(&failure::not_decided(error)),
                Ended::Stored(receipt) if self.single => {
                    self.console.line(&stored::line(receipt, self.transaction));
                }
                Ended::Stored(_) | Ended::Sent(_) => {}
            }
        }
        self.show_progress();
    }

    /// Tells of a batch that failed: people once, machines for each of its messages.
    fn report_batch(&self, error: &SendError, messages: usize, batch: u64) {
        self.tally.borrow_mut().summary.add_failed(error, messages as u64);
        if self.json {
            for index in 0..messages {
                self.print(|| json::member_line(error, index, batch));
            }
        } else {
            self.console.line(&failure::line(error, self.vip));
        }
        self.show_progress();
    }

    /// Writes a line on standard output, unless nobody reads it any more.
    fn print(&self, line: impl FnOnce() -> String) {
        // Never held across a wait: one thread runs all workers.
        let mut tally = self.tally.borrow_mut();
        if !tally.output_closed
            && let Err(error) = print(&line())
        {
            tally.output_closed = true;
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.console.line(&format!("rmq: standard output: {error}"));
                tally.summary.note_failure();
            }
            self.stop.stop();
        }
    }

    fn show_progress(&self) {
        let mut tally = self.tally.borrow_mut();
        let (count, failed) = (tally.summary.ended(), tally.summary.failed());
        tally.progress.update(count, failed);
    }

    /// Prints the summary and says goodbye to the brokers. Gives the exit status.
    async fn finish(&self, source: &Source, topic: &str, time: Duration) -> u8 {
        self.console.finish();
        let status = {
            let summary = &mut self.tally.borrow_mut().summary;
            summary.note_batches(self.batches.get());
            summary.add_unsent(source.missing(summary.ended()));
            if source.has_failed() {
                summary.note_failure();
            }
            summary.lines(topic, time).iter().for_each(|line| self.console.line(line));
            if summary.is_complete() { DONE } else { INCOMPLETE }
        };
        let farewell = async {
            self.producer.close(FAREWELL_TIMEOUT).await;
        };
        let late = async {
            Timer::after(FAREWELL_TIMEOUT).await;
        };
        future::or(farewell, late).await;
        status
    }
}

/// One line on standard output, at once.
fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
