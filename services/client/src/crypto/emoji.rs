//! What may be a reaction, and what a topic: short texts that are shown where there is no room for tricks.

use snug_protocol::limits::{EMOJI_BYTES_MAX, EMOJI_CHARS_MAX, TOPIC_CHARS_MAX};
use snug_protocol::names::{NameError, normalise};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Makes a keycap of the character before it.
const KEYCAP: char = '\u{20E3}';

/// Checks a reaction: 1 to 10 code points, at most 40 bytes of UTF-8, none of them a control, white space, a letter or bidirectional;
/// digits only together with U+20E3.
///
/// # Errors
/// What is wrong with it.
pub fn reaction_emoji(emoji: &str) -> Result<(), NameError> {
    let chars = emoji.chars().count();
    if chars == 0 {
        return Err(NameError::Empty);
    }
    if chars > EMOJI_CHARS_MAX || emoji.len() > EMOJI_BYTES_MAX {
        return Err(NameError::TooLong { chars, chars_max: EMOJI_CHARS_MAX });
    }
    let keycap = emoji.contains(KEYCAP);
    let forbidden = |c: char| {
        c.is_control()
            || c.is_whitespace()
            || is_bidirectional(c)
            || c.general_category_group() == GeneralCategoryGroup::Letter
            || (c.general_category() == GeneralCategory::DecimalNumber && !keycap)
    };
    if emoji.chars().any(forbidden) { Err(NameError::ForbiddenCharacter) } else { Ok(()) }
}

const fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The topic as it is kept: as a name, but up to 200 code points, and it may be empty.
///
/// # Errors
/// Too long, or a forbidden character.
pub fn room_topic(typed: &str) -> Result<String, NameError> {
    if typed.trim().is_empty() {
        return Ok(String::new());
    }
    normalise(typed, TOPIC_CHARS_MAX)
}

/// Whether a received topic is in the form that is kept. Any other is refused rather than changed: the record must repeat it exactly.
pub(super) fn is_topic(topic: &str) -> bool {
    room_topic(topic).as_deref() == Ok(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reaction_is_an_emoji_and_not_a_text() {
        for emoji in ["👍", "👩‍👩‍👧", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🅰️", "🇩🇪", "❤️", "#️⃣"]
        {
            assert_eq!(reaction_emoji(emoji), Ok(()), "{emoji}");
        }
        for text in ["a", "1", "👍 ", "👍a", "\u{202E}👍", "\u{7}", "é", "世", "٣", "\u{61C}"] {
            assert_eq!(reaction_emoji(text), Err(NameError::ForbiddenCharacter), "{text:?}");
        }
        assert_eq!(reaction_emoji(""), Err(NameError::Empty));
        assert!(reaction_emoji(&"👍".repeat(10)).is_ok());
        assert_eq!(reaction_emoji(&"👍".repeat(11)), Err(NameError::TooLong { chars: 11, chars_max: 10 }));
    }

    #[test]
    fn a_topic_is_received_only_in_the_form_that_is_kept() {
        assert_eq!(room_topic("  Gardens   and\u{3000}cafe\u{301}s ").as_deref(), Ok("Gardens and cafés"));
        assert_eq!(room_topic(" \u{3000}").as_deref(), Ok(""));
        for topic in ["", "Gardens", "Gardens and cafés"] {
            assert!(is_topic(topic), "{topic:?}");
        }
        for topic in [" ", " Gardens", "a  b", "cafe\u{301}", "a\u{202E}b", "two\nlines", &"a".repeat(201)] {
            assert!(!is_topic(topic), "{topic:?}");
        }
        assert!(is_topic(&"🧶".repeat(200)));
    }
}
