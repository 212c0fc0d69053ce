//! How a guardian leaves its starter.

use std::{fs::File, io};

use rustix::process::getpid;

/// Goes on in a child of the first process, which has already made a session of its own and ends
/// here: so the guardian is nobody's child but the first process's (or a subreaper's), leads no
/// session and gets no terminal.
pub(super) fn fork_away() -> io::Result<()> {
    if thread_count() > 1 {
        return Err(io::Error::other("a guardian must be started before any thread"));
    }
    // SAFETY: this process has one thread, so the child is a complete copy of it.
    #[expect(unsafe_code, reason = "leaving a parent for good needs a fork")]
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(()),
        _ => {
            // SAFETY: ends this process without running what the child will run at its own end.
            #[expect(unsafe_code, reason = "the half that stays behind must not clean up")]
            unsafe {
                libc::_exit(0)
            }
        }
    }
}

/// Lets go of the starter's pipes.
pub(super) fn leave_streams() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

fn thread_count() -> usize {
    // Where it cannot be known, the caller is trusted.
    std::fs::read_dir(format!("/proc/{}/task", getpid().as_raw_nonzero()))
        .map_or(1, Iterator::count)
}
