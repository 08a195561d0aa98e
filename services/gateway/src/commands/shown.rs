//! How values are shown to people.

/// A time as RFC 3339 has it, UTC, to the second.
pub fn time(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "never".to_owned(), |time| time.to_string())
}
