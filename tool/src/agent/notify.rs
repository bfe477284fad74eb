//! What the service manager is told, if there is one (`sd_notify`): a datagram to `$NOTIFY_SOCKET`.

use std::io;
use std::os::unix::net::UnixDatagram;

use log::warn;
use nix::time::ClockId;

/// The agent does what its settings ask for.
pub fn ready() {
    tell("READY=1");
}

/// The settings are read again. The time tells the manager that this reload is the one that it has asked for.
pub fn reloading() {
    match ClockId::CLOCK_MONOTONIC.now() {
        Ok(now) => {
            let microseconds = now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000;
            tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
        }
        Err(_) => tell("RELOADING=1"),
    }
}

pub fn stopping() {
    tell("STOPPING=1");
}

fn tell(state: &str) {
    let Ok(name) = std::env::var("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&name, state.as_bytes()) {
        warn!("the service manager cannot be told {state:?}: {error}");
    }
}

fn send(name: &str, state: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    match name.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(state, &address)?;
        }
        _ => _ = socket.send_to(state, name)?,
    }
    Ok(())
}
