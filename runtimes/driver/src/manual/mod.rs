//! The manual: what the client does, and what you can rely on.
//!
//! | page | about |
//! | --- | --- |
//! | [`verdicts`] | what an error says about the message, when the client tries again, duplicates |
//! | [`messages`] | what a message may hold, delays |
//! | [`queues`] | how messages are spread over brokers, and which brokers are avoided |
//! | [`ordering`] | choosing the queue, and keeping an order |
//! | [`back_pressure`] | what happens when too much is in flight |
//! | [`batches`] | batches, given and automatic, and compression |
//! | [`transactions`] | messages that are delivered if some work is done |
//! | [`requests`] | messages whose sender waits for a reply |
//! | [`names`] | name servers, addresses, namespaces, client ids, groups |
//! | [`credentials`] | access control: keys, tokens, providers, refusals |
//! | `tls` (with the feature) | encrypted connections, whom the client trusts |
//! | [`closing`] | cancelling, closing, and the states of a client |
//! | [`runtimes`] | where the client's work is done |
//! | [`interceptors`] | code of your own in every send and request |
//! | [`observing`] | events, numbers, `tracing` |
//! | [`trace`] | what became of each message, kept in a topic of the cluster |
//! | [`admin`] | topics, offsets, stored messages, and what is wrong |
//! | [`errors`] | the texts of errors |
//! | [`testing`] | your code against simulated servers |
//! | [`java`] | coming from the Java client: what is called how here |
//!
//! [`SendErrorKind::manual`] names the section that explains a failure. The crates for the runtimes
//! re-export everything: what a page calls `rocketmq_driver::Producer` is
//! `rocketmq_tokio::Producer` to those who use tokio.

// For the links of the pages.
#[cfg(doc)]
#[allow(unused_imports)]
use crate::*;

#[doc = include_str!("verdicts.md")]
pub mod verdicts {}

#[doc = include_str!("messages.md")]
pub mod messages {}

#[doc = include_str!("queues.md")]
pub mod queues {}

#[doc = include_str!("ordering.md")]
pub mod ordering {}

#[doc = include_str!("back_pressure.md")]
pub mod back_pressure {}

#[doc = include_str!("batches.md")]
pub mod batches {}

#[doc = include_str!("transactions.md")]
pub mod transactions {}

#[doc = include_str!("requests.md")]
pub mod requests {}

#[doc = include_str!("names.md")]
pub mod names {}

#[doc = include_str!("credentials.md")]
pub mod credentials {}

// Its links are to what the feature brings.
#[cfg(feature = "tls")]
#[doc = include_str!("tls.md")]
pub mod tls {}

#[doc = include_str!("closing.md")]
pub mod closing {}

#[doc = include_str!("runtimes.md")]
pub mod runtimes {}

#[doc = include_str!("interceptors.md")]
pub mod interceptors {}

#[doc = include_str!("observing.md")]
pub mod observing {}

#[doc = include_str!("trace.md")]
pub mod trace {}

#[doc = include_str!("admin.md")]
pub mod admin {}

#[doc = include_str!("errors.md")]
pub mod errors {}

// Its example needs the test kit; the tests of the whole compile it.
#[cfg(not(doctest))]
#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("java.md")]
pub mod java {}

#[cfg(test)]
mod tests {
    use rocketmq_core::wire::{ResponseCode, SendStatus};
    use rocketmq_core::{
        Bound, InvalidBatch, InvalidMessage, PermissionReason, ProviderFailure, SelectorFailure,
        SendErrorKind, Unsuitable,
    };

    const PAGES: [(&str, &str); 20] = [
        ("verdicts", include_str!("verdicts.md")),
        ("messages", include_str!("messages.md")),
        ("queues", include_str!("queues.md")),
        ("ordering", include_str!("ordering.md")),
        ("back_pressure", include_str!("back_pressure.md")),
        ("batches", include_str!("batches.md")),
        ("transactions", include_str!("transactions.md")),
        ("requests", include_str!("requests.md")),
        ("names", include_str!("names.md")),
        ("credentials", include_str!("credentials.md")),
        ("tls", include_str!("tls.md")),
        ("closing", include_str!("closing.md")),
        ("runtimes", include_str!("runtimes.md")),
        ("interceptors", include_str!("interceptors.md")),
        ("observing", include_str!("observing.md")),
        ("trace", include_str!("trace.md")),
        ("admin", include_str!("admin.md")),
        ("errors", include_str!("errors.md")),
        ("testing", include_str!("testing.md")),
        ("java", include_str!("java.md")),
    ];

    /// The anchor that rustdoc makes of a heading.
    fn anchor(heading: &str) -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().trim().replace(' ', "-").to_lowercase()
    }

    /// The sections of a page.
    fn anchors(text: &str) -> Vec<String> {
        let lines = text.split("```").step_by(2).flat_map(str::lines);
        let headings = lines.filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
        // Text that is indented has no mark before its space.
        headings.filter(|heading| text.contains(&format!("# {heading}"))).map(anchor).collect()
    }

    #[test]
    fn every_kind_of_error_names_a_section_that_exists() {
        use SendErrorKind as Kind;
        let (code, remark) = (ResponseCode(1), Box::from(""));
        let reason = PermissionReason::Other;
        let kinds = [
            Kind::Invalid(InvalidMessage::TopicEmpty),
            Kind::InvalidBatch(Box::new(InvalidBatch::Empty)),
            Kind::NameServerUnreachable,
            Kind::TopicNotFound,
            Kind::NoWritableQueue,
            Kind::NoSuchQueue("b".into()),
            Kind::WaitedForOrder,
            Kind::Selector(SelectorFailure::NoQueue),
            Kind::Timeout,
            Kind::NotPrepared { status: SendStatus::FlushDiskTimeout },
            Kind::Broker { code, remark },
            Kind::PermissionDenied { reason, code, remark: "".into() },
            Kind::Unsuitable { reason: Unsuitable::NoTimer, code, remark: "".into() },
            Kind::NoCredentials(ProviderFailure::TimedOut),
            Kind::Transport,
            Kind::Backpressure(Bound::Bytes),
            Kind::Cancelled,
            Kind::Closed,
            Kind::InterceptorPanicked,
            Kind::DriverStopped,
        ];
        for kind in kinds {
            let path = kind.manual().strip_prefix("rocketmq_driver::manual::").expect("the manual");
            let (page, section) = path.split_once('#').expect("a section");
            let (_, text) = PAGES.iter().find(|(name, _)| *name == page).expect("a page");
            assert!(anchors(text).contains(&section.to_owned()), "{kind:?}: {path}");
        }
    }

    /// Rustdoc checks the pages and items that links name, and not the sections.
    #[test]
    fn links_from_page_to_page_name_sections_that_exist() {
        let mut found = 0;
        for (from, text) in PAGES {
            for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let Some((path, section)) = link.split_once('#') else { continue };
                let page = path.strip_prefix("crate::manual::").unwrap_or(path);
                let page = if page.is_empty() { from } else { page };
                let (_, text) = PAGES.iter().find(|(name, _)| *name == page).expect(link);
                assert!(anchors(text).contains(&section.to_owned()), "{from}: {link}");
                found += 1;
            }
        }
        assert!(found > 10, "{found} links");
    }
}
