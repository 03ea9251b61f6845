//! Namespaces of the first version: resources of one tenant carry its name as a prefix.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

/// Stands between the namespace and the name.
// Java: NamespaceUtil#NAMESPACE_SEPARATOR
const SEPARATOR: char = '%';

/// Prefixes of the topics for retries and dead letters of a consumer group; they stay in front.
// Java: MixAll#RETRY_GROUP_TOPIC_PREFIX, MixAll#DLQ_GROUP_TOPIC_PREFIX
const KEPT_PREFIXES: [&str; 2] = ["%RETRY%", "%DLQ%"];

/// Topics that belong to the cluster and not to a tenant.
// Java: TopicValidator#SYSTEM_TOPIC_SET
const SYSTEM_TOPICS: [&str; 16] = [
    "TBW102",
    "SCHEDULE_TOPIC_XXXX",
    "BenchmarkTest",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRACE_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "CHECKPOINT_TOPIC",
    "RMQ_SYS_TOPIC_CONFIG_SYNC",
    "RMQ_SYS_CONSUMER_OFFSET_SYNC",
    "RMQ_SYS_DELAY_OFFSET_SYNC",
    "RMQ_SYS_SUBSCRIPTION_GROUP_SYNC",
    "RMQ_SYS_MESSAGE_MODE_SYNC",
    "RMQ_SYS_TIMER_METRICS_SYNC",
];

/// What the names of further system topics and groups begin with.
// Java: TopicValidator#SYSTEM_TOPIC_PREFIX, MixAll#CID_RMQ_SYS_PREFIX
const SYSTEM_PREFIXES: [&str; 2] = ["rmq_sys_", "CID_RMQ_SYS_"];

/// The name under which brokers know the topic or group `resource` of `namespace`. Doing it twice
/// changes nothing more; names of the system and an empty namespace change nothing at all.
///
/// ```
/// use rocketmq_core::namespace;
///
/// assert_eq!(namespace::wrap("shop", "Orders"), "shop%Orders");
/// assert_eq!(namespace::wrap("shop", "%RETRY%billing"), "%RETRY%shop%billing");
/// assert_eq!(namespace::wrap("shop", "TBW102"), "TBW102");
/// ```
// Java: NamespaceUtil#wrapNamespace
pub fn wrap<'a>(namespace: &str, resource: &'a str) -> Cow<'a, str> {
    let (prefix, rest) = split_prefix(resource);
    let unchanged = namespace.is_empty() || resource.is_empty() || is_system(resource);
    if unchanged || begins_with(namespace, rest) {
        return Cow::Borrowed(resource);
    }
    Cow::Owned(format!("{prefix}{namespace}{SEPARATOR}{rest}"))
}

/// The user's name of a topic or group as brokers know it. What is not of `namespace` stays.
///
/// ```
/// use rocketmq_core::namespace;
///
/// assert_eq!(namespace::unwrap("shop", "%DLQ%shop%billing"), "%DLQ%billing");
/// assert_eq!(namespace::unwrap("shop", "bank%Orders"), "bank%Orders");
/// ```
// Java: NamespaceUtil#withoutNamespace(String, String)
pub fn unwrap<'a>(namespace: &str, resource: &'a str) -> Cow<'a, str> {
    let (prefix, rest) = split_prefix(resource);
    if namespace.is_empty() || is_system(resource) || !begins_with(namespace, rest) {
        return Cow::Borrowed(resource);
    }
    // Up to the first separator, as Java does, even if the namespace itself holds one.
    match rest.split_once(SEPARATOR) {
        Some((_, name)) if prefix.is_empty() => Cow::Borrowed(name),
        Some((_, name)) => Cow::Owned(String::from(prefix) + name),
        None => Cow::Borrowed(resource),
    }
}

fn split_prefix(resource: &str) -> (&str, &str) {
    let prefix = KEPT_PREFIXES.into_iter().find(|prefix| resource.starts_with(prefix));
    resource.split_at(prefix.map_or(0, str::len))
}

fn begins_with(namespace: &str, rest: &str) -> bool {
    rest.strip_prefix(namespace).is_some_and(|rest| rest.starts_with(SEPARATOR))
}

// Java: NamespaceUtil#isSystemResource
pub(crate) fn is_system(resource: &str) -> bool {
    SYSTEM_TOPICS.contains(&resource)
        || SYSTEM_PREFIXES.iter().any(|prefix| resource.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_wrapped_and_unwrapped_as_java_does() {
        // Namespace, the user's name, the name on the wire.
        let rows = [
            ("", "Orders", "Orders"),
            ("", "", ""),
            ("shop", "", ""),
            ("shop", "Orders", "shop%Orders"),
            ("shop", "%RETRY%billing", "%RETRY%shop%billing"),
            ("shop", "%DLQ%billing", "%DLQ%shop%billing"),
            // Of the two prefixes only the first is one.
            ("shop", "%RETRY%%DLQ%billing", "%RETRY%shop%%DLQ%billing"),
            ("shop", "shopping", "shop%shopping"),
            ("shop", "bank%Orders", "shop%bank%Orders"),
            ("shop", "TBW102", "TBW102"),
            ("shop", "SELF_TEST_TOPIC", "SELF_TEST_TOPIC"),
            ("shop", "BenchmarkTest", "BenchmarkTest"),
            ("shop", "rmq_sys_anything", "rmq_sys_anything"),
            ("shop", "CID_RMQ_SYS_group", "CID_RMQ_SYS_group"),
            // Case counts.
            ("shop", "RMQ_SYS_anything", "shop%RMQ_SYS_anything"),
            ("shop", "tbw102", "shop%tbw102"),
        ];
        for (namespace, name, wire) in rows {
            assert_eq!(wrap(namespace, name), wire, "wrap {name}");
            assert_eq!(wrap(namespace, wire), wire, "wrap {name} twice");
            assert_eq!(unwrap(namespace, wire), name, "unwrap {wire}");
            assert_eq!(unwrap(namespace, name), name, "unwrap {name}");
        }
    }

    #[test]
    fn names_that_are_wrapped_already_stay() {
        for name in ["shop%Orders", "%RETRY%shop%billing", "%DLQ%shop%billing", "shop%"] {
            assert_eq!(wrap("shop", name), name);
        }
        assert_eq!(unwrap("shop", "shop%"), "");
        assert_eq!(unwrap("", "shop%Orders"), "shop%Orders");
        assert_eq!(unwrap("bank", "shop%Orders"), "shop%Orders");
        // Java: the cut is at the first separator, not behind the namespace.
        assert_eq!(unwrap("a%b", "a%b%Orders"), "b%Orders");
    }

    proptest! {
        /// Whatever the names are made of.
        #[test]
        fn wrapping_is_idempotent_and_unwrapping_undoes_it(
            namespace in "[a-zA-Z0-9_-]{0,8}",
            prefix in prop::sample::select(&["", "%RETRY%", "%DLQ%", "rmq_sys_"][..]),
            name in "[a-zA-Z0-9_|%-]{0,12}",
        ) {
            let name = format!("{prefix}{name}");
            let wrapped = wrap(&namespace, &name);
            prop_assert_eq!(&wrap(&namespace, &wrapped), &wrapped);
            if wrapped != name {
                prop_assert_eq!(unwrap(&namespace, &wrapped), name.as_str());
            }
        }
    }
}
