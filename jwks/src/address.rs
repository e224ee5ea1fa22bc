//! Where key sets may be fetched from: by default from public addresses only.
//!
//! URLs are written by tenants' teams and fetched from inside the cluster. Without this they could ask whatever is reachable from there, as a
//! cloud's metadata service, and learn something from what the status says of it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;

/// Which addresses may be connected to. It is asked about the address that is then connected to, never about a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    all: bool,
    nets: Vec<IpNet>,
}

/// What is none of what may be allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a network as in 10.0.0.0/8, nor an address, nor \"all\"")]
pub struct ParseError(String);

impl AddressPolicy {
    /// Every address.
    pub const fn all() -> Self {
        Self { all: true, nets: Vec::new() }
    }

    /// True when `address` may be connected to.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.all || is_public(address) || self.nets.iter().any(|net| net.contains(&address))
    }
}

/// Besides public addresses: networks and addresses with commas between them, or `all`.
impl FromStr for AddressPolicy {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut policy = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if part.eq_ignore_ascii_case("all") {
                policy.all = true;
                continue;
            }
            let net = part.parse::<IpNet>().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
            policy.nets.push(net.map_err(|_| ParseError(part.to_owned()))?);
        }
        Ok(policy)
    }
}

/// True for what the registries of IANA give to anyone on the internet (RFC 6890 and its successors).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match a {
        // This network, private, loopback, multicast and reserved.
        0 | 10 | 127 | 224.. => true,
        // Shared by the clients of a provider (RFC 6598).
        100 => (64..128).contains(&b),
        169 => b == 254,
        172 => (16..32).contains(&b),
        // Private, protocol assignments, documentation, and the former anycast of 6to4.
        192 => b == 168 || (b == 0 && (c == 0 || c == 2)) || (b == 88 && c == 99),
        // Benchmarks (RFC 2544), documentation.
        198 => b == 18 || b == 19 || (b == 51 && c == 100),
        203 => b == 0 && c == 113,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // IPv4 behind a translator (RFC 6052): what counts is where that leads.
        (0x64, 0xff9b) => (c, d, e, f) == (0, 0, 0, 0) && embedded(g, h),
        // 6to4 (RFC 3056).
        (0x2002, _) => embedded(b, c),
        // Protocol assignments with Teredo, documentation.
        (0x2001, 0..0x200 | 0xdb8) | (0x3fff, 0..0x1000) => false,
        // The only block of global unicast addresses.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_public_addresses_are_allowed_by_default() {
        let policy = AddressPolicy::default();
        for public in [
            "1.1.1.1",
            "100.63.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.1",
            "2606:4700::1",
            "64:ff9b::101:101",
            "::ffff:8.8.8.8",
        ] {
            assert!(policy.allows(ip(public)), "{public}");
        }
        for other in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::808:808",
            "2002:a00:1::",
            "2002:7f00:1::",
            "::7f00:1",
        ] {
            assert!(!policy.allows(ip(other)), "{other}");
        }
    }

    #[test]
    fn networks_addresses_and_everything_can_be_allowed() {
        let policy: AddressPolicy = "10.96.0.0/12, 192.168.1.7,fd00::/8".parse().unwrap();
        for (address, allowed) in [
            ("10.96.0.1", true),
            ("10.0.0.1", false),
            ("192.168.1.7", true),
            ("192.168.1.8", false),
            ("fd12::1", true),
            ("::ffff:10.96.0.1", true),
            ("1.1.1.1", true),
        ] {
            assert_eq!(policy.allows(ip(address)), allowed, "{address}");
        }
        assert!("All".parse::<AddressPolicy>().unwrap().allows(ip("127.0.0.1")));
        assert_eq!("".parse(), Ok(AddressPolicy::default()));
        assert_eq!("10.0.0.0/33".parse::<AddressPolicy>(), Err(ParseError("10.0.0.0/33".to_owned())));
        assert_eq!(
            "id.example".parse::<AddressPolicy>().unwrap_err().to_string(),
            "\"id.example\" is neither a network as in 10.0.0.0/8, nor an address, nor \"all\""
        );
    }
}
