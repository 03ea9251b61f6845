//! What a timer message can be recalled with.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::limits;
use crate::time::WallTime;

/// Base64 for URLs, with padding; read without it, too: a text that is copied may lose its end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The only form of handles that there is.
// Java: RecallMessageHandle#VERSION_1
const VERSION: &str = "v1";

/// The handle of a timer message: a receipt has it as
/// [`SendReceipt::recall_handle`](crate::SendReceipt::recall_handle), as one text that can be kept
/// and parsed anywhere.
///
/// ```
/// use rocketmq_core::RecallHandle;
///
/// let text = "djEgVCBicm9rZXItYSAxNzAwMDAwMDYwMDAxIDdGMDAwMDAxMDAwMTAwMDAwMDAwMDAwMDAwMDAwMDJB";
/// let handle: RecallHandle = text.parse()?;
/// assert_eq!((&*handle.topic, &*handle.broker_name), ("T", "broker-a"));
/// assert_eq!(handle.deliver_at.as_millis(), 1_700_000_060_001);
/// assert_eq!(handle.to_string(), text);
/// # Ok::<(), rocketmq_core::RecallHandleError>(())
/// ```
// Java: RecallMessageHandle
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct RecallHandle {
    /// The message's topic as servers know it: with its namespace.
    pub topic: Box<str>,
    /// The broker that has the message.
    pub broker_name: Box<str>,
    /// Until then it can be recalled, by the broker's clock. It is delivered up to a second later,
    /// or what the broker's timer counts in.
    pub deliver_at: WallTime,
    /// The message's unique key.
    pub unique_key: Box<str>,
}

/// The text is no handle of a timer message.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the text is not the handle of a timer message; it stands in the receipt of its send")]
pub struct RecallHandleError;

impl FromStr for RecallHandle {
    type Err = RecallHandleError;

    // Java: RecallMessageHandle#decodeHandle
    fn from_str(text: &str) -> Result<RecallHandle, RecallHandleError> {
        // The text goes back to a broker, in the header of a request.
        if text.len() > limits::RECALL_HANDLE_LENGTH_MAX {
            return Err(RecallHandleError);
        }
        let bytes = BASE64.decode(text.trim()).map_err(|_| RecallHandleError)?;
        let inner = String::from_utf8(bytes).map_err(|_| RecallHandleError)?;
        let mut items = inner.split(' ');
        let mut next = || items.next().filter(|item| !item.is_empty()).ok_or(RecallHandleError);
        let (version, topic, broker_name) = (next()?, next()?, next()?);
        let (deliver_at, unique_key) = (next()?, next()?);
        let deliver_at = deliver_at.parse().map_err(|_| RecallHandleError)?;
        if version != VERSION || inner.contains(char::is_control) {
            return Err(RecallHandleError);
        }
        Ok(RecallHandle {
            topic: topic.into(),
            broker_name: broker_name.into(),
            deliver_at: WallTime::from_millis(deliver_at),
            unique_key: unique_key.into(),
        })
    }
}

/// The handle as one text, as brokers write it.
// Java: RecallMessageHandle.HandleV1#buildHandle
impl fmt::Display for RecallHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecallHandle { topic, broker_name, deliver_at, unique_key } = self;
        let millis = deliver_at.as_millis();
        let inner = format!("{VERSION} {topic} {broker_name} {millis} {unique_key}");
        f.pad(&BASE64.encode(inner))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// `v1 T broker-a 1700000060001 7F00000100010000000000000000002A`
    const VECTOR: &str =
        "djEgVCBicm9rZXItYSAxNzAwMDAwMDYwMDAxIDdGMDAwMDAxMDAwMTAwMDAwMDAwMDAwMDAwMDAwMDJB";

    #[test]
    fn a_handle_is_read_with_and_without_padding() {
        let handle: RecallHandle = VECTOR.parse().unwrap();
        assert_eq!((&*handle.topic, &*handle.broker_name), ("T", "broker-a"));
        assert_eq!(handle.deliver_at, WallTime::from_millis(1_700_000_060_001));
        assert_eq!(&*handle.unique_key, "7F00000100010000000000000000002A");
        assert_eq!(handle.to_string(), VECTOR);
        let longer = RecallHandle { topic: "Tö>?~".into(), ..handle };
        let text = longer.to_string();
        assert!(text.ends_with('=') && !text.contains(['+', '/']), "{text}");
        assert_eq!(text.parse(), Ok(longer.clone()));
        assert_eq!(format!(" {}\n", text.trim_end_matches('=')).parse(), Ok(longer));
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        let encoded = |inner: &str| BASE64.encode(inner);
        let long = "x".repeat(limits::RECALL_HANDLE_LENGTH_MAX);
        for text in [
            "",
            "=",
            "not base64!",
            "djE",
            &encoded("v1"),
            &encoded("v2 T b 1 K"),
            &encoded("v1 T b 1"),
            &encoded("v1 T b x K"),
            &encoded("v1 T b 99999999999999999999 K"),
            &encoded("v1  b 1 K"),
            &encoded("v1 T b 1 "),
            &encoded("v1 T\u{1} b 1 K"),
            &encoded(&format!("v1 T b 1 {long}")),
            &BASE64.encode(b"v1 T b 1 \xff"),
        ] {
            assert_eq!(text.parse::<RecallHandle>(), Err(RecallHandleError), "{text}");
        }
        assert!(encoded("v1 T b 1 K more").parse::<RecallHandle>().is_ok(), "as Java does");
    }
}
