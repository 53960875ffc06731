//! Notifies the service manager that has started this process, such as systemd with `Type=notify`, that it is ready or stops.
//! Must never know a store.
//!
//! [`work()`](crate::work) does this itself. A program with a `main` of its own calls [`ready`] when it serves, and [`stopping`] when its
//! shutdown is requested. Without the variable `NOTIFY_SOCKET`, which the service manager sets, nothing happens.

use std::ffi::OsStr;
use std::io;

/// Notifies the service manager that the program is ready. Returns whether there is one.
///
/// # Examples
/// ```
/// bgtask_durable::service::ready()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// If the service manager cannot be reached. The program may go on: the service manager ends it if it waits for this.
pub fn ready() -> io::Result<bool> {
    notify("READY=1")
}

/// Notifies the service manager that the program stops. Returns whether there is one.
///
/// # Errors
/// If the service manager cannot be reached.
pub fn stopping() -> io::Result<bool> {
    notify("STOPPING=1")
}

fn notify(state: &str) -> io::Result<bool> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(socket) if !socket.is_empty() => send(&socket, state).map(|()| true),
        _ => Ok(false),
    }
}

/// Sends a state to the socket: a path, or an abstract name after `@`.
#[cfg(target_os = "linux")]
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    // The receiver may be stuck, and a worker must not be stuck with it.
    sender.set_nonblocking(true)?;
    sender.send_to_addr(state.as_bytes(), &address).map(drop)
}

/// No other system has such a service manager.
#[cfg(not(target_os = "linux"))]
fn send(_: &OsStr, _: &str) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::send;
    use std::ffi::OsStr;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    fn received(receiver: &UnixDatagram) -> String {
        let mut bytes = [0; 64];
        let length = receiver.recv(&mut bytes).expect("it is sent");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_state_is_sent_to_a_path_and_to_an_abstract_name() {
        let name = format!("bgtask-service-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let receiver = UnixDatagram::bind(&path).expect("a socket");
        send(path.as_os_str(), "READY=1").expect("it is sent");
        assert_eq!(received(&receiver), "READY=1");
        std::fs::remove_file(&path).expect("it is there");

        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let receiver = UnixDatagram::bind_addr(&address).expect("a socket");
        send(OsStr::new(&format!("@{name}")), "STOPPING=1").expect("it is sent");
        assert_eq!(received(&receiver), "STOPPING=1");
    }

    #[test]
    fn a_service_manager_that_is_gone_is_an_error() {
        send(OsStr::new("/no/such/socket"), "READY=1").expect_err("nobody is there");
    }
}
