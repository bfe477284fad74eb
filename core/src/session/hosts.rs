//! The connection string: `host[:port],host[:port].../chroot`.

use crate::escape::Escaped;
use crate::path::NodePath;

/// ZooKeeper's client port where none is given.
pub const DEFAULT_PORT: u16 = 2181;

/// A server as the user named it; resolved anew for every connection attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    /// A host name or an address. An IPv6 address has no brackets, but has its zone if one was given (`fe80::1%eth0`).
    pub name: String,
    /// From 1 up; [`DEFAULT_PORT`] where none was given.
    pub port: u16,
}

impl Host {
    /// The name that a certificate may be for. The zone is left out: the server does not know by which interface it is
    /// reached.
    pub fn name_without_zone(&self) -> &str {
        self.name.split_once('%').map_or(&self.name, |(address, _)| address)
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", Escaped(&self.name), self.port),
            false => write!(f, "{}:{}", Escaped(&self.name), self.port),
        }
    }
}

/// A parsed connection string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// At least one.
    pub servers: Vec<Host>,
    /// `/` when there is none.
    pub chroot: NodePath,
}

/// Why a string is no connection string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid hosts {:?}: {reason}", Escaped(hosts))]
pub struct InvalidHosts {
    /// The whole string, as it was given.
    pub hosts: String,
    /// What is wrong with which part of it, in words that go behind a colon.
    pub reason: String,
}

impl Hosts {
    /// Takes a connection string apart. White space around a server is dropped; no name is looked up.
    pub fn parse(hosts: &str) -> Result<Hosts, InvalidHosts> {
        let invalid = |reason: String| InvalidHosts { hosts: hosts.to_owned(), reason };
        let (servers, chroot) = match hosts.find('/') {
            Some(at) => (&hosts[..at], &hosts[at..]),
            None => (hosts, "/"),
        };
        if chroot.contains(',') {
            // A path may have a comma, but more likely each server was given a chroot, which another client allows.
            let reason = format!(
                "{:?}: a comma in the chroot, which stands once, behind the last server",
                Escaped(chroot)
            );
            return Err(invalid(reason));
        }
        let chroot = NodePath::new(chroot).map_err(|error| invalid(format!("chroot: {}", error.reason)))?;
        let servers = servers
            .split(',')
            .map(|server| {
                parse_server(server.trim())
                    .map_err(|reason| invalid(format!("{:?}: {reason}", Escaped(server))))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Hosts { servers, chroot })
    }
}

fn parse_server(server: &str) -> Result<Host, &'static str> {
    let (name, port) = if let Some(rest) = server.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or("a ']' is missing")?;
        // A zone is looked for at each attempt: interfaces come and go.
        let (number, zone) =
            address.split_once('%').map_or((address, None), |(number, zone)| (number, Some(zone)));
        number.parse::<std::net::Ipv6Addr>().map_err(|_| "no IPv6 address in the brackets")?;
        if zone == Some("") {
            return Err("no zone behind the '%'");
        }
        match rest {
            "" => (address, None),
            _ => (address, Some(rest.strip_prefix(':').ok_or("expected ':' behind ']'")?)),
        }
    } else {
        match server.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err("an IPv6 address must be in brackets"),
            Some((name, port)) => (name, Some(port)),
            None => (server, None),
        }
    };
    if name.is_empty() {
        return Err("no host name");
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("white space in the host name");
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port != 0).ok_or("the port must be 1 to 65535")?
        }
        Some(_) => return Err("the port must be 1 to 65535"),
    };
    Ok(Host { name: name.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.to_owned(), port }
    }

    #[test]
    fn a_connection_string_names_servers_and_a_chroot() {
        let hosts = Hosts::parse("zk1:2182,zk2, [::1]:2183,[fe80::1],[fe80::1%eth0]:2184/app/x").unwrap();
        let zoned = host("fe80::1%eth0", 2184);
        let expected =
            [host("zk1", 2182), host("zk2", 2181), host("::1", 2183), host("fe80::1", 2181), zoned.clone()];
        assert_eq!(hosts.servers, expected);
        assert_eq!(hosts.chroot.as_str(), "/app/x");
        assert_eq!(hosts.servers[2].to_string(), "[::1]:2183");
        assert_eq!(
            (zoned.to_string().as_str(), zoned.name_without_zone()),
            ("[fe80::1%eth0]:2184", "fe80::1")
        );
        assert_eq!(hosts.servers[0].name_without_zone(), "zk1");
        assert!(Hosts::parse("localhost").unwrap().chroot.is_root());
        assert!(Hosts::parse("localhost/").unwrap().chroot.is_root());
    }

    #[test]
    fn a_malformed_connection_string_is_refused_with_the_part_that_is_wrong() {
        for bad in [
            "",
            ",",
            "a,,b",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:x",
            "::1",
            "[::1",
            "[x]:1",
            "[::1]x",
            ":1",
            "a b",
            "a/x/",
            "[fe80::1%]",
            "[x%eth0]",
        ] {
            let error = Hosts::parse(bad).unwrap_err();
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn what_others_take_and_what_is_easily_mistyped_is_said_to_be_wrong_in_words() {
        for (bad, reason) in [
            ("h1:2181/app,h2:2181/app", "a comma in the chroot, which stands once, behind the last server"),
            ("h1/app,h2/app", "a comma in the chroot"),
            ("h1:2181/a,b", "a comma in the chroot"),
            ("h1:2181,", "\"\": no host name"),
            ("h1:2181,/app", "\"\": no host name"),
        ] {
            let error = Hosts::parse(bad).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
