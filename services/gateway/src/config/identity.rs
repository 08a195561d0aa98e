//! The names by which browsers know a node.

use std::net::SocketAddr;

use super::{ConfigError, Settings};

/// Who the node is, to browsers: the host names and origins it answers to.
#[derive(Debug, Clone)]
pub struct Identity {
    /// What people open; printed at start.
    pub url: String,
    /// Origins whose pages may call.
    pub origins: Vec<String>,
    /// `Host` values that are answered.
    pub hosts: Vec<String>,
    /// The name of the token's cookie.
    pub cookie: String,
    /// The page is reached by https.
    pub https: bool,
}

impl Identity {
    /// The host of the address that people open: a name, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let place = self.url.split_once("://").map_or(self.url.as_str(), |(_, place)| place);
        if let Some(address) = place.strip_prefix('[') {
            return address.split(']').next().unwrap_or(address);
        }
        place.split(':').next().unwrap_or(place)
    }
}

impl Settings {
    /// The host names and origins of a node that listens on `bound`.
    ///
    /// # Errors
    /// A public address that is not one.
    pub fn identity(&self, bound: SocketAddr) -> Result<Identity, ConfigError> {
        let port = bound.port();
        let tls = self.tls_cert.is_some();
        if let Some(url) = &self.public_url {
            let url = url.trim_end_matches('/');
            let wrong = || ConfigError::PublicUrl(url.to_owned());
            let (scheme, host) = url.split_once("://").ok_or_else(wrong)?;
            let https = match scheme {
                "https" => true,
                "http" => false,
                _ => return Err(wrong()),
            };
            if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
                return Err(wrong());
            }
            let host = host.to_ascii_lowercase();
            let default_port = if https { ":443" } else { ":80" };
            let bare = host.strip_suffix(default_port).unwrap_or(&host);
            let url = format!("{scheme}://{bare}");
            let hosts = vec![bare.to_owned(), format!("{bare}{default_port}")];
            // The outside port, which all nodes behind it share: a browser has one cookie for all of them.
            let outside = bare.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            let cookie = cookie_name(https, outside.unwrap_or(if https { 443 } else { 80 }));
            return Ok(Identity { cookie, origins: vec![url.clone()], url, hosts, https });
        }
        let scheme = if tls { "https" } else { "http" };
        let names = ["localhost", "127.0.0.1", "[::1]"];
        let hosts = names.iter().map(|name| format!("{name}:{port}")).collect::<Vec<_>>();
        let origins = hosts.iter().map(|host| format!("{scheme}://{host}")).collect();
        Ok(Identity {
            url: format!("{scheme}://localhost:{port}"),
            origins,
            hosts,
            cookie: cookie_name(tls, port),
            https: tls,
        })
    }
}

fn cookie_name(https: bool, port: u16) -> String {
    // Cookies do not tell ports apart, and a laptop may run two installations.
    if https { "__Host-snug".to_owned() } else { format!("snug_{port}") }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Cli;

    fn settings(args: &[&str]) -> Settings {
        Cli::parse_from(["snug"].iter().chain(args)).settings
    }

    #[test]
    fn without_a_public_address_only_loopback_names_are_answered() {
        let identity = settings(&[]).identity("127.0.0.1:8080".parse().expect("an address")).expect("defaults");
        assert_eq!(identity.hosts, ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"]);
        assert_eq!(identity.origins[0], "http://localhost:8080");
        assert_eq!(identity.cookie, "snug_8080");
    }

    #[test]
    fn a_public_address_is_the_only_one_answered() {
        let bound = "0.0.0.0:8080".parse().expect("an address");
        let identity = settings(&["--public-url", "https://Chat.example:443/"]).identity(bound).expect("an address");
        assert_eq!(identity.origins, ["https://chat.example"]);
        assert_eq!(identity.hosts, ["chat.example", "chat.example:443"]);
        assert_eq!(identity.cookie, "__Host-snug");
        for wrong in ["chat.example", "ftp://chat.example", "https://chat.example/path", "https://"] {
            assert!(settings(&["--public-url", wrong]).identity(bound).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_host_is_what_a_certificate_must_be_for() {
        let bound = "0.0.0.0:8443".parse().expect("an address");
        let host = |args: &[&str]| settings(args).identity(bound).expect("an address").host().to_owned();
        assert_eq!(host(&[]), "localhost");
        assert_eq!(host(&["--public-url=https://Chat.example"]), "chat.example");
        assert_eq!(host(&["--public-url=https://chat.example:8443"]), "chat.example");
        assert_eq!(host(&["--public-url=https://192.0.2.1:8443"]), "192.0.2.1");
        assert_eq!(host(&["--public-url=https://[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(host(&["--public-url=https://[2001:db8::1]:8443"]), "2001:db8::1");
    }

    #[test]
    fn nodes_behind_one_address_have_one_cookie() {
        let cookie = |bound: &str, url: &str| {
            let bound = bound.parse().expect("an address");
            settings(&["--public-url", url]).identity(bound).expect("an address").cookie
        };
        assert_eq!(cookie("127.0.0.1:9001", "http://localhost:8080"), "snug_8080");
        assert_eq!(cookie("127.0.0.1:9002", "http://localhost:8080"), "snug_8080");
        assert_eq!(cookie("127.0.0.1:9002", "http://chat.example"), "snug_80");
        assert_eq!(cookie("127.0.0.1:9002", "http://[::1]:81"), "snug_81");
    }
}
