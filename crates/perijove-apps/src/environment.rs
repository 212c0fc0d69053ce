//! The environment of workers.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::Path,
};

/// The variable that tells a worker where the control socket is.
const CONTROL: &str = "PERIJOVE_CONTROL";

/// What is between us and whoever started us, and no business of the application.
const OURS: [&str; 8] = [
    "CREDENTIALS_DIRECTORY",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "MAINPID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// The environment of this program as its workers get it: without our own settings, which may hold
/// secrets, and with the path of the control socket.
pub fn of_workers(
    own: impl IntoIterator<Item = (OsString, OsString)>,
    control: Option<&Path>,
) -> BTreeMap<OsString, OsString> {
    let is_theirs = |name: &OsStr| {
        !name.as_encoded_bytes().starts_with(b"PERIJOVE_") && !OURS.iter().any(|ours| name == *ours)
    };
    let mut environment: BTreeMap<_, _> =
        own.into_iter().filter(|(name, _)| is_theirs(name)).collect();
    if let Some(control) = control {
        environment.insert(CONTROL.into(), control.into());
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(own: &[(&str, &str)], control: Option<&str>, expected: &[(&str, &str)]) {
        let owned = |pairs: &[(&str, &str)]| -> BTreeMap<OsString, OsString> {
            pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
        };
        assert_eq!(of_workers(owned(own), control.map(Path::new)), owned(expected));
    }

    #[test]
    fn workers_get_what_is_not_ours() {
        check(&[("PATH", "/bin"), ("HOME", "/")], None, &[("PATH", "/bin"), ("HOME", "/")]);
        check(&[("PERIJOVE_SITE__SECRET", "x"), ("LISTEN_FDS", "1")], None, &[]);
        check(
            &[("PERIJOVE_CONTROL", "/another")],
            Some("/run/control.sock"),
            &[("PERIJOVE_CONTROL", "/run/control.sock")],
        );
        check(&[("PERIJOVES", "1")], None, &[("PERIJOVES", "1")]);
    }
}
