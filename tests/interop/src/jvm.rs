//! One Java process: started with little memory, watched, signalled and ended by its id.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::environment::write;
use crate::{Environment, Result};

/// Small heaps, the simplest collector and the quick compiler: seconds matter, not throughput.
const FLAGS: &[&str] = &[
    "-Xms96m",
    "-Xmx256m",
    "-XX:MaxDirectMemorySize=256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Dfile.encoding=UTF-8",
];

/// What 4.9 and 5.x reach into on a Java that no longer lets them.
const OPENED: &[&str] = &[
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
];

/// How to start a process; kept, so that it can be started again.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    pub(crate) class_path: String,
    pub(crate) java: PathBuf,
    pub(crate) flags: Vec<String>,
    /// The main class and its arguments.
    pub(crate) program: Vec<String>,
}

impl Launch {
    pub(crate) fn new(
        environment: &Environment,
        version: &str,
        name: &str,
        home: &Path,
    ) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            home: home.to_owned(),
            class_path: environment.class_path(version)?.to_owned(),
            java: environment.java().to_owned(),
            flags: Vec::new(),
            program: Vec::new(),
        })
    }

    pub(crate) fn start(&self) -> Result<Jvm> {
        let logback = self.write_logging()?;
        let home = self.home.display();
        let mut words: Vec<String> = FLAGS.iter().chain(OPENED).map(|s| (*s).to_owned()).collect();
        words.push(format!("-Duser.home={home}"));
        words.push(format!("-Drocketmq.home.dir={home}"));
        words.push(format!("-Drmq.logback.configurationFile={}", logback.display()));
        words.push(format!("-Dlogback.configurationFile={}", logback.display()));
        words.extend(self.flags.iter().cloned());
        words.extend(["-cp".to_owned(), self.class_path.clone()]);
        words.extend(self.program.iter().cloned());
        // The class path alone is longer than some systems allow for a command line.
        let file = self.home.join(format!("{}.args", self.name));
        let quoted = words.iter().fold(String::new(), |mut text, word| {
            let _ = writeln!(text, "\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
            text
        });
        write(&file, &quoted)?;
        let child = Command::new(&self.java)
            .arg(format!("@{}", file.display()))
            .current_dir(&self.home)
            .env("ROCKETMQ_HOME", &self.home)
            .env("RMQ_PROXY_HOME", &self.home)
            .env("NAMESRV_ADDR", "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", self.name))?;
        Ok(Jvm::watch(self.name.clone(), child))
    }

    /// 5.x takes the file from a system property; 4.x looks for it under the home folder and does
    /// not start without it.
    fn write_logging(&self) -> Result<PathBuf> {
        let appenders = if self.class_path.contains("logback-shaded")
            || self.class_path.contains("rocketmq-shaded")
        {
            "org.apache.rocketmq.logging.ch.qos.logback.core"
        } else {
            "ch.qos.logback.core"
        };
        let log = self.home.join(format!("{}.log", self.name));
        let text = format!(
            "<configuration><appender name=\"f\" class=\"{appenders}.FileAppender\">\
             <file>{}</file><encoder><pattern>%d{{HH:mm:ss.SSS}} %p %c{{1}} %m%n</pattern>\
             </encoder></appender><root level=\"WARN\"><appender-ref ref=\"f\"/></root>\
             </configuration>",
            log.display()
        );
        let folder = self.home.join("conf");
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let file = folder.join(format!("logback_{}.xml", self.name));
        write(&file, &text)?;
        Ok(file)
    }
}

/// A running Java process. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub(crate) struct Jvm {
    name: String,
    child: Child,
    lines: Receiver<String>,
    /// The last lines of its error output, for the message when something goes wrong.
    complaints: Arc<Mutex<VecDeque<String>>>,
}

impl Jvm {
    fn watch(name: String, mut child: Child) -> Self {
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(|line| line.ok()) {
                    // A receiver that is gone is no reason to let the pipe fill up.
                    let _ = sender.send(line);
                }
            });
        }
        let complaints = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(stderr) = child.stderr.take() {
            let kept = Arc::clone(&complaints);
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(|line| line.ok()) {
                    let mut kept = kept.lock().expect("no thread panics with this lock");
                    kept.push_back(line);
                    if kept.len() > 40 {
                        kept.pop_front();
                    }
                }
            });
        }
        Self { name, child, lines, complaints }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of standard error.
    pub(crate) fn said(&self) -> String {
        let kept = self.complaints.lock().expect("no thread panics with this lock");
        let said: Vec<_> = kept.iter().map(String::as_str).collect();
        said.join("\n")
    }

    /// The next line of standard output.
    pub(crate) fn line(&self, deadline: Instant) -> Result<String> {
        let wait = deadline.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(wait).map_err(|error| {
            let what = match error {
                RecvTimeoutError::Timeout => "did not answer in time",
                RecvTimeoutError::Disconnected => "ended",
            };
            format!("{} {what}; it said:\n{}", self.name, self.said())
        })
    }

    /// Waits for a line of standard output that contains `text`.
    pub(crate) fn wait_for(&self, text: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut seen = String::new();
        loop {
            let line = self.line(deadline).map_err(|error| format!("{error}\n{seen}"))?;
            if line.contains(text) {
                return Ok(());
            }
            seen.push_str(&line);
            seen.push('\n');
        }
    }

    /// Writes one line to standard input.
    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        let name = &self.name;
        let stdin = self.child.stdin.as_mut().ok_or_else(|| format!("{name} hears nothing"))?;
        stdin.write_all(format!("{line}\n").as_bytes()).map_err(|e| format!("{name} is gone: {e}"))
    }

    /// Sends a signal by name (`STOP`, `CONT`), through the shell: its `kill` is always there.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        let script = format!("kill -{signal} {}", self.id());
        let status = Command::new("sh").args(["-c", &script]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("cannot send {signal} to {}: {other:?}", self.name)),
        }
    }

    /// SIGKILL, and the wait for the end. Works on a stopped process too.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Java property file.
pub(crate) fn settings(properties: &BTreeMap<String, String>) -> String {
    properties.iter().fold(String::new(), |mut text, (key, value)| {
        // Java's property files read a backslash as an escape.
        let _ = writeln!(text, "{key}={}", value.replace('\\', "\\\\"));
        text
    })
}
