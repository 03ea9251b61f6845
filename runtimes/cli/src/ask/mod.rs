//! `rmq route`, `rmq topic`, `rmq offsets`, `rmq view` and `rmq diagnose`.

use std::process::ExitCode;
use std::time::Duration;

use rocketmq_tokio::{Admin, Client, Severity};

use crate::console::{Console, write_line};
use crate::send::usage_error;
use crate::text::{bounded, harmless};
use crate::{DONE, INCOMPLETE};

pub(crate) mod args;
mod json;
mod table;

use args::{
    CreateArguments, DiagnoseArguments, OffsetsArguments, RouteArguments, ServerArguments,
    TopicArguments, TopicCommand, ViewArguments,
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

    fn failed(error: &rocketmq_tokio::QueryError) -> Report {
        Report { lines: Vec::new(), failure: Some(error.to_string()), complete: false }
    }
}

/// Where the queues of a topic are.
pub(crate) fn route(arguments: &RouteArguments) -> ExitCode {
    run(&arguments.servers, async |client| {
        let route = admin(&client, &arguments.servers).route(&arguments.topic).await;
        if arguments.servers.json {
            let complete = route.is_ok();
            let lines = vec![json::route(&arguments.topic, &route)];
            return Report { complete, ..Report::done(lines) };
        }
        match route {
            Ok(route) => Report::done(table::route(&route)),
            Err(error) => Report::failed(&error),
        }
    })
}

/// Makes topics.
pub(crate) fn topic(arguments: &TopicArguments) -> ExitCode {
    let TopicCommand::Create(arguments) = &arguments.command;
    create(arguments)
}

fn create(arguments: &CreateArguments) -> ExitCode {
    run(&arguments.servers, async |client| {
        let settings = arguments.settings();
        let created = admin(&client, &arguments.servers).create_topic(settings).await;
        let complete = created.as_ref().is_ok_and(|created| created.is_complete());
        if arguments.servers.json {
            let lines = vec![json::created(arguments, &created)];
            return Report { complete, ..Report::done(lines) };
        }
        match created {
            Ok(created) => {
                Report { complete, ..Report::done(table::created(&created, arguments.queues)) }
            }
            Err(error) => Report::failed(&error),
        }
    })
}

/// How many messages the queues of a topic have.
pub(crate) fn offsets(arguments: &OffsetsArguments) -> ExitCode {
    run(&arguments.servers, async |client| {
        let offsets = admin(&client, &arguments.servers).offsets(&arguments.topic).await;
        let all = |queues: &Vec<rocketmq_tokio::QueueOffsets>| {
            queues.iter().all(|queue| queue.range.is_ok())
        };
        let complete = offsets.as_ref().is_ok_and(all);
        if arguments.servers.json {
            let lines = json::offsets(&arguments.topic, &offsets);
            return Report { complete, ..Report::done(lines) };
        }
        match offsets {
            Ok(offsets) => Report { complete, ..Report::done(table::offsets(&offsets)) },
            Err(error) => Report::failed(&error),
        }
    })
}

/// One stored message.
pub(crate) fn view(arguments: &ViewArguments) -> ExitCode {
    run(&arguments.servers, async |client| {
        let admin = admin(&client, &arguments.servers);
        let found = admin.view(&arguments.topic, &arguments.id).await;
        if arguments.servers.json {
            let complete = found.is_ok();
            let lines = vec![json::message(&arguments.topic, &found)];
            return Report { complete, ..Report::done(lines) };
        }
        match found {
            Ok(message) => Report::done(table::message(&message)),
            Err(error) => Report::failed(&error),
        }
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
    let config = match servers.config() {
        Ok(config) => config,
        Err(error) => usage_error(&error.to_string()),
    };
    let whole = async {
        let client = match servers.runtime.start(config) {
            Ok(client) => client,
            Err(error) => usage_error(&error.to_string()),
        };
        let report = ask(client.clone()).await;
        // Nobody has to be told goodbye: no group is registered.
        client.close(Duration::ZERO).await;
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
