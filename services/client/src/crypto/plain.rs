//! The form that the JSON of every body has, so that no two readers of JSON take it for different things, in ignored fields either.
//!
//! Readers differ where texts have half a character, where numbers are long, large or broken, and where values lie deep in one another: one
//! refuses what another reads, or they read different numbers. The browser client has the same form (`core/plain-json.ts`), and the same
//! vectors (`bodies-v1.json`). Whether it is JSON at all is the reader's question.

/// Arrays and objects in one another.
const DEPTH_MAX: usize = 32;
/// Numbers are integers of this size at most.
const NUMBER_MAX: u64 = super::json::NUMBER_MAX;

/// Whether no two readers of JSON differ on this text.
pub(super) fn is_plain(json: &[u8]) -> bool {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = json.get(at) {
        let rest = &json[at..];
        at += match byte {
            b'"' => match text(rest) {
                Some(bytes) => bytes,
                None => return false,
            },
            b'-' | b'+' | b'.' | b'0'..=b'9' => match number(rest) {
                Some(bytes) => bytes,
                None => return false,
            },
            _ => 1,
        };
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return false;
        }
    }
    true
}

/// The length of the text that begins here, if it ends and has whole characters.
fn text(json: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match (json.get(at + 1)?, escape(&json[at..])) {
                (b'u', Some(0xd800..=0xdbff)) => {
                    escape(&json[at + 6..]).filter(|low| (0xdc00..=0xdfff).contains(low))?;
                    12
                }
                (b'u', Some(0xdc00..=0xdfff) | None) => return None,
                (b'u', _) => 6,
                _ => 2,
            },
            _ => 1,
        };
    }
}

/// What `\u` and four hexadecimal digits stand for.
fn escape(json: &[u8]) -> Option<u16> {
    let digits = json.strip_prefix(b"\\u")?.get(..4)?;
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    u16::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| is_hex)?, 16).ok()
}

/// The length of the number that begins here: an integer in decimal digits, and not one of the many ways to write another zero.
fn number(json: &[u8]) -> Option<usize> {
    let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let written = &json[..json.iter().take_while(is_part).count()];
    let digits = written.strip_prefix(b"-").unwrap_or(written);
    let is_integer = digits.iter().all(u8::is_ascii_digit) && (written == b"0" || !digits.starts_with(b"0"));
    let size: u64 = std::str::from_utf8(digits).ok().filter(|_| is_integer)?.parse().ok()?;
    (size <= NUMBER_MAX).then_some(written.len())
}
