//! Which proxy of the environment a request uses, so that errors can name it; also makes `no_proxy=*` mean every host.
//!
//! The rules are those of reqwest, which follow curl; reqwest itself takes `*` for names only.

use std::net::IpAddr;

use url::{Host, Url};

use crate::model::url::redacted;

/// Proxies by the environment.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    http: Option<String>,
    https: Option<String>,
    /// Entries of `no_proxy`.
    direct: Vec<String>,
}

impl Proxies {
    /// Reads the environment through `variable`.
    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |upper: &str| {
            let found = variable(upper).or_else(|| variable(&upper.to_lowercase()));
            found.filter(|value| !value.is_empty())
        };
        let all = either("ALL_PROXY");
        let direct = either("NO_PROXY").unwrap_or_default();
        Self {
            http: either("HTTP_PROXY").or_else(|| all.clone()),
            https: either("HTTPS_PROXY").or(all),
            direct: direct
                .split(',')
                .map(|host| host.trim().to_lowercase())
                .filter(|host| !host.is_empty())
                .collect(),
        }
    }

    /// Whether no host uses a proxy.
    pub(super) fn is_off(&self) -> bool {
        self.direct.iter().any(|host| host == "*")
    }

    /// The proxy for `url`, without credentials.
    pub(super) fn via(&self, url: &Url) -> Option<String> {
        let proxy = match url.scheme() {
            "http" => self.http.as_ref()?,
            "https" => self.https.as_ref()?,
            _ => return None,
        };
        let is_direct = |entry: &String| entry == "*" || is_named(entry, url);
        if self.direct.iter().any(is_direct) {
            return None;
        }
        let proxy = if proxy.contains("://") {
            proxy.clone()
        } else {
            format!("http://{proxy}")
        };
        Some(redacted(&proxy).trim_end_matches('/').to_owned())
    }
}

/// Whether an entry of `no_proxy` covers the host of `url`.
fn is_named(entry: &str, url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => {
            let (domain, name) = (domain.to_lowercase(), entry.trim_start_matches('.'));
            domain == name || domain.ends_with(&format!(".{name}"))
        }
        Some(Host::Ipv4(address)) => is_within(entry, address.into()),
        Some(Host::Ipv6(address)) => is_within(entry, address.into()),
        None => false,
    }
}

/// Whether `entry` is this address, or a network that contains it, such as `10.0.0.0/8`.
fn is_within(entry: &str, address: IpAddr) -> bool {
    let (network, length) = entry.split_once('/').unwrap_or((entry, ""));
    let Ok(network) = network.parse::<IpAddr>() else {
        return false;
    };
    let (width, network, address) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => (
            32,
            u128::from(network.to_bits()),
            u128::from(address.to_bits()),
        ),
        (IpAddr::V6(network), IpAddr::V6(address)) => (128, network.to_bits(), address.to_bits()),
        _ => return false,
    };
    let length = if length.is_empty() {
        Some(width)
    } else {
        length.parse::<u32>().ok().filter(|length| *length <= width)
    };
    // shifting by the full width is `None`
    let shift = length.and_then(|length| width.checked_sub(length));
    shift.is_some_and(|shift| {
        network.checked_shr(shift).unwrap_or(0) == address.checked_shr(shift).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::of(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn via(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.via(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_proxy_is_named_without_its_password() {
        let some = proxies(&[
            ("http_proxy", "http://user:secret@10.0.0.1:3128/"),
            ("ALL_PROXY", "squid:3128"),
        ]);
        let named = via(&some, "http://h/x");
        assert_eq!(named.as_deref(), Some("http://10.0.0.1:3128"));
        assert_eq!(
            via(&some, "https://h/x").as_deref(),
            Some("http://squid:3128")
        );
        assert_eq!(via(&proxies(&[]), "http://h/x"), None);
        assert_eq!(via(&proxies(&[("http_proxy", "")]), "http://h/x"), None);
    }

    #[test]
    fn hosts_that_are_asked_directly_are_named_by_name_address_or_network() {
        for (direct, url, is_direct) in [
            ("*", "http://10.0.0.9/x", true),
            ("*", "http://h/x", true),
            ("a, *", "http://[fd00::1]/x", true),
            ("example.org", "http://example.org/x", true),
            ("example.org", "http://www.Example.org/x", true),
            (".example.org", "http://www.example.org/x", true),
            ("example.org", "http://notexample.org/x", false),
            ("10.0.0.9", "http://10.0.0.9/x", true),
            ("10.0.0.0/8", "http://10.9.9.9/x", true),
            ("10.0.0.0/8", "http://11.0.0.1/x", false),
            ("0.0.0.0/0", "http://11.0.0.1/x", true),
            ("10.0.0.0/33", "http://10.0.0.1/x", false),
            ("fd00::/8", "http://[fd12::1]/x", true),
            ("::/0", "http://10.0.0.1/x", false),
            ("", "http://h/x", false),
        ] {
            let some = proxies(&[("HTTP_PROXY", "http://p:1"), ("no_proxy", direct)]);
            assert_eq!(via(&some, url).is_none(), is_direct, "{direct} {url}");
        }
        assert!(proxies(&[("NO_PROXY", "h, *")]).is_off());
        assert!(!proxies(&[("NO_PROXY", "*.org")]).is_off());
    }
}
