//! What people type, checked at entry and again before it is shown. The server never sees these texts.

use snug_protocol::limits::{MEMBER_NAME_CHARS_MAX, PASSWORD_CHARS_MAX, ROOM_NAME_CHARS_MAX, TEXT_CHARS_MAX};
use snug_protocol::names::{NameError, normalise};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::error::{ClientError, Field};

/// The member name as it is kept: NFC, trimmed, white space folded; 1 to 40 code points.
///
/// # Errors
/// `member_name_…`.
pub fn member_name(typed: &str) -> Result<String, ClientError> {
    normalise(typed, MEMBER_NAME_CHARS_MAX).map_err(|reason| ClientError::Text { field: Field::MemberName, reason })
}

/// The room name as it is kept; 1 to 64 code points.
///
/// # Errors
/// `room_name_…`.
pub fn room_name(typed: &str) -> Result<String, ClientError> {
    normalise(typed, ROOM_NAME_CHARS_MAX).map_err(|reason| ClientError::Text { field: Field::RoomName, reason })
}

/// Checks a text before it is sent: 1 to 4,000 code points, not only white space, no control characters but line feed and tab.
/// It is not changed.
///
/// # Errors
/// `text_…`.
pub fn message_text(text: &str) -> Result<(), ClientError> {
    if text.trim().is_empty() {
        return Err(ClientError::Text { field: Field::Text, reason: NameError::Empty });
    }
    received_text(text)
}

/// Checks a text before it is shown. White space alone is allowed: another client may have sent it.
///
/// # Errors
/// `text_…`.
pub fn received_text(text: &str) -> Result<(), ClientError> {
    let refuse = |reason| Err(ClientError::Text { field: Field::Text, reason });
    let chars = text.chars().count();
    if chars == 0 {
        return refuse(NameError::Empty);
    }
    if chars > TEXT_CHARS_MAX {
        return refuse(NameError::TooLong { chars, chars_max: TEXT_CHARS_MAX });
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return refuse(NameError::ForbiddenCharacter);
    }
    Ok(())
}

/// The password as it is hashed: NFC, otherwise as typed; 1 to 256 code points. Wiped when dropped.
///
/// # Errors
/// `password_empty`, `password_too_long`.
pub fn password(typed: &str) -> Result<Zeroizing<String>, ClientError> {
    let normal: Zeroizing<String> = Zeroizing::new(typed.nfc().collect());
    let reason = match normal.chars().count() {
        0 => NameError::Empty,
        chars if chars > PASSWORD_CHARS_MAX => NameError::TooLong { chars, chars_max: PASSWORD_CHARS_MAX },
        _ => return Ok(normal),
    };
    Err(ClientError::Text { field: Field::Password, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_cannot_be_sent_is_refused_by_a_code_of_its_own() {
        for (text, code) in [
            (String::new(), "text_empty"),
            (" \n ".into(), "text_empty"),
            ("a".repeat(4_001), "text_too_long"),
            ("a\u{7}".into(), "text_forbidden_character"),
        ] {
            assert_eq!(message_text(&text).map_err(|error| error.code()), Err(code));
        }
        assert!(message_text(&"\u{1F9F6}".repeat(4_000)).is_ok());
        assert!(message_text("two\nlines\tand a tab").is_ok());
        assert_eq!(member_name("a\u{202E}b").map_err(|error| error.code()), Err("member_name_forbidden_character"));
        assert_eq!(room_name(" ").map_err(|error| error.code()), Err("room_name_empty"));
        assert_eq!(password(&"x".repeat(257)).map_err(|error| error.code()), Err("password_too_long"));
        assert_eq!(password("cafe\u{301}").map(|p| p.to_string()).ok().as_deref(), Some("café"));
    }
}
