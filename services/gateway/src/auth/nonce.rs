//! Sign-in nonces that need no memory: a time and random bytes under a MAC. Good for `NONCE_LIFE` on every node.

use snug_protocol::limits::NONCE_LIFE;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Peppers;
use super::pepper::mac;

/// Issues and recognises nonces.
///
/// A nonce is not remembered, so a signature may be presented again within its life; with the grant's proof it gives the same device the
/// same rights again, and nothing else.
pub struct Nonces {
    key: Zeroizing<[u8; 32]>,
}

impl Nonces {
    /// Under a key of the installation.
    #[must_use]
    pub fn new(peppers: &Peppers) -> Self {
        Self { key: peppers.lasting_key("snug/v1/nonce") }
    }

    /// A new nonce.
    #[must_use]
    pub fn issue(&self, now_ms: u64) -> String {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&now_ms.to_be_bytes());
        getrandom::fill(&mut bytes[8..24]).expect("the system gives random bytes");
        let tag = mac(self.key.as_slice(), &[&bytes[..24]]);
        bytes[24..].copy_from_slice(&tag[..16]);
        snug_protocol::encode_base64(&bytes)
    }

    /// Whether the nonce is ours and young enough.
    #[must_use]
    pub fn is_good(&self, nonce: &str, now_ms: u64) -> bool {
        let Some(bytes) = snug_protocol::decode_base64(nonce).filter(|bytes| bytes.len() == 40) else { return false };
        let tag = mac(self.key.as_slice(), &[&bytes[..24]]);
        let issued_ms = u64::from_be_bytes(bytes[..8].try_into().expect("length checked"));
        // A clock that was set back must not make a nonce immortal.
        let life_ms = u64::try_from(NONCE_LIFE.as_millis()).expect("minutes");
        let young = issued_ms <= now_ms.saturating_add(life_ms) && now_ms <= issued_ms.saturating_add(life_ms);
        bool::from(tag[..16].ct_eq(&bytes[24..])) && young
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_until_it_is_old_and_never_when_changed() {
        let nonces = Nonces::new(&Peppers::of(&[(1, [7; 32])]));
        let nonce = nonces.issue(1_000_000);
        assert!(nonces.is_good(&nonce, 1_000_000 + 119_000));
        assert!(!nonces.is_good(&nonce, 1_000_000 + 121_000));
        assert!(!Nonces::new(&Peppers::of(&[(1, [8; 32])])).is_good(&nonce, 1_000_000));
        let mut bytes = snug_protocol::decode_base64(&nonce).expect("ours");
        bytes[3] ^= 1;
        assert!(!nonces.is_good(&snug_protocol::encode_base64(&bytes), 1_000_000));
        assert!(!nonces.is_good("", 1_000_000));
    }
}
