//! Reading bodies so that this client and a browser agree on every one of them.
//!
//! A browser takes the last of two equal names, and no list for an object. Where two members disagreed on what a body of the chain says,
//! they would disagree on who governs.

use serde::de::{DeserializeOwned, Deserializer, Error};
use serde::{Serialize, Serializer};
use serde_json::Value;
use snug_protocol::{Base64Bytes, EnvelopeHash};

use super::plain::is_plain;

/// Numbers in bodies are integers from 0 to this.
pub(super) const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Reads `T` from JSON of the form that bodies have ([`is_plain`]); unknown names are ignored, the last of equal names counts.
///
/// A list is no object, though serde would take its items for the fields in their order.
pub(super) fn parse<T: DeserializeOwned + Serialize>(json: &[u8]) -> Option<T> {
    let value: Value = serde_json::from_slice(json).ok().filter(|_| is_plain(json))?;
    let read: T = T::deserialize(&value).ok()?;
    has_shape(&value, &serde_json::to_value(&read).ok()?).then_some(read)
}

/// Whether `value` has an object wherever what was read from it has one.
fn has_shape(value: &Value, read: &Value) -> bool {
    match (value, read) {
        (Value::Object(value), Value::Object(read)) => {
            read.iter().all(|(name, read)| value.get(name).is_some_and(|value| has_shape(value, read)))
        }
        (Value::Array(value), Value::Array(read)) => {
            value.len() == read.len() && value.iter().zip(read).all(|(value, read)| has_shape(value, read))
        }
        (_, read) => !read.is_object(),
    }
}

/// Bytes of one length that are base64url text in a body.
pub(super) trait Fixed: Sized {
    fn bytes(&self) -> Base64Bytes;
    fn read(bytes: &Base64Bytes) -> Option<Self>;
}

impl<const N: usize> Fixed for [u8; N] {
    fn bytes(&self) -> Base64Bytes {
        (*self).into()
    }

    fn read(bytes: &Base64Bytes) -> Option<Self> {
        bytes.array()
    }
}

impl Fixed for EnvelopeHash {
    fn bytes(&self) -> Base64Bytes {
        self.0.into()
    }

    fn read(bytes: &Base64Bytes) -> Option<Self> {
        bytes.array().map(Self)
    }
}

/// For `serde(with)`: a field of [`Fixed`] length.
pub(super) mod fixed {
    use serde::Deserialize;

    use super::{Base64Bytes, Deserializer, Error, Fixed, Serialize, Serializer};

    pub(in crate::crypto) fn serialize<T: Fixed, S: Serializer>(field: &T, serializer: S) -> Result<S::Ok, S::Error> {
        field.bytes().serialize(serializer)
    }

    pub(in crate::crypto) fn deserialize<'de, T: Fixed, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::read(&Base64Bytes::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("another length"))
    }
}

/// For `serde(with)`: a field of [`Fixed`] length or null. It must be there: "none" is a statement.
pub(super) mod fixed_or_null {
    use serde::Deserialize;

    use super::{Base64Bytes, Deserializer, Error, Fixed, Serialize, Serializer};

    pub(in crate::crypto) fn serialize<T: Fixed, S: Serializer>(
        field: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        field.as_ref().map(Fixed::bytes).serialize(serializer)
    }

    pub(in crate::crypto) fn deserialize<'de, T: Fixed, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        Option::<Base64Bytes>::deserialize(deserializer)?
            .map(|bytes| T::read(&bytes).ok_or_else(|| D::Error::custom("another length")))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_repeated_names_are_read_as_a_browser_reads_them() {
        #[derive(Serialize, serde::Deserialize, PartialEq, Debug)]
        struct One {
            n: u64,
        }
        for (json, n) in
            [(r#"{"n":1}"#, 1), (r#"{"n":2,"n":3}"#, 3), (r#"{"n":1000,"x":[]}"#, 1_000), (r#"{"n":0,"x":-1}"#, 0)]
        {
            assert_eq!(parse::<One>(json.as_bytes()), Some(One { n }), "{json}");
        }
        for json in [
            r#"{"n":1.0}"#,
            r#"{"n":1e3}"#,
            r#"{"n":-0}"#,
            r#"{"n":1.5}"#,
            r#"{"n":-1}"#,
            r#"{"n":"1"}"#,
            r#"{"n":null}"#,
            r#"{"n":1e300}"#,
            "[1]",
            "{}",
            "{",
            "",
        ] {
            assert_eq!(parse::<One>(json.as_bytes()), None, "{json}");
        }
    }
}
