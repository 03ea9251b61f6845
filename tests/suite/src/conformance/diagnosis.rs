//! What a diagnosis finds, server by server.

use std::time::Duration;

use rocketmq_driver::{ConfigBuilder, Diagnosis, Finding, Severity, Subject};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Rule, TopicConfig};

use super::scene::*;
use super::{Harness, Servers};

const TIMEOUT: Duration = Duration::from_millis(300);

async fn diagnosis<H: Harness>(on: &H, config: ConfigBuilder, topic: Option<&str>) -> Diagnosis {
    let client = on.start(build(config));
    promptly(on, "the diagnosis", client.diagnose(topic)).await
}

/// The findings that are not in order, each with something to do.
fn bad(diagnosis: &Diagnosis) -> Vec<&Finding> {
    let bad: Vec<_> =
        diagnosis.findings.iter().filter(|finding| finding.severity > Severity::Ok).collect();
    assert!(bad.iter().all(|finding| finding.remedy.is_some()), "{diagnosis}");
    bad
}

fn only(diagnosis: &Diagnosis) -> &Finding {
    let bad = bad(diagnosis);
    assert_eq!(bad.len(), 1, "{diagnosis}");
    bad[0]
}

/// The simulated clients and the cluster do not have the same wall clock.
fn but_for_clocks(diagnosis: &Diagnosis) -> Vec<&Finding> {
    bad(diagnosis).into_iter().filter(|finding| !finding.what.contains("clock")).collect()
}

/// All is well: one line for everything that was looked at.
pub async fn a_diagnosis_of_a_sound_cluster_finds_no_fault<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().brokers(2).name_servers(2));
    let diagnosis = diagnosis(on, config(&cluster), Some(TOPIC)).await;
    assert_eq!(but_for_clocks(&diagnosis).len(), 0, "{diagnosis}");
    let text = diagnosis.to_string();
    for part in ["client: ", "topic \"Orders\": 8 writable queues on 2 brokers", "broker-b"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(text.matches("RocketMQ 5.5.0").count(), 4, "{text}");
    assert_eq!(text.lines().count(), diagnosis.findings.len());
}

/// A broker that lives in another time is named with the seconds.
pub async fn a_diagnosis_tells_how_far_a_brokers_clock_is_off<H: Harness>(on: &H) {
    let skewed = ClusterConfig::new().broker_clock_ahead_ms(1 << 45);
    let cluster = cluster_with(on, skewed);
    let diagnosis = diagnosis(on, config(&cluster), None).await;
    let finding = only(&diagnosis);
    assert_eq!(finding.severity, Severity::Warning);
    assert!(finding.what.contains("ahead of this one"), "{finding}");
    assert!(matches!(finding.subject, Subject::Broker { .. }));
}

/// Servers that are not name servers, each recognised.
pub async fn a_diagnosis_tells_what_is_no_name_server<H: Harness>(on: &H) {
    let garbage = Fault::garbage("HTTP/1.1 400 Bad Request\r\n\r\n");
    let another = Fault::answer(3, " request type 105 not supported");
    for (fault, words) in [
        (garbage, "it answered with HTTP"),
        (another, "a broker's port"),
        (Fault::close(), "TLS"),
        (Fault::silent(), "says nothing"),
    ] {
        let cluster = cluster(on, 1);
        cluster.with(|cluster| cluster.script(NAMES, Rule::any().always(), fault));
        let settings = config(&cluster).request_timeout(TIMEOUT);
        let diagnosis = diagnosis(on, settings, Some(TOPIC)).await;
        let finding = only(&diagnosis);
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.to_string().contains(words), "{words}: {finding}");
        assert!(matches!(finding.subject, Subject::NameServer { .. }));
    }
    let cluster = cluster(on, 1);
    cluster.with(|cluster| cluster.kill(NAMES));
    let diagnosis = diagnosis(on, config(&cluster), None).await;
    assert!(only(&diagnosis).what.contains("refused"), "{diagnosis}");
}

/// Topics that are missing, or may not be written to.
pub async fn a_diagnosis_judges_the_topic<H: Harness>(on: &H) {
    let read_only = TopicConfig { perm: 4, ..TopicConfig::new(4) };
    let settings = ClusterConfig::new().auto_create_topics(false).topic_with("Frozen", read_only);
    let cluster = cluster_with(on, settings);
    let missing = diagnosis(on, config(&cluster), Some("Missing")).await;
    let missing = but_for_clocks(&missing)[0].clone();
    assert_eq!(missing.severity, Severity::Problem);
    assert!(missing.what.contains("does not exist, and sends do not create it"), "{missing}");
    let frozen = diagnosis(on, config(&cluster), Some("Frozen")).await;
    let said: Vec<_> = but_for_clocks(&frozen).iter().map(|finding| finding.to_string()).collect();
    assert_eq!(said.len(), 2, "{frozen}");
    assert!(said[0].contains("no queue that can be written to"), "{frozen}");
    assert!(said[1].contains("broker \"broker-a\""), "{frozen}");
    // The brokers are looked at although the topic names none.
    assert!(missing.remedy.is_some() && frozen.to_string().contains("broker-a"));

    let open = cluster_with(on, ClusterConfig::new());
    let created = diagnosis(on, config(&open), Some("Missing")).await;
    let finding = but_for_clocks(&created)[0].clone();
    assert_eq!(finding.severity, Severity::Warning, "{created}");
}

/// Brokers that cannot be reached, or say nothing, or insist on TLS.
pub async fn a_diagnosis_tells_which_broker_cannot_be_reached<H: Harness>(on: &H) {
    for (fault, words) in
        [(Fault::close(), "TLS"), (Fault::silent(), "says nothing"), (Fault::none(), "--map")]
    {
        let cluster = cluster(on, 2);
        let dead = fault == Fault::none();
        cluster.with(|cluster| {
            cluster.script(A, Rule::any().always(), fault);
            if dead {
                cluster.kill(A);
            }
        });
        let settings = config(&cluster).request_timeout(TIMEOUT);
        let diagnosis = diagnosis(on, settings, Some(TOPIC)).await;
        let found = but_for_clocks(&diagnosis);
        assert_eq!(found.len(), 1, "{diagnosis}");
        assert!(found[0].to_string().contains(words), "{words}: {diagnosis}");
        let named = matches!(&found[0].subject,
            Subject::Broker { broker_name, .. } if &**broker_name == "broker-a");
        assert!(named, "{diagnosis}");
    }
    // One that keeps its description to administrators is there all the same.
    let cluster = cluster(on, 1);
    cluster.with(|cluster| cluster.script(A, Rule::code(28).always(), Fault::answer(16, "no")));
    let diagnosis = diagnosis(on, config(&cluster), Some(TOPIC)).await;
    assert_eq!(bad(&diagnosis).len(), 0, "{diagnosis}");
    assert!(diagnosis.to_string().contains("clock and version not checked"), "{diagnosis}");
}
