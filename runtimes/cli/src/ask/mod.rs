//! `rmq request`, `rmq route`, `rmq topic`, `rmq offsets`, `rmq view` and `rmq diagnose`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rocketmq_tokio::{
    Admin, Client, QueryError, QueueOffsets, RecallHandle, Severity, TopicCreation,
};

use crate::console::{Console, write_line};
use crate::send::usage_error;
use crate::text::{bounded, harmless};
use crate::{DONE, INCOMPLETE};

pub(crate) mod args;
mod json;
mod table;

use args::{
    CreateArguments, DiagnoseArguments, OffsetsArguments, RecallArguments, RequestArguments,
    RouteArguments, ServerArguments, TopicArguments, TopicCommand, ViewArguments,
};

/// What a command found: lines for standard output, and whether all is well.
struct Report {
    lines: Vec<String>,
    /// For standard error, where `lines` are for people.
    failure: Option<String>,
    complete: bool,
}

impl Report {
    fn done(lines: Vec<String>) -> Report {
        Report { lines, failure: None, complete: true }
    }

    /// What came of one question. `json`: the lines for machines, if those are wanted.
    fn of<T>(
        result: Result<T, QueryError>,
        is_complete: impl FnOnce(&T) -> bool,
        json: Option<Vec<String>>,
        table: impl FnOnce(&T) -> Vec<String>,
    ) -> Report {
        let complete = result.as_ref().is_ok_and(is_complete);
        match (json, result) {
            (Some(lines), _) => Report { complete, ..Report::done(lines) },
            (None, Ok(found)) => Report { complete, ..Report::done(table(&found)) },
            (None, Err(error)) => {
                Report { lines: Vec::new(), failure: Some(error.to_string()), complete }
            }
        }
    }
}

/// Sends a message and waits for its reply.
pub(crate) fn request(arguments: &RequestArguments) -> ExitCode {
    let servers = &arguments.servers;
    run(servers, async |client| {
        let producer = match client.producer(&arguments.group) {
            Ok(producer) => producer,
            Err(error) => usage_error(&error.to_string()),
        };
        let start = Instant::now();
        let request = producer.request(arguments.message(), servers.timeout);
        let id = request.correlation_id();
        let replied = request.await;
        let elapsed = start.elapsed();
        let complete = replied.is_ok();
        match (servers.json, replied) {
            (true, replied) => {
                let line = json::replied(&arguments.topic, id, &replied, elapsed);
                Report { complete, ..Report::done(vec![line]) }
            }
            (false, Ok(reply)) => Report::done(table::reply(&reply, elapsed)),
            (false, Err(error)) => {
                Report { lines: Vec::new(), failure: Some(error.to_string()), complete }
            }
        }
    })
}

/// Where the queues of a topic are.
pub(crate) fn route(arguments: &RouteArguments) -> ExitCode {
    let RouteArguments { servers, topic, .. } = arguments;
    run(servers, async |client| {
        let route = admin(&client, servers).route(topic).await;
        let json = servers.json.then(|| vec![json::route(topic, &route)]);
        Report::of(route, |_| true, json, table::route)
    })
}

/// Makes topics.
pub(crate) fn topic(arguments: &TopicArguments) -> ExitCode {
    let TopicCommand::Create(arguments) = &arguments.command;
    create(arguments)
}

fn create(arguments: &CreateArguments) -> ExitCode {
    let servers = &arguments.servers;
    run(servers, async |client| {
        let created = admin(&client, servers).create_topic(arguments.settings()).await;
        let json = servers.json.then(|| vec![json::created(arguments, &created)]);
        let table = |created: &_| table::created(created, arguments.queues);
        Report::of(created, TopicCreation::is_complete, json, table)
    })
}

/// How many messages the queues of a topic have.
pub(crate) fn offsets(arguments: &OffsetsArguments) -> ExitCode {
    let OffsetsArguments { servers, topic, .. } = arguments;
    run(servers, async |client| {
        let offsets = admin(&client, servers).offsets(topic).await;
        let json = servers.json.then(|| json::offsets(topic, &offsets));
        let all = |queues: &Vec<QueueOffsets>| queues.iter().all(|queue| queue.range.is_ok());
        Report::of(offsets, all, json, |queues| table::offsets(queues))
    })
}

/// One stored message.
pub(crate) fn view(arguments: &ViewArguments) -> ExitCode {
    let ViewArguments { servers, topic, id, .. } = arguments;
    run(servers, async |client| {
        let found = admin(&client, servers).view(topic, id).await;
        let json = servers.json.then(|| vec![json::message(topic, &found)]);
        Report::of(found, |_| true, json, table::message)
    })
}

/// Takes a timer message back.
pub(crate) fn recall(arguments: &RecallArguments) -> ExitCode {
    let RecallArguments { topic, handle, group, servers } = arguments;
    run(servers, async |client| {
        let producer = match client.producer(group) {
            Ok(producer) => producer,
            Err(error) => usage_error(&error.to_string()),
        };
        let recalled = producer.recall(topic, handle).await;
        let json = servers.json.then(|| vec![json::recalled(topic, handle, &recalled)]);
        let key = handle.parse::<RecallHandle>().map(|handle| handle.unique_key);
        let table = |_: &()| vec![format!("recalled {}", key.unwrap_or_default())];
        Report::of(recalled, |_| true, json, table)
    })
}

/// What is wrong between here and a stored message.
pub(crate) fn diagnose(arguments: &DiagnoseArguments) -> ExitCode {
    run(&arguments.servers, async |client| {
        let diagnosis = client.diagnose(arguments.topic.as_deref()).await;
        let complete = diagnosis.severity() < Severity::Problem;
        let lines = diagnosis.findings.iter().map(|finding| {
            if arguments.servers.json { json::finding(finding) } else { finding.to_string() }
        });
        Report { complete, ..Report::done(lines.collect()) }
    })
}

fn admin(client: &Client, servers: &ServerArguments) -> Admin {
    client.admin().with_timeout(servers.timeout)
}

fn run(servers: &ServerArguments, ask: impl AsyncFnOnce(Client) -> Report) -> ExitCode {
    let options = match servers.options() {
        Ok(options) => options,
        Err(error) => usage_error(&error),
    };
    let whole = async {
        let client = match servers.runtime.start(options) {
            Ok(client) => client,
            Err(error) => usage_error(&error.to_string()),
        };
        let report = ask(client.clone()).await;
        // At once, unless brokers know a group and have to be told goodbye.
        client.close(Duration::from_secs(1)).await;
        report
    };
    let report = match servers.runtime.block_on(whole) {
        Ok(report) => report,
        Err(error) => {
            write_line(&format!("rmq: the runtime cannot start: {error}"));
            return ExitCode::from(INCOMPLETE);
        }
    };
    let console = Console::new(Some(0));
    for line in &report.lines {
        let safe = if servers.json { line.clone() } else { harmless(line) };
        console.print(&safe);
    }
    if let Some(failure) = &report.failure {
        write_line(&format!("rmq: {}", harmless(bounded(failure))));
    }
    ExitCode::from(if report.complete { DONE } else { INCOMPLETE })
}
