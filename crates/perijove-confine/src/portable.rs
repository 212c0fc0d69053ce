//! What stands in for Linux's own calls elsewhere: an account can be taken, a sandbox cannot.

use std::io;

use rustix::process::{Gid, Uid};

use crate::sandbox::Rules;

/// There is no Landlock here.
pub fn landlock() -> Option<u32> {
    None
}

/// Nobody tells here: the caller is trusted.
pub fn is_alone() -> bool {
    true
}

/// There is nothing to show it in here.
pub fn show_in_proc() -> io::Result<()> {
    Ok(())
}

/// Takes an account for good, in a process of one thread.
pub(crate) fn take_account(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    let count = groups.len().try_into().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the pointer and the count describe the slice; a group is a plain number.
    #[expect(unsafe_code, reason = "the standard library does not set groups")]
    let groups_set = unsafe { libc::setgroups(count, groups.as_ptr().cast()) };
    // SAFETY: plain numbers.
    #[expect(unsafe_code, reason = "must happen in the order groups, group, user")]
    let gid_set = if groups_set == 0 { unsafe { libc::setgid(gid.as_raw()) } } else { -1 };
    // SAFETY: plain numbers.
    #[expect(unsafe_code, reason = "must happen in the order groups, group, user")]
    let uid_set = if gid_set == 0 { unsafe { libc::setuid(uid.as_raw()) } } else { -1 };
    if uid_set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What gives privileges does so here as ever.
pub(crate) fn renounce_privileges() -> io::Result<()> {
    Ok(())
}

pub(crate) fn drop_capabilities() -> io::Result<()> {
    Ok(())
}

/// There is no sandbox here, and nothing runs that should be in one.
pub(crate) fn enter(_rules: &Rules) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
