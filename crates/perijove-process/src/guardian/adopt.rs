//! How a guardian gets a server that was forked before it: by a zygote, from the same process that
//! then executed the guardian, so that it is the guardian's child already.
//!
//! The server waits on its standard input to be told who it is to be; what it prints comes through
//! a pipe. Both stand behind the claim.

use std::{ffi::OsString, io, os::fd::RawFd};

use rustix::{
    io::{FdFlags, fcntl_setfd, ioctl_fionbio},
    process::Pid,
};
use serde::Serialize;

use super::{run::inherited, spec::Spec, watch::Server};

/// Names the server among the arguments of the guardian.
const ADOPT: &str = "--adopt";

/// The server that the arguments name.
pub(super) fn named(arguments: impl Iterator<Item = OsString>) -> Option<Pid> {
    let mut rest = arguments.skip_while(|word| word != ADOPT).skip(1);
    Pid::from_raw(rest.next()?.to_str()?.parse().ok().filter(|pid| *pid > 0)?)
}

/// Who a server is to be: what a guardian that executes one does itself.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Identity<'a> {
    program: &'a std::path::Path,
    arguments: &'a [String],
    environment: &'a std::collections::BTreeMap<String, String>,
    folder: &'a std::path::Path,
    confinement: &'a crate::Confinement,
}

/// Takes it over, and has it told what to do.
pub(super) fn server(pid: Pid, spec: Spec, claim: RawFd) -> io::Result<Server> {
    let (output, tell) = (inherited(claim + 1).0, inherited(claim + 2).0);
    for descriptor in [&output, &tell] {
        fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
        ioctl_fionbio(descriptor, true)?;
    }
    let identity = serde_json::to_vec(&Identity {
        program: &spec.program,
        arguments: &spec.arguments,
        environment: &spec.environment,
        folder: &spec.folder,
        confinement: &spec.confinement,
    })?;
    let mut told = format!("{}\n", identity.len()).into_bytes();
    told.extend(identity);
    told.extend(spec.input.into_bytes());
    Ok(Server { pid, output: Some(output), input: Some((tell, told)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: Option<i32>) {
        let arguments = arguments.iter().map(OsString::from);
        assert_eq!(named(arguments).map(|pid| pid.as_raw_nonzero().get()), expected);
    }

    #[test]
    fn a_server_to_adopt_is_named_by_its_number() {
        check(&["perijove", "guardian"], None);
        check(&["perijove", "guardian", "--adopt", "4711"], Some(4711));
        check(&["perijove", "guardian", "--adopt"], None);
        check(&["perijove", "guardian", "--adopt", "0"], None);
        check(&["perijove", "guardian", "--adopt", "-7"], None);
    }
}
