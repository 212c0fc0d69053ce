//! Where an instance listens.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
};

use perijove_gateway::UpstreamAddress;

use crate::Plan;

/// Bytes of a socket's name that the kernel takes.
const LONGEST_NAME: usize = 107;

/// Where an instance listens.
#[derive(Debug)]
pub(crate) enum Address {
    Unix {
        socket: Socket,
        /// Who must answer there; none: whoever was let into our folder.
        account: Option<u32>,
    },
    /// A port of this machine, which every account of it can reach.
    Loopback(u16),
}

/// The file of a socket, removed with this.
#[derive(Debug)]
pub(crate) struct Socket(PathBuf);

impl Socket {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // One that stays is removed at the next start.
        fs::remove_file(&self.0).ok();
    }
}

impl Address {
    /// A socket that we listen on, for the instance to go on with: what is sent before the instance
    /// is there waits for it.
    pub(super) fn bound(plan: &Plan, number: u64) -> io::Result<(Self, OwnedFd)> {
        let path = path(plan, number)?;
        let listener = UnixListener::bind(&path)?;
        let socket = Socket(path);
        // Until now the folder, which only we may enter, kept others out.
        fs::set_permissions(socket.path(), fs::Permissions::from_mode(0o600))?;
        // A server that listens anew has the socket answer as its own account from then on. Who may
        // put one here is known where that is another one than ours, too.
        let account = plan.account.is_none().then(own_account);
        Ok((Self::Unix { socket, account }, listener.into()))
    }

    /// A socket that the instance makes itself.
    pub(super) fn named(plan: &Plan, number: u64) -> io::Result<Self> {
        Ok(Self::Unix { socket: Socket(path(plan, number)?), account: None })
    }

    /// A socket that an instance under another account makes itself, in a folder of its own.
    pub(super) fn named_in(folder: &Path, account: u32) -> io::Result<Self> {
        let path = checked(folder.join("sock"))?;
        Ok(Self::Unix { socket: Socket(path), account: Some(account) })
    }

    /// A port that nobody listened on a moment ago.
    pub(super) fn free_port() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self::Loopback(listener.local_addr()?.port()))
    }

    pub(crate) fn upstream(&self) -> UpstreamAddress {
        match self {
            Self::Unix { socket, .. } => UpstreamAddress::Unix(socket.path().to_owned()),
            Self::Loopback(port) => UpstreamAddress::Tcp(format!("127.0.0.1:{port}")),
        }
    }

    /// The account that must answer there.
    pub(crate) fn account(&self) -> Option<u32> {
        match self {
            Self::Unix { account, .. } => *account,
            Self::Loopback(_) => None,
        }
    }
}

fn own_account() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn path(plan: &Plan, number: u64) -> io::Result<PathBuf> {
    checked(plan.sockets.join(format!("web-{number}.sock")))
}

fn checked(path: PathBuf) -> io::Result<PathBuf> {
    if path.as_os_str().len() > LONGEST_NAME {
        let message = format!(
            "{} is longer than {LONGEST_NAME} bytes: choose a shorter `runtime-folder`",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(path)
}
