//! Addresses that mean another machine to everybody who uses them: a redirect from elsewhere must not lead there.
//!
//! An image server that redirects to `127.0.0.1` or `169.254.169.254` has this node ask its own services, or those of
//! its cloud or management controller, in the server's place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Where an address is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// This machine: loopback, or no address at all, which means it.
    Machine,
    /// The links of this machine.
    Link,
    /// Further.
    Elsewhere,
}

impl Scope {
    /// The scope of a URL's host. A name is looked up with `lookup`; the narrowest scope of its addresses counts.
    pub(super) async fn of(url: &Url, lookup: impl AsyncFn(&str) -> Vec<IpAddr>) -> Self {
        match url.host() {
            None => Self::Elsewhere,
            Some(Host::Ipv4(address)) => Self::of_v4(address),
            Some(Host::Ipv6(address)) => Self::of_v6(address),
            Some(Host::Domain(name)) => {
                let addresses = lookup(name).await;
                let scopes = addresses.into_iter().map(|address| match address {
                    IpAddr::V4(address) => Self::of_v4(address),
                    IpAddr::V6(address) => Self::of_v6(address),
                });
                scopes
                    .min_by_key(|scope| match scope {
                        Self::Machine => 0,
                        Self::Link => 1,
                        Self::Elsewhere => 2,
                    })
                    .unwrap_or(Self::Elsewhere)
            }
        }
    }

    const fn of_v4(address: Ipv4Addr) -> Self {
        if address.is_loopback() || address.octets()[0] == 0 {
            Self::Machine
        } else if address.is_link_local() {
            Self::Link
        } else {
            Self::Elsewhere
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if let Some(address) = address.to_ipv4_mapped() {
            return Self::of_v4(address);
        }
        if address.is_loopback() || address.is_unspecified() {
            Self::Machine
        } else if address.is_unicast_link_local() {
            Self::Link
        } else {
            Self::Elsewhere
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(url: &str, addresses: &[&str]) -> Scope {
        let addresses: Vec<IpAddr> = addresses.iter().map(|it| it.parse().unwrap()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(Scope::of(&url.parse().unwrap(), async |_| {
            addresses.clone()
        }))
    }

    #[test]
    fn every_spelling_of_an_address_has_its_scope() {
        for url in [
            "http://127.0.0.1/",
            "http://127.9.9.9:81/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert_eq!(scope(url, &[]), Scope::Machine, "{url}");
        }
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.1.1]/",
        ] {
            assert_eq!(scope(url, &[]), Scope::Link, "{url}");
        }
        for url in [
            "http://10.0.0.1/",
            "http://[fd00::1]/",
            "http://[2001:db8::1]/",
        ] {
            assert_eq!(scope(url, &[]), Scope::Elsewhere, "{url}");
        }
    }

    #[test]
    fn a_name_has_the_narrowest_scope_of_its_addresses() {
        let cases: [(&[&str], Scope); 4] = [
            (&["10.0.0.1", "127.0.0.1"], Scope::Machine),
            (&["10.0.0.1", "fe80::1"], Scope::Link),
            (&["10.0.0.1"], Scope::Elsewhere),
            (&[], Scope::Elsewhere),
        ];
        for (addresses, expected) in cases {
            assert_eq!(scope("http://images.example/", addresses), expected);
        }
    }
}
