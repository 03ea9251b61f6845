//! The manual: what the client does, and what you can rely on.
//!
//! [`SendErrorKind::manual`](rocketmq_core::SendErrorKind::manual) names the section that explains
//! a failure.

#[doc = include_str!("verdicts.md")]
pub mod verdicts {}

#[doc = include_str!("ordering.md")]
pub mod ordering {}

#[doc = include_str!("back_pressure.md")]
pub mod back_pressure {}

#[doc = include_str!("closing.md")]
pub mod closing {}

#[doc = include_str!("runtimes.md")]
pub mod runtimes {}

#[doc = include_str!("java.md")]
pub mod java {}

#[cfg(test)]
mod tests {
    use rocketmq_core::wire::ResponseCode;
    use rocketmq_core::{Bound, InvalidMessage, SelectorFailure, SendErrorKind};

    const PAGES: [(&str, &str); 6] = [
        ("verdicts", include_str!("verdicts.md")),
        ("ordering", include_str!("ordering.md")),
        ("back_pressure", include_str!("back_pressure.md")),
        ("closing", include_str!("closing.md")),
        ("runtimes", include_str!("runtimes.md")),
        ("java", include_str!("java.md")),
    ];

    /// The anchor that rustdoc makes of a heading.
    fn anchor(heading: &str) -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().trim().replace(' ', "-").to_lowercase()
    }

    #[test]
    fn every_kind_of_error_names_a_section_that_exists() {
        use SendErrorKind as Kind;
        let (code, remark) = (ResponseCode(1), Box::from(""));
        let kinds = [
            Kind::Invalid(InvalidMessage::TopicEmpty),
            Kind::NameServerUnreachable,
            Kind::TopicNotFound,
            Kind::NoWritableQueue,
            Kind::NoSuchQueue("b".into()),
            Kind::WaitedForOrder,
            Kind::Selector(SelectorFailure::NoQueue),
            Kind::Timeout,
            Kind::Broker { code, remark },
            Kind::PermissionDenied { code, remark: "".into() },
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
            let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
            let anchors: Vec<_> = headings.map(anchor).collect();
            assert!(anchors.contains(&section.to_owned()), "{kind:?}: {path}: {anchors:?}");
        }
    }
}
