//! Headers in JSON, read and written without a tree of values in between.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{Command, Encoding, Fields, WireError, language_code, language_name};

/// Reads a header.
pub(super) fn decode(header: &[u8]) -> Result<Command, WireError> {
    // Java decodes bytes that are no UTF-8 with replacement characters.
    let text = match std::str::from_utf8(header) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(header),
    };
    let top = serde_json::from_str::<Shaped<Top<'_>>>(&text)
        .map_err(|error| WireError::new(format!("header: {error}")))?;
    let Shaped(Top(Some(parts))) = top else {
        return Err(WireError::new("header is no JSON object"));
    };
    Ok(Command {
        code: number(&parts.code, "code")?,
        language: match parts.language {
            Scrap::Text(name) => language_code(&name),
            Scrap::Other(Value::Number(code)) => {
                code.as_u64().and_then(|code| code.try_into().ok())
            }
            Scrap::Null | Scrap::Other(_) => None,
        }
        .unwrap_or(7),
        version: number(&parts.version, "version")?,
        opaque: number(&parts.opaque, "opaque")?,
        flag: number(&parts.flag, "flag")?,
        remark: match parts.remark {
            Scrap::Text(text) => Some(text.into_owned()),
            Scrap::Null | Scrap::Other(_) => None,
        },
        ext: parts.ext.ok_or_else(|| WireError::new("extFields is no object"))?,
        body: Vec::new(),
        encoding: Encoding::Json,
    })
}

// A number outside 32 bits closes the connection (measured on 4.9.7 to 5.5.0).
fn number(scrap: &Scrap<'_>, name: &str) -> Result<i32, WireError> {
    let number = match scrap {
        Scrap::Null => Some(0),
        Scrap::Other(Value::Number(number)) => number.as_i64(),
        Scrap::Text(digits) => digits.parse::<i64>().ok(),
        Scrap::Other(_) => None,
    };
    number
        .and_then(|number| i32::try_from(number).ok())
        .ok_or_else(|| WireError::new(format!("{name} is no 32-bit number")))
}

/// Writes the header of a command.
// Java: RemotingCommand#headerEncode, fastjson with sorted keys and nulls left out.
pub(super) fn encode(command: &Command, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(out, "{{\"code\":{}", command.code);
    let mut mark: &[u8] = b",\"extFields\":{";
    for (name, value) in command.ext.iter() {
        out.extend_from_slice(mark);
        quote(name, out);
        out.push(b':');
        quote(value, out);
        mark = b",";
    }
    if !command.ext.is_empty() {
        out.push(b'}');
    }
    let language = language_name(command.language);
    let (flag, opaque) = (command.flag, command.opaque);
    let _ = write!(out, ",\"flag\":{flag},\"language\":\"{language}\",\"opaque\":{opaque}");
    if let Some(remark) = &command.remark {
        out.extend_from_slice(b",\"remark\":");
        quote(remark, out);
    }
    let version = command.version;
    let _ = write!(out, ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":{version}}}");
}

/// Writes a text as JSON.
fn quote(text: &str, out: &mut Vec<u8>) {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        let _ = serde_json::to_writer(out, text);
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// What the header is, `None` for something else than an object.
struct Top<'a>(Option<Parts<'a>>);

/// The known parts of a header. Of a name that comes twice, the last counts.
#[derive(Default)]
struct Parts<'a> {
    code: Scrap<'a>,
    language: Scrap<'a>,
    version: Scrap<'a>,
    opaque: Scrap<'a>,
    flag: Scrap<'a>,
    remark: Scrap<'a>,
    /// `None`: something else than an object.
    ext: Option<Fields>,
}

/// Any value; texts, of which there are most, stay where they are.
///
/// Everything is read the way [`Value`] is: what makes that one fail is no JSON here either, also
/// in parts that nobody looks at.
#[derive(Default)]
enum Scrap<'a> {
    #[default]
    Null,
    Text(Cow<'a, str>),
    Other(Value),
}

/// The fields in a header, `None` for something else than an object.
struct Ext(Option<Fields>);

/// The name of a part.
enum Part {
    Code,
    Language,
    Version,
    Opaque,
    Flag,
    Remark,
    Ext,
    Other,
}

/// Reads what begins with `{` in a way of its own, and all the rest as [`Scrap`].
trait Shape<'de>: Sized {
    fn from_scrap(scrap: Scrap<'de>) -> Self;
    fn from_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;
}

impl<'de> Shape<'de> for Scrap<'de> {
    fn from_scrap(scrap: Scrap<'de>) -> Self {
        scrap
    }

    fn from_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(map)).map(Scrap::Other)
    }
}

impl<'de> Shape<'de> for Top<'de> {
    fn from_scrap(_: Scrap<'de>) -> Self {
        Top(None)
    }

    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut parts = Parts { ext: Some(Fields::new()), ..Parts::default() };
        while let Some(part) = map.next_key::<Part>()? {
            let slot = match part {
                Part::Code => &mut parts.code,
                Part::Language => &mut parts.language,
                Part::Version => &mut parts.version,
                Part::Opaque => &mut parts.opaque,
                Part::Flag => &mut parts.flag,
                Part::Remark => &mut parts.remark,
                Part::Ext => {
                    parts.ext = map.next_value::<Shaped<Ext>>()?.0.0;
                    continue;
                }
                Part::Other => &mut Scrap::Null,
            };
            *slot = map.next_value::<Shaped<Scrap<'de>>>()?.0;
        }
        Ok(Top(Some(parts)))
    }
}

impl<'de> Shape<'de> for Ext {
    fn from_scrap(scrap: Scrap<'de>) -> Self {
        Ext(matches!(scrap, Scrap::Null).then(Fields::new))
    }

    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut fields = Fields::with_capacity(256);
        while let Some(Shaped(name)) = map.next_key::<Shaped<Scrap<'de>>>()? {
            let Scrap::Text(name) = name else { continue };
            match map.next_value::<Shaped<Scrap<'de>>>()?.0 {
                Scrap::Text(text) => fields.insert(name, text),
                Scrap::Other(other) => fields.insert(name, other.to_string()),
                Scrap::Null => _ = fields.remove(&name),
            }
        }
        Ok(Ext(Some(fields)))
    }
}

struct Shaped<T>(T);

impl<'de, T: Shape<'de>> Deserialize<'de> for Shaped<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look(PhantomData)).map(Shaped)
    }
}

/// The visitor of a shape.
struct Look<T>(PhantomData<T>);

impl<'de, T: Shape<'de>> Visitor<'de> for Look<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::from_scrap(Scrap::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        Ok(T::from_scrap(Scrap::Other(value.into())))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        Ok(T::from_scrap(Scrap::Other(value.into())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        Ok(T::from_scrap(Scrap::Other(value.into())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        Ok(T::from_scrap(Scrap::Other(value.into())))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<T, E> {
        Ok(T::from_scrap(Scrap::Text(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok(T::from_scrap(Scrap::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        let list = Value::deserialize(SeqAccessDeserializer::new(list))?;
        Ok(T::from_scrap(Scrap::Other(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::from_map(map)
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(PartName)
    }
}

struct PartName;

impl Visitor<'_> for PartName {
    type Value = Part;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Part, E> {
        Ok(match name {
            "code" => Part::Code,
            "language" => Part::Language,
            "version" => Part::Version,
            "opaque" => Part::Opaque,
            "flag" => Part::Flag,
            "remark" => Part::Remark,
            "extFields" => Part::Ext,
            _ => Part::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::network::Random;

    /// The same by way of a tree of values: slow, and plain to see.
    fn decode_tree(header: &[u8]) -> Result<Command, WireError> {
        let text = String::from_utf8_lossy(header);
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| WireError::new(format!("header: {error}")))?;
        let Value::Object(parts) = value else {
            return Err(WireError::new("header is no JSON object"));
        };
        let ext = match parts.get("extFields") {
            None | Some(Value::Null) => Some(Fields::new()),
            Some(Value::Object(pairs)) => {
                let pairs = pairs.iter().filter(|(_, value)| !value.is_null());
                let text = |value: &Value| value.as_str().map(str::to_owned);
                Some(pairs.map(|(n, v)| (n, text(v).unwrap_or_else(|| v.to_string()))).collect())
            }
            Some(_) => None,
        };
        let language = match parts.get("language") {
            Some(Value::String(name)) => language_code(name),
            Some(Value::Number(code)) => code.as_u64().and_then(|code| code.try_into().ok()),
            _ => None,
        };
        Ok(Command {
            code: number_tree(&parts, "code")?,
            language: language.unwrap_or(7),
            version: number_tree(&parts, "version")?,
            opaque: number_tree(&parts, "opaque")?,
            flag: number_tree(&parts, "flag")?,
            remark: parts.get("remark").and_then(Value::as_str).map(str::to_owned),
            ext: ext.ok_or_else(|| WireError::new("extFields is no object"))?,
            body: Vec::new(),
            encoding: Encoding::Json,
        })
    }

    fn number_tree(parts: &Map<String, Value>, name: &str) -> Result<i32, WireError> {
        let number = match parts.get(name) {
            None | Some(Value::Null) => Some(0),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(digits)) => digits.parse::<i64>().ok(),
            Some(_) => None,
        };
        number
            .and_then(|number| i32::try_from(number).ok())
            .ok_or_else(|| WireError::new(format!("{name} is no 32-bit number")))
    }

    const VALUES: [&str; 24] = [
        "null",
        "0",
        "-3",
        "2147483647",
        "2147483648",
        "-2147483649",
        "99999999999999999999",
        "1.0",
        "1e3",
        "1e999",
        "true",
        "\"7\"",
        "\" 7\"",
        "\"GO\"",
        "\"\"",
        "\"a\\n\\\"\\\\\"",
        "\"\\u00e9\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "{}",
        "[]",
        "[{\"a\":[1]}]",
        "{\"a\":1,\"b\":null,\"a\":\"x\"}",
        "{\"n\":\"x\",\"n\":null,\"m\":[1.50,{\"k\":null}]}",
        "{\"b\":true,\"a\":-1e2,\"c\":\"\\u0041\"}",
    ];
    const NAMES: [&str; 10] = [
        "code",
        "language",
        "version",
        "opaque",
        "flag",
        "remark",
        "extFields",
        "extFields",
        "serializeTypeCurrentRPC",
        "co\\u0064e",
    ];

    #[test]
    fn headers_are_read_as_by_way_of_a_tree() {
        let mut random = Random::new(11);
        let (mut read, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let mut text = String::from("{");
            for index in 0..random.below(6) {
                let name = NAMES[random.below(NAMES.len() as u64) as usize];
                let value = VALUES[random.below(VALUES.len() as u64) as usize];
                let mark = if index > 0 { "," } else { "" };
                text += &format!("{mark}\"{name}\":{value}");
            }
            text.push('}');
            let mut bytes = text.into_bytes();
            if random.chance(300) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = [b'"', b'{', b'}', b',', b'[', 0xff, b' ', b'1'][at % 8];
            }
            let deep = if random.chance(20) { 200 } else { 0 };
            let mut bytes = [vec![b'['; deep], std::mem::take(&mut bytes)].concat();
            if random.chance(20) {
                bytes.extend_from_slice(b" x");
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let result = decode(&bytes);
            assert_eq!(result, decode_tree(&bytes), "{text}");
            if result.is_ok() { read += 1 } else { refused += 1 }
        }
        assert!(read > 3_000 && refused > 3_000, "{read} read, {refused} refused");
    }

    #[test]
    fn headers_are_written_as_a_tree_is() {
        let odd = ["", "plain", "\"", "\\", "\u{1}x\u{2}", "é/\u{7f}", "\n\t\r\u{8}\u{c}\u{1f}"];
        for (index, text) in odd.iter().enumerate() {
            let mut command = Command::request(-7, i32::MIN);
            command.language = (index * 3) as u8;
            command.remark = (index % 2 == 0).then(|| (*text).to_owned());
            for name in &odd[..index] {
                command.ext.insert(name, text);
            }
            let mut tree = serde_json::json!({
                "code": command.code,
                "flag": command.flag,
                "language": language_name(command.language),
                "opaque": command.opaque,
                "serializeTypeCurrentRPC": "JSON",
                "version": command.version,
            });
            if let Some(remark) = &command.remark {
                tree["remark"] = remark.as_str().into();
            }
            if !command.ext.is_empty() {
                let pairs = command.ext.iter().map(|(n, v)| (n.to_owned(), v.into()));
                tree["extFields"] = Value::Object(pairs.collect());
            }
            let mut bytes = Vec::new();
            encode(&command, &mut bytes);
            assert_eq!(String::from_utf8(bytes), Ok(tree.to_string()));
        }
    }
}
