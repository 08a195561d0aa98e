//! Addresses of proxies.

use std::net::IpAddr;

/// An address or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    base: IpAddr,
    prefix: u8,
}

impl std::str::FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (base, prefix) = match text.trim().split_once('/') {
            Some((base, prefix)) => (base, Some(prefix)),
            None => (text.trim(), None),
        };
        let base: IpAddr =
            base.parse().map_err(|_| format!("{text} is not an address or a range such as 10.0.0.0/8"))?;
        let widest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix
            .map_or(Ok(widest), str::parse)
            .map_err(|_| format!("{text}: the length of the prefix is not a number"))?;
        if prefix > widest {
            return Err(format!("{text}: the prefix is longer than {widest} bits"));
        }
        Ok(Self { base, prefix })
    }
}

impl AddressRange {
    /// Whether `address` lies in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
            IpAddr::V6(v6) => v6.to_bits(),
        };
        self.base.is_ipv4() == address.is_ipv4()
            && (self.prefix == 0 || (bits(self.base) ^ bits(address)) >> (128 - u32::from(self.prefix)) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_contains_its_addresses_and_no_others() {
        let range: AddressRange = "10.1.0.0/16".parse().expect("a range");
        assert!(range.contains("10.1.255.1".parse().expect("an address")));
        assert!(!range.contains("10.2.0.1".parse().expect("an address")));
        assert!(!range.contains("::1".parse().expect("an address")));
        assert!("0.0.0.0/0".parse::<AddressRange>().expect("a range").contains("1.2.3.4".parse().expect("an address")));
        assert!("10.0.0.0/33".parse::<AddressRange>().is_err());
    }
}
