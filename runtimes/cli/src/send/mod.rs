//! `rmq send`.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::CommandFactory;
use clap::error::ErrorKind;
use rocketmq_tokio::{
    AddressMap, Config, ConfigError, Encoding, Message, Producer, SendOptions, SendReceipt,
};
use smol::channel::Receiver;
use smol::{LocalExecutor, Timer, future};

use crate::args::{Arguments, EncodingName, SendArguments};
use crate::console::{Console, Progress, write_line};
use crate::interrupt::Stop;
use crate::report::summary::Summary;
use crate::report::{Ended, failure, json};
use crate::text::{harmless, short_millis};
use crate::{DONE, INCOMPLETE, USAGE};

mod source;

use source::{Content, Source};

/// Longest wait for the sends under way after Ctrl-C.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for brokers to take note of the end, once all sends have ended.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// In-flight bound of the client, unless more is asked for: its default.
const IN_FLIGHT_MIN: u32 = 1_024;

/// Sends what the arguments say.
pub(crate) fn run(arguments: SendArguments) -> ExitCode {
    let config = match config(&arguments) {
        Ok(config) => config,
        Err(error) => usage_error(&error.to_string()),
    };
    let runtime = arguments.runtime;
    let status = runtime.block_on(carry_out(arguments, config)).unwrap_or_else(|error| {
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

fn config(arguments: &SendArguments) -> Result<Config, ConfigError> {
    let rules = arguments.address_rules.iter().cloned();
    let map = rules.fold(AddressMap::new(), |map, (from, to)| map.with_rule(from, to));
    Config::builder(&arguments.name_server)
        .topic(&*arguments.topic)
        .encoding(match arguments.encoding {
            EncodingName::Json => Encoding::Json,
            EncodingName::Binary => Encoding::Binary,
        })
        .send_timeout(arguments.timeout)
        .retries_max(arguments.retries)
        .in_flight_messages_max(arguments.in_flight.max(IN_FLIGHT_MIN))
        .address_map(map)
        .build()
}

/// Everything between the start of the client and its end. Gives the exit status.
async fn carry_out(arguments: SendArguments, config: Config) -> u8 {
    let started = arguments.runtime.start(config);
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
    let source = match Source::start(content, arguments.rate, capacity, &stop, &console) {
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
    json: bool,
    single: bool,
    template: Template,
    options: SendOptions,
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
        let mut options = SendOptions::new();
        if let Some(queue) = arguments.queue.clone() {
            options = options.with_queue(queue);
        }
        let progress = Progress::new(console.clone());
        Sending {
            in_flight: arguments.in_flight,
            oneway: arguments.oneway,
            json: arguments.json,
            single: total == Some(1),
            template: Template::new(arguments),
            options,
            producer,
            stop,
            console,
            tally: RefCell::new(Tally { summary: Summary::new(), progress, output_closed: false }),
        }
    }

    /// Sends until there is nothing more to send, or sending shall stop.
    async fn send_all(&self, items: &Receiver<Bytes>) {
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

    /// Sends one message after the other.
    async fn work(&self, items: Receiver<Bytes>) {
        while let Ok(body) = items.recv().await {
            if self.stop.is_stopped() {
                return;
            }
            let length = body.len();
            let ended = self.send(self.template.message(body)).await;
            self.report(&ended, length);
        }
    }

    async fn send(&self, message: Message) -> Ended {
        let options = self.options.clone();
        if self.oneway {
            let sent = self.producer.send_oneway_with(message, options).await;
            return sent.map_or_else(Ended::Failed, Ended::Sent);
        }
        let stored = self.producer.send_with(message, options).await;
        stored.map_or_else(Ended::Failed, Ended::Stored)
    }

    fn report(&self, ended: &Ended, body_bytes: usize) {
        // Never held across a wait: one thread runs all workers.
        let mut tally = self.tally.borrow_mut();
        tally.summary.add(ended, body_bytes);
        let (count, failed) = (tally.summary.ended(), tally.summary.failed());
        tally.progress.update(count, failed);
        if !self.json {
            match ended {
                Ended::Failed(error) => self.console.line(&failure::line(error)),
                Ended::Stored(receipt) if self.single => self.console.line(&stored_line(receipt)),
                Ended::Stored(_) | Ended::Sent(_) => {}
            }
        } else if !tally.output_closed
            && let Err(error) = print(&json::line(ended))
        {
            tally.output_closed = true;
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.console.line(&format!("rmq: standard output: {error}"));
                tally.summary.note_failure();
            }
            self.stop.stop();
        }
    }

    /// Prints the summary and says goodbye to the brokers. Gives the exit status.
    async fn finish(&self, source: &Source, topic: &str, time: Duration) -> u8 {
        self.console.finish();
        let status = {
            let summary = &mut self.tally.borrow_mut().summary;
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

fn stored_line(receipt: &SendReceipt) -> String {
    let place = receipt.position.map_or_else(String::new, |position| {
        format!(" queue {} at offset {}", position.queue_id, position.queue_offset)
    });
    harmless(&format!(
        "stored on broker \"{}\"{place} as {} after {}: {}",
        receipt.broker_name,
        receipt.unique_key,
        short_millis(receipt.elapsed),
        receipt.status
    ))
}

/// What all messages have in common. The texts live as long as the process, so that messages
/// need no copies of them.
struct Template {
    topic: &'static str,
    tag: Option<&'static str>,
    keys: Vec<&'static str>,
    properties: Vec<(&'static str, &'static str)>,
}

impl Template {
    fn new(arguments: SendArguments) -> Template {
        let keys: &'static str = arguments.keys.unwrap_or_default().leak();
        let properties = arguments.properties.into_iter();
        Template {
            topic: arguments.topic.leak(),
            tag: arguments.tag.map(|tag| &*tag.leak()),
            keys: keys.split_whitespace().collect(),
            properties: properties.map(|(name, value)| (&*name.leak(), &*value.leak())).collect(),
        }
    }

    fn message(&self, body: Bytes) -> Message {
        let mut message = Message::new(self.topic, body);
        if let Some(tag) = self.tag {
            message = message.with_tag(tag);
        }
        for key in &self.keys {
            message = message.with_key(*key);
        }
        for (name, value) in &self.properties {
            message = message.with_property(*name, *value);
        }
        message
    }
}
