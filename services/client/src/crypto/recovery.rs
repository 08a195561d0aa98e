//! The recovery key: shown once to a room's creator, so that losing one device does not leave the room without an admin.

use std::fmt;

use zeroize::Zeroizing;

use super::{Device, DeviceSecrets, Key, base32, hkdf, random};
use crate::error::ClientError;

const MARK: &str = "snug-recovery-";

/// 32 random bytes from which an admin device derives. Wiped when dropped; [`RecoveryKey::to_text`] shows it.
#[derive(Clone)]
pub struct RecoveryKey(Key);

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(…)")
    }
}

impl RecoveryKey {
    /// A fresh one.
    #[must_use]
    pub fn generate() -> Self {
        Self(Key::new(random()))
    }

    /// The key with these bytes.
    #[must_use]
    pub const fn import(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The device it stands for.
    #[must_use]
    pub fn device(&self) -> Device {
        Device::import(&DeviceSecrets {
            sign_seed: hkdf(self.0.as_ref(), &[], &[b"snug/v1/recovery-sign"]),
            agree_secret: hkdf(self.0.as_ref(), &[], &[b"snug/v1/recovery-agree"]),
        })
    }

    /// The text to save: `snug-recovery-` and thirteen groups of four letters and digits.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let letters = Zeroizing::new(base32::encode(self.0.as_ref()));
        let groups: Vec<&str> = (0..letters.len()).step_by(4).map(|at| &letters[at..at + 4]).collect();
        Zeroizing::new(format!("{MARK}{}", groups.join("-")))
    }

    /// Reads the text in either case, with any number of hyphens and spaces.
    ///
    /// # Errors
    /// `recovery_key_invalid`.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let text = Zeroizing::new(text.trim().to_ascii_lowercase());
        let letters = text.strip_prefix(MARK).ok_or(ClientError::RecoveryKeyInvalid)?;
        let letters: Zeroizing<String> =
            Zeroizing::new(letters.chars().filter(|c| *c != '-' && !c.is_whitespace()).collect());
        let bytes = base32::decode(&letters).map(Zeroizing::new).ok_or(ClientError::RecoveryKeyInvalid)?;
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| ClientError::RecoveryKeyInvalid)?;
        Ok(Self(Key::new(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_key_is_read_as_it_was_written_and_gives_the_same_device() {
        let key = RecoveryKey::generate();
        let text = key.to_text();
        assert_eq!(text.len(), MARK.len() + 52 + 12);
        let read = RecoveryKey::parse(&text.to_uppercase()).expect("a recovery key");
        assert_eq!(read.device().id(), key.device().id());
        assert!(RecoveryKey::parse(&text[..text.len() - 1]).is_err());
        assert!(RecoveryKey::parse("snug-recovery-").is_err());
    }
}
