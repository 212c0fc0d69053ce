//! Listening sockets: TCP, Unix, inherited.

use std::{
    fs,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::{BindError, ListenAddress};

/// Silence after which the kernel asks whether the other side is still there, how often, and how
/// many times before it gives up.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(15), 4);

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) socket: OwnedFd,
    pub(crate) name: Name,
    /// Removes the socket's file at the end.
    file: Option<SocketFile>,
}

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Bound {
    pub(crate) fn open(address: ListenAddress, backlog: i32) -> Result<Self, BindError> {
        let text = address.to_string();
        let bound = match address {
            ListenAddress::Tcp(address) => tcp(address, backlog),
            ListenAddress::Unix { path, mode } => unix(path, mode, backlog),
            ListenAddress::Inherited(descriptor) => inherited(descriptor),
            ListenAddress::Handed { socket, file } => handed(socket, file),
            ListenAddress::Open => Err(ErrorKind::NotFound.into()),
        };
        bound.map_err(|source| match source.kind() {
            ErrorKind::AddrInUse => BindError::InUse { address: text },
            _ => BindError::Io { address: text, source },
        })
    }

    /// 0 for a Unix socket.
    pub(crate) fn port(&self) -> u16 {
        match &self.name {
            Name::Tcp(address) => address.port(),
            Name::Unix(_) => 0,
        }
    }

    /// The socket's file, if it is one of ours.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.file.as_ref().map(|file| file.path.clone())
    }

    /// Whether the socket's file is removed at the end.
    pub(crate) fn own_file(&self, is_ours: bool) {
        if let Some(file) = &self.file {
            file.is_ours.store(is_ours, Ordering::Relaxed);
        }
    }
}

fn tcp(address: SocketAddr, backlog: i32) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    of_socket(socket)
}

/// Completes a listening socket. What is set here, accepted connections inherit.
fn of_socket(socket: Socket) -> io::Result<Bound> {
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let name = if let Some(address) = address.as_socket() {
        let (idle, interval, retries) = KEEPALIVE;
        let keepalive =
            TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(retries);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_nodelay(true)?;
        Name::Tcp(address)
    } else {
        Name::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned())
    };
    Ok(Bound { socket: socket.into(), name, file: None })
}

fn inherited(descriptor: OwnedFd) -> io::Result<Bound> {
    let socket = Socket::from(descriptor);
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a listening stream socket"));
    }
    socket.set_cloexec(true)?;
    of_socket(socket)
}

/// A socket knows the name it was bound below, not the one it was moved to.
fn handed(descriptor: OwnedFd, file: Option<PathBuf>) -> io::Result<Bound> {
    let bound = inherited(descriptor)?;
    let Some(path) = file else { return Ok(bound) };
    let file = SocketFile::at(&path)?;
    file.is_ours.store(false, Ordering::Relaxed);
    Ok(Bound { name: Name::Unix(path), file: Some(file), ..bound })
}

/// Binds below a temporary name and renames it over the final one, so that clients meet either the
/// old socket or one that listens already, with its permissions set.
fn unix(path: PathBuf, mode: u32, backlog: i32) -> io::Result<Bound> {
    refuse_living(&path)?;
    let nonce = u64::from_le_bytes(random()?);
    let draft = path.with_file_name(format!(".{:x}", nonce & 0xff_ffff));
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&draft)?)?;
    let file = SocketFile::at(&draft)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(mode))?;
    socket.listen(backlog)?;
    fs::rename(&draft, &path)?;
    let bound = of_socket(socket)?;
    Ok(Bound { name: Name::Unix(path.clone()), file: Some(file.moved(path)), ..bound })
}

fn random() -> io::Result<[u8; 8]> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A file that is no socket is never replaced, nor a socket behind which somebody listens.
fn refuse_living(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file of that name"))
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::AddrInUse.into()),
            Err(_) => Ok(()),
        },
    }
}

/// The file of a Unix socket of ours, removed on drop unless another took its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    /// Not while another program has it.
    is_ours: AtomicBool,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)?, is_ours: true.into() })
    }

    fn moved(mut self, path: PathBuf) -> Self {
        self.path = path;
        self
    }
}

/// Device and number of what lies at a path.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if *self.is_ours.get_mut() && identity(&self.path).is_ok_and(|found| found == self.identity)
        {
            // Nothing is lost when it stays: the next start replaces it.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// The account at the other end of a Unix socket.
pub(crate) fn peer_of(stream: &tokio::net::UnixStream) -> Option<crate::PeerCredentials> {
    let peer = stream.peer_cred().ok()?;
    Some(crate::PeerCredentials {
        process: peer.pid().unwrap_or(0),
        user: peer.uid(),
        group: peer.gid(),
    })
}
