//! Names of rooms: what may be one, and when two are too alike.

use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left after trimming.
    #[error("the name is empty")]
    Empty,
    /// Longer than allowed.
    #[error("the name has {chars} characters, more than {chars_max}")]
    TooLong {
        /// How many it has.
        chars: usize,
        /// How many it may have.
        chars_max: usize,
    },
    /// A control, bidirectional or invisible character.
    #[error("the name contains a character that is not allowed")]
    ForbiddenCharacter,
}

/// Control characters, bidirectional controls, separators of lines, and other invisible format characters,
/// but for the two joiners that several scripts need.
#[must_use]
pub fn is_forbidden_in_names(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{0600}'..='\u{0605}' | '\u{061C}' | '\u{06DD}' | '\u{070F}' | '\u{0890}'..='\u{0891}' | '\u{08E2}'
            | '\u{180E}' | '\u{200B}' | '\u{200E}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{110BD}' | '\u{110CD}' | '\u{13430}'..='\u{1343F}'
            | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0001}' | '\u{E0020}'..='\u{E007F}')
}

/// The name as it is kept: NFC, trimmed, runs of white space folded to one space.
///
/// # Errors
/// Empty, longer than `chars_max` code points, or with a forbidden character.
pub fn normalise(name: &str, chars_max: usize) -> Result<String, NameError> {
    // A line break is white space and a control character; it is refused rather than folded.
    if name.trim().chars().any(is_forbidden_in_names) {
        return Err(NameError::ForbiddenCharacter);
    }
    let name: String = name.nfc().collect();
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let chars = name.chars().count();
    match chars {
        0 => Err(NameError::Empty),
        _ if !name
            .chars()
            .any(|c| c.is_alphanumeric() || !(c.is_whitespace() || matches!(c, '\u{200C}' | '\u{200D}'))) =>
        {
            Err(NameError::Empty)
        }
        _ if chars > chars_max => Err(NameError::TooLong { chars, chars_max }),
        _ => Ok(name),
    }
}

/// What two names have in common when people would take one for the other: the UTS #39 skeleton of the name in lower case, without joiners.
///
/// Lower case is taken before and after the skeleton, since the skeleton of `1` and `I` is `l`, and since some skeletons have upper case.
#[must_use]
pub fn likeness(normalised: &str) -> String {
    let folded: String =
        normalised.nfkc().filter(|c| !matches!(c, '\u{200C}' | '\u{200D}')).flat_map(char::to_lowercase).collect();
    let bones: String = skeleton(&folded).flat_map(char::to_lowercase).collect();
    skeleton(&bones).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_look_alike_have_one_likeness() {
        for (a, b) in [
            ("Book Club", "book club"),
            ("paypal", "pаypаl"),
            ("ﬁnance", "finance"),
            ("ROOM1", "rooml"),
            ("STRASSE", "strasse"),
            ("Ωmega", "ωmega"),
        ] {
            assert_eq!(likeness(a), likeness(b), "{a} and {b}");
        }
        assert_ne!(likeness("garden"), likeness("kitchen"));
    }

    #[test]
    fn names_with_hidden_characters_are_refused() {
        for name in ["a\u{202E}b", "a\u{0}b", "a\nb", "a\u{200B}b", "a\u{2066}b", "a\u{FEFF}b"] {
            assert_eq!(normalise(name, 64), Err(NameError::ForbiddenCharacter), "{name:?}");
        }
        assert_eq!(normalise(" \u{3000} ", 64), Err(NameError::Empty));
        assert_eq!(normalise("\u{200D}", 64), Err(NameError::Empty));
        assert_eq!(normalise(&"é".repeat(65), 64), Err(NameError::TooLong { chars: 65, chars_max: 64 }));
        assert_eq!(normalise("  cafe\u{301}   au  lait ", 64).as_deref(), Ok("café au lait"));
    }

    proptest! {
        #[test]
        fn a_normal_name_is_its_own_normal_form(name in "\\PC{0,80}") {
            if let Ok(normal) = normalise(&name, 64) {
                prop_assert_eq!(normalise(&normal, 64), Ok(normal));
            }
        }
    }
}
