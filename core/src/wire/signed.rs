//! The signature of a request: computed last, over everything that the server will see.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac_sha1_compact::Hash;

use super::added::{insert, split_written};
use super::command::Command;
use super::encode::EncodeError;
use super::frame::Encoding;
use super::send_header::{SendHeader, SignedValue};
use super::text::push_escaped;
use crate::credentials::{ACCESS_KEY, Credentials, SECURITY_TOKEN, SIGNATURE, Signing};

/// Bytes of a signature: 20 bytes in Base64.
const SIGNATURE_LENGTH: usize = 28;

/// A secret key as HMAC-SHA1 uses it: the states after its first block on both ways.
// RFC 2104. The crate computes it over one slice alone; fields are many.
pub(crate) struct MacKey {
    inner: Hash,
    outer: Hash,
}

impl MacKey {
    pub(crate) fn new(secret: &[u8]) -> MacKey {
        let mut block = [0; 64];
        let hashed;
        let key: &[u8] = if secret.len() > block.len() {
            hashed = Hash::hash(secret);
            &hashed
        } else {
            secret
        };
        for (byte, key) in block.iter_mut().zip(key) {
            *byte = *key;
        }
        let state = |pad: u8| {
            let mut hash = Hash::new();
            hash.update(block.map(|byte| byte ^ pad));
            hash
        };
        MacKey { inner: state(0x36), outer: state(0x5c) }
    }

    pub(crate) fn start(&self) -> Mac {
        Mac { inner: self.inner, outer: self.outer }
    }
}

/// A signature in the making.
pub(crate) struct Mac {
    inner: Hash,
    outer: Hash,
}

impl Mac {
    fn update(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.inner.update(bytes);
        }
    }

    fn value(&mut self, value: SignedValue<'_>) {
        match value {
            SignedValue::Absent => {}
            SignedValue::Text(text) => self.update(text.as_bytes()),
            SignedValue::Number(number) => {
                self.update(itoa::Buffer::new().format(number).as_bytes());
            }
            SignedValue::Flag(true) => self.update(b"true"),
            SignedValue::Flag(false) => self.update(b"false"),
            SignedValue::Escaped(text) => unescaped(text, |piece| self.update(piece)),
        }
    }

    fn finish(self) -> [u8; SIGNATURE_LENGTH] {
        let Mac { inner, mut outer } = self;
        outer.update(inner.finalize());
        let mut text = [0; SIGNATURE_LENGTH];
        let written = STANDARD.encode_slice(outer.finalize(), &mut text);
        debug_assert_eq!(written, Ok(SIGNATURE_LENGTH));
        text
    }
}

/// Calls `piece` with the parts of what the inside of a JSON string of our own means.
fn unescaped(text: &str, mut piece: impl FnMut(&[u8])) {
    let mut rest = text.as_bytes();
    while let Some(position) = rest.iter().position(|byte| *byte == b'\\') {
        let (plain, escape) = rest.split_at(position);
        piece(plain);
        rest = match escape {
            // Only control characters are written like this.
            [_, b'u', b'0', b'0', high, low, rest @ ..] => {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8;
                piece(&[digit(*high) << 4 | digit(*low)]);
                rest
            }
            [_, escaped, rest @ ..] => {
                piece(&[*escaped]);
                rest
            }
            _ => &[],
        };
    }
    piece(rest);
}

/// Signs the frame of a send that begins at `start`, from the very parts that it was written from.
/// It has the fields of `header`, in the layout that the code asks for, and those of `signing`;
/// `escaped` are the properties as the inside of a JSON string, if the header does not have them.
///
/// # Errors
/// The frame would be refused by every peer; it is as it was before.
// Java: AclClientRPCHook#doBeforeRequest, AclUtils#combineRequestContent
pub(crate) fn sign_send(
    out: &mut Vec<u8>,
    start: usize,
    signing: &Signing,
    header: &SendHeader<'_>,
    long_names: bool,
    escaped: Option<&str>,
    body: &[u8],
) -> Result<(), EncodeError> {
    let properties = escaped.map_or(SignedValue::Text(header.properties), SignedValue::Escaped);
    let mut mac = signing.credentials.mac();
    let mut others = signing.fields.iter().peekable();
    for (name, value) in header.signed_fields(long_names, properties) {
        while let Some((_, other)) = others.next_if(|(other, _)| **other < *name) {
            mac.update(other.as_bytes());
        }
        mac.value(value);
    }
    for (_, other) in others {
        mac.update(other.as_bytes());
    }
    mac.update(body);
    insert_signature(out, start, &signing.credentials, &mac.finish())
}

/// Signs the frame of any request that begins at `start`, from what is written there. `body` is
/// what follows the frame, if it holds no body itself.
///
/// # Errors
/// The frame would be refused by every peer; it is as it was before.
// Java: AclClientRPCHook#doBeforeRequest, AclUtils#combineRequestContent
pub(crate) fn sign_written(
    out: &mut Vec<u8>,
    start: usize,
    credentials: &Credentials,
    body: &[u8],
) -> Result<(), EncodeError> {
    let Some((encoding, header, rest)) = split_written(out.get(start..).unwrap_or_default()) else {
        return Ok(());
    };
    // It is a frame of our own.
    let Ok(command) = Command::decode(encoding, header) else {
        return Ok(());
    };
    let own = [
        (ACCESS_KEY, Some(credentials.access_key())),
        (SECURITY_TOKEN, credentials.security_token()),
    ];
    let own = own
        .into_iter()
        .filter_map(|(name, value)| Some((Cow::Borrowed(name), Cow::Borrowed(value?))));
    let mut fields: Vec<(Cow<'_, str>, Cow<'_, str>)> =
        command.ext_fields.iter().chain(own).collect();
    // Java: TreeMap of String, which compares UTF-16 code units and not code points.
    fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    let mut mac = credentials.mac();
    for (_, value) in &fields {
        mac.update(value.as_bytes());
    }
    mac.update(if rest.is_empty() { body } else { rest });
    let signature = mac.finish();
    insert_signature(out, start, credentials, &signature)
}

fn insert_signature(
    out: &mut Vec<u8>,
    start: usize,
    credentials: &Credentials,
    signature: &[u8; SIGNATURE_LENGTH],
) -> Result<(), EncodeError> {
    let (json, binary) = credentials.prefix();
    insert(out, start, |encoding, more| match encoding {
        Encoding::Json if more => [json, signature, b"\","],
        Encoding::Json => [json, signature, b"\""],
        Encoding::Binary => [binary, signature, b""],
    })
}

/// The fields of credentials up to the value of the signature: for JSON and for binary headers.
pub(crate) fn render_prefix(access_key: &str, token: Option<&str>) -> (Box<[u8]>, Box<[u8]>) {
    let (mut json, mut binary) = (Vec::new(), Vec::new());
    let fields = [(ACCESS_KEY, Some(access_key)), (SECURITY_TOKEN, token)];
    let mut open = |name: &str, length: usize, value: &str| {
        json.extend_from_slice(if json.is_empty() { b"\"" } else { b"\",\"" });
        json.extend_from_slice(name.as_bytes());
        json.extend_from_slice(b"\":\"");
        push_escaped(&mut json, value);
        binary.extend_from_slice(&(name.len() as u16).to_be_bytes());
        binary.extend_from_slice(name.as_bytes());
        binary.extend_from_slice(&(length as u32).to_be_bytes());
        binary.extend_from_slice(value.as_bytes());
    };
    for (name, value) in fields {
        if let Some(value) = value {
            open(name, value.len(), value);
        }
    }
    open(SIGNATURE, SIGNATURE_LENGTH, "");
    (json.into(), binary.into())
}

#[cfg(test)]
mod tests;
