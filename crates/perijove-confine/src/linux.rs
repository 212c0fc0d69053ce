//! What only Linux can: accounts of threads, capabilities, Landlock.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use rustix::{
    fs::{FileType, Mode, OFlags, fstat, open},
    io::Errno,
    process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior},
    thread::{
        CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs, set_thread_gid,
        set_thread_groups, set_thread_uid,
    },
};

use crate::sandbox::{Rules, right};

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;
/// Connecting to abstract Unix sockets of processes outside, and signalling them.
const SCOPES: u64 = 0b11;

/// `struct landlock_ruleset_attr` of `linux/landlock.h`.
#[repr(C)]
struct Ruleset {
    files: u64,
    network: u64,
    scopes: u64,
}

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct Beneath {
    rights: u64,
    parent: RawFd,
}

/// The version of Landlock that this kernel has; `None` when it has none, or switched off.
pub fn landlock() -> Option<u32> {
    // SAFETY: with this flag the call takes no memory and answers with a number.
    #[expect(unsafe_code, reason = "no safe wrapper")]
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Ruleset>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// Whether this process has one thread only.
pub fn is_alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Takes an account for good, in a process of one thread.
pub(crate) fn take_account(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    set_thread_groups(groups)?;
    set_thread_gid(gid)?;
    set_thread_uid(uid)?;
    Ok(())
}

/// Has what `/proc` says of this process belong to its account again, as it would after an exec.
///
/// # Errors
/// As the kernel has them.
pub fn show_in_proc() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}

/// Programs that give privileges to whoever runs them no longer do.
pub(crate) fn renounce_privileges() -> io::Result<()> {
    Ok(set_no_new_privs(true)?)
}

pub(crate) fn drop_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(set_capabilities(None, none)?)
}

/// Enters a sandbox, as far as this kernel's version of Landlock goes.
pub(crate) fn enter(rules: &Rules) -> io::Result<()> {
    let version = landlock().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSYS))?;
    let ruleset = create(version)?;
    for (path, rights) in &rules.0 {
        let parent = match open(path.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(parent) => parent,
            // What is not there, or out of reach anyway, needs no permission.
            Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let is_folder = FileType::from_raw_mode(fstat(&parent)?.st_mode) == FileType::Directory;
        let meant = if is_folder { u64::MAX } else { right::OF_FILES };
        add(&ruleset, &parent, rights & right::known(version) & meant)?;
    }
    restrict(&ruleset)
}

fn create(version: u32) -> io::Result<OwnedFd> {
    let scopes = if version >= 6 { SCOPES } else { 0 };
    let attributes = Ruleset { files: right::known(version), network: 0, scopes };
    // An older kernel refuses what is longer than it knows.
    let length: usize = match version {
        ..4 => 8,
        4 | 5 => 16,
        _ => 24,
    };
    // SAFETY: the pointer is to a structure that lives during the call, of at least that length.
    #[expect(unsafe_code, reason = "no safe wrapper")]
    let made = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, length, 0_u32)
    };
    let descriptor = descriptor(made)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    #[expect(unsafe_code, reason = "system calls answer with numbers")]
    let ruleset = unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok(ruleset)
}

fn add(ruleset: &OwnedFd, parent: &OwnedFd, rights: u64) -> io::Result<()> {
    let beneath = Beneath { rights, parent: parent.as_raw_fd() };
    // SAFETY: the pointer is to a structure that lives during the call, of the kind that is named.
    #[expect(unsafe_code, reason = "no safe wrapper")]
    let added = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const beneath,
            0_u32,
        )
    };
    descriptor(added).map(drop)
}

fn restrict(ruleset: &OwnedFd) -> io::Result<()> {
    // SAFETY: the call takes plain numbers.
    #[expect(unsafe_code, reason = "no safe wrapper")]
    let entered =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) };
    descriptor(entered).map(drop)
}

fn descriptor(answer: libc::c_long) -> io::Result<RawFd> {
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(answer).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))
}
