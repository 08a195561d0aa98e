//! Numbers that people compare by another channel, to know that nobody stands between them (ENCRYPTION.md section 1). Pure.

use snug_protocol::{DeviceId, EnvelopeHash};

/// Bytes that such a number is made of.
const BYTES: usize = 16;

/// A device's safety number: its whole id, as eight groups of five digits.
#[must_use]
pub fn safety_number(device: DeviceId) -> String {
    in_groups(&device.0)
}

/// A room's fingerprint, by the envelope hash of its first entry.
pub(crate) fn fingerprint(founding: EnvelopeHash) -> String {
    in_groups(&founding.0[..BYTES])
}

/// Every two bytes as a group of five digits.
fn in_groups(bytes: &[u8]) -> String {
    let groups = bytes.chunks_exact(2).map(|pair| format!("{:05}", u16::from_be_bytes([pair[0], pair[1]])));
    groups.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_bytes_are_a_group_of_five_digits() {
        let mut id = [0; BYTES];
        (id[1], id[2], id[3], id[14], id[15]) = (7, 1, 0, 255, 255);
        let number = safety_number(DeviceId(id));
        assert_eq!(number, "00007 00256 00000 00000 00000 00000 00000 65535");
        let mut hash = [9; 32];
        hash[..BYTES].copy_from_slice(&id);
        assert_eq!(fingerprint(EnvelopeHash(hash)), number);
    }
}
