//! What a service manager is told (`sd_notify(3)`): ready, reloading, stopping, which process it is.

use std::{os::unix::net::UnixDatagram, path::PathBuf};

use crate::{config::layers::Environment, system};

/// The service manager, if there is one that wants to be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notify {
    address: Option<String>,
}

impl Notify {
    pub(crate) fn of(environment: &Environment) -> Self {
        Self { address: environment.get("NOTIFY_SOCKET").map(str::to_owned) }
    }

    pub(crate) fn ready(&self) {
        self.tell(&format!("MAINPID={}\nREADY=1\nSTATUS=serving", std::process::id()));
    }

    /// The answer to it is [`Notify::ready`], whether it succeeds or not.
    pub(crate) fn reloading(&self) {
        let now = system::monotonic_microseconds();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reloading"));
    }

    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing the requests under way");
    }

    /// Another process is the main one from now on. The manager believes it from the main one only.
    pub(crate) fn replaced_by(&self, process: u32) {
        self.tell(&format!("MAINPID={process}"));
    }

    fn tell(&self, state: &str) {
        let Some(address) = &self.address else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            // A manager that does not read must not hold up the program.
            socket.set_nonblocking(true)?;
            match address.strip_prefix('@') {
                Some(name) => {
                    socket.send_to_addr(state.as_bytes(), &system::abstract_address(name)?)
                }
                None => socket.send_to(state.as_bytes(), PathBuf::from(address)),
            }
        });
        if let Err(error) = sent {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::{Environment, Notify};

    #[test]
    fn a_manager_is_told_by_a_file_or_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        Notify::of(&Environment::from([("NOTIFY_SOCKET", path.to_str().unwrap())])).stopping();
        let mut bytes = [0; 100];
        let count = manager.recv(&mut bytes).unwrap();
        assert!(bytes[..count].starts_with(b"STOPPING=1\n"));

        let name = format!("perijove-test-{}", std::process::id());
        let address = crate::system::abstract_address(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let named = format!("@{name}");
        Notify::of(&Environment::from([("NOTIFY_SOCKET", named.as_str())])).replaced_by(7);
        let count = manager.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"MAINPID=7");
    }

    #[test]
    fn nobody_is_told_where_nobody_asks() {
        Notify::of(&Environment::from([])).ready();
    }
}
