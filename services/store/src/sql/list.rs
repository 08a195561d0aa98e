//! Values of a statement's list of rows.

/// What a column of a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bytes,
    Number,
}

/// One value of a row of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'v> {
    Bytes(&'v [u8]),
    Number(i64),
}

/// A number as the database holds it. Ours are below 2^53; one from outside that is not lies behind everything.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of ours as a value.
pub(crate) fn number(number: u64) -> Value<'static> {
    Value::Number(stored(number))
}
