//! Where webhooks may go: whoever gives a URL must reach nothing that only this machine and its network reach.
//! Must never know a request.

use http::Uri;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of IPv4 that are not of the public internet, by the registries of IANA.
const PRIVATE_V4: &[Ipv4Net] = &[
    v4([0, 0, 0, 0], 8),        // this network
    v4([10, 0, 0, 0], 8),       // private
    v4([100, 64, 0, 0], 10),    // carrier-grade NAT, and a metadata address within
    v4([127, 0, 0, 0], 8),      // loopback
    v4([168, 63, 129, 16], 32), // the host of a virtual machine in Azure
    v4([169, 254, 0, 0], 16),   // link-local, with the metadata of most clouds
    v4([172, 16, 0, 0], 12),    // private
    v4([192, 0, 0, 0], 24),     // protocols
    v4([192, 0, 2, 0], 24),     // documentation
    v4([192, 88, 99, 0], 24),   // relays of 6to4
    v4([192, 168, 0, 0], 16),   // private
    v4([198, 18, 0, 0], 15),    // benchmarks
    v4([198, 51, 100, 0], 24),  // documentation
    v4([203, 0, 113, 0], 24),   // documentation
    v4([224, 0, 0, 0], 4),      // multicast
    v4([240, 0, 0, 0], 4),      // reserved, and broadcast
];

/// The addresses of IPv6 that are routed. All others are loopback, unique-local, link-local, multicast, or of no use yet.
const ROUTED_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Those of them that are not of the public internet.
const PRIVATE_V6: &[Ipv6Net] = &[
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocols: Teredo, benchmarks, ORCHID
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4, which holds an address of IPv4
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation
];

/// Prefixes whose last 32 bits are an address of IPv4.
const EMBEDDED: &[Ipv6Net] = &[
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),    // mapped
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), // NAT64
];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), length)
}

/// The hosts and networks that the program allows beside the public internet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed {
    hosts: Vec<String>,
    networks: Vec<IpNet>,
}

/// What a host or network is.
pub(crate) const EXPECTED: &str =
    "the name of a host, such as `hooks.internal`, an address, or a network, such as `10.0.0.0/8`";

impl Allowed {
    /// Adds a host or a network.
    ///
    /// # Errors
    /// If it is neither, with what is expected.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), &'static str> {
        let text = text.trim();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if let Ok(network) = text.parse() {
            self.networks.push(network);
        } else if let Ok(address) = text.parse::<IpAddr>() {
            self.networks.push(address.into());
        } else if !text.is_empty() && text.bytes().all(is_name) {
            self.hosts.push(text.to_ascii_lowercase());
        } else {
            return Err(EXPECTED);
        }
        Ok(())
    }
}

/// Decides where webhooks may go.
#[derive(Debug)]
pub(super) struct Guard {
    allowed: Allowed,
}

impl Guard {
    pub(super) fn new(allowed: Allowed) -> Self {
        Self { allowed }
    }

    /// Checks what a URL itself says: whether it is encrypted, and its address if it names one.
    ///
    /// # Errors
    /// With the reason, and the cure.
    pub(super) fn check_url(&self, uri: &Uri) -> Result<(), String> {
        let host = uri.host().unwrap_or_default();
        let address = address_of(host);
        if let Some(address) = address {
            self.check_address(host, address)?;
        }
        let is_allowed = match address {
            Some(address) => self.allows(address),
            None => self.allows_host(host),
        };
        if uri.scheme_str() != Some("https") && !is_allowed {
            return Err(format!(
                "a webhook to {host} is not encrypted: use `https`, or allow the host with BGTASK_WEBHOOK_ALLOW or `webhook_allow`"
            ));
        }
        Ok(())
    }

    /// Checks an address that the name of a host leads to, or that is written in a URL.
    ///
    /// # Errors
    /// With the reason, and the cure.
    pub(super) fn check_address(&self, host: &str, address: IpAddr) -> Result<(), String> {
        if is_public(address) || self.allows(address) || self.allows_host(host) {
            return Ok(());
        }
        Err(format!(
            "{host} is not on the public internet (it has the address {address}): allow the host or its network with BGTASK_WEBHOOK_ALLOW or \
             `webhook_allow`, if whoever gives the URLs may reach it"
        ))
    }

    fn allows(&self, address: IpAddr) -> bool {
        let networks = &self.allowed.networks;
        let is_in = |address: &IpAddr| networks.iter().any(|network| network.contains(address));
        is_in(&address) || embedded(address).is_some_and(|address| is_in(&address.into()))
    }

    fn allows_host(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        self.allowed.hosts.contains(&host)
    }
}

/// Returns the address that is written in the place of a host's name.
fn address_of(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// Returns whether an address is one of the public internet.
fn is_public(address: IpAddr) -> bool {
    if let Some(embedded) = embedded(address) {
        return is_public(embedded.into());
    }
    match address {
        IpAddr::V4(address) => !PRIVATE_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) => {
            ROUTED_V6.contains(&address)
                && !PRIVATE_V6.iter().any(|network| network.contains(&address))
        }
    }
}

/// Returns the address of IPv4 that a translator takes out of this one.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let [.., a, b, c, d] = address.octets();
    EMBEDDED
        .iter()
        .any(|network| network.contains(&address))
        .then(|| Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::{Allowed, Guard};
    use http::Uri;

    fn guard(allowed: &[&str]) -> Guard {
        let mut all = Allowed::default();
        for one in allowed {
            all.add(one).expect("a host or a network");
        }
        Guard::new(all)
    }

    fn is_let_through(guard: &Guard, url: &str) -> bool {
        guard.check_url(&url.parse::<Uri>().expect("a URL")).is_ok()
    }

    /// Sentence 16.12.
    #[test]
    fn only_addresses_of_the_public_internet_are_let_through() {
        let guard = guard(&[]);
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.9.10",
            "168.63.129.16",
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:10.1.2.3]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::1]",
            "[100::1]",
            "[2001::1]",
            "[2001:2::1]",
            "[2001:10::1]",
            "[2001:db8::1]",
            "[2002:a00:1::1]",
            "[2002:808:808::1]",
            "[3fff::1]",
            "[4000::1]",
            "[5f00::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fdff::1]",
            "[fe80::1]",
            "[febf::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[ff0e::1]",
        ] {
            assert!(
                !is_let_through(&guard, &format!("https://{address}/")),
                "{address}"
            );
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "168.63.129.17",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "[::ffff:8.8.8.8]",
            "[64:ff9b::8.8.8.8]",
            "[2001:200::1]",
            "[2606:4700::1111]",
            "[2a00:1450::1]",
            "[3ffe::1]",
        ] {
            assert!(
                is_let_through(&guard, &format!("https://{address}/")),
                "{address}"
            );
        }
    }

    /// Sentence 16.12.
    #[test]
    fn what_the_program_allows_is_let_through_and_nothing_beside_it() {
        let guard = guard(&["10.1.0.0/16", "fd00::/8", "127.0.0.1", "Hooks.Internal"]);
        for (url, is_allowed) in [
            ("http://10.1.2.3/", true),
            ("https://10.1.2.3:8443/x", true),
            ("https://10.2.0.1/", false),
            ("https://[fd00::1]/", true),
            ("https://[fe80::1]/", false),
            ("http://127.0.0.1:3000/", true),
            ("https://[::ffff:127.0.0.1]/", true),
            ("http://127.0.0.2/", false),
            ("http://hooks.internal/", true),
            ("http://HOOKS.internal./", true),
            ("http://evil.hooks.internal/", false),
            ("http://hooks.internal.evil.example/", false),
            // Not encrypted, and the address is not known before it is resolved.
            ("http://example.com/", false),
            ("https://example.com/", true),
        ] {
            assert_eq!(is_let_through(&guard, url), is_allowed, "{url}");
        }
        for wrong in ["", "10.0.0.0/33", "http://x", "a b", "*"] {
            assert!(Allowed::default().add(wrong).is_err(), "{wrong}");
        }
    }
}
