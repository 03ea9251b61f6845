//! JSON headers as no known server writes them, and every client must read them.

use serde_json::Value;

use super::{Command, Encoding};

impl Command {
    /// The whole frame, its JSON header written in another order, with spaces, escapes, nulls and
    /// fields that nobody knows. A binary header stays as it is.
    pub fn encode_oddly(&self) -> Vec<u8> {
        if self.encoding != Encoding::Json {
            return self.encode();
        }
        self.frame(0, |out| out.extend_from_slice(self.odd_header().as_bytes()))
    }

    fn odd_header(&self) -> String {
        let text = |value: &str| Value::from(value).to_string();
        let fields = self.ext.iter().rev();
        let fields: Vec<_> =
            fields.map(|(name, value)| format!("{} :{}", escaped(name), text(value))).collect();
        let remark = self.remark.as_deref().map_or("null".to_owned(), text);
        format!(
            "{{ \"version\" : {}, \"unknown\":{{\"flag\":[1,{{\"opaque\":2}},\"}}\"]}},\n\
             \"opaque\":{},\"remark\":{remark},\"extFields\":{{{}}},\"language\":\"JAVA\",\
             \"nothing\":null,\r\n\t\"flag\":{} , \"code\":{}}}",
            self.version,
            self.opaque,
            fields.join(","),
            self.flag,
            self.code
        )
    }
}

/// A name in quotes, its first letter written by its number.
fn escaped(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map_or(String::new(), |c| format!("\\u{:04x}", u32::from(c)));
    format!("\"{first}{}\"", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_header_says_the_same() {
        let command = Command::request(310, 7).field("topic", "Orders \"x\"").field("b", "");
        let command = Command { remark: Some("a\nb".into()), ..command.with_body("body") };
        let read = Command::decode(&command.encode_oddly());
        assert_eq!(read.map(|read| (read.ext, read.remark, read.body)), {
            Ok((command.ext.clone(), command.remark.clone(), command.body.clone()))
        });
        assert_ne!(command.encode_oddly(), command.encode());
    }
}
