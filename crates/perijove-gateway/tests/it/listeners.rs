//! Where connections come in.

use std::os::{
    fd::OwnedFd,
    unix::fs::{FileTypeExt, PermissionsExt},
};

use perijove_gateway::{BindError, Gateway, ListenAddress, Listener, Plan, Response, Routes};
use tokio::net::{TcpStream, UnixStream};

use crate::{
    site::{Site, service},
    wire::{Wire, soon},
};

#[tokio::test]
async fn a_unix_socket_has_its_mode_and_tells_its_peer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("door.sock");
    let tells = |request: perijove_gateway::ServiceRequest| {
        let peer = request.client.peer.unwrap();
        let text = format!("{} {:?}", peer.user, request.client.address);
        assert_eq!(peer.process, i32::try_from(std::process::id()).unwrap());
        Response::new(200, "text/plain", text)
    };
    let address = ListenAddress::Unix { path: path.clone(), mode: 0o600 };
    let mut site = Site::new().route("/", service(tells)).at(address).start();
    assert_eq!(site.path(), path);
    let metadata = std::fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    let mut client = Wire::new(UnixStream::connect(&path).await.unwrap());
    let expected = format!("{} None", rustix::process::getuid().as_raw());
    client.get("/").await.shows(200, &expected);
    site.stop.cancel();
    site.ended().await;
    assert!(!path.exists(), "the socket's file goes with the gateway");
}

fn unix_plan(path: &std::path::Path) -> Plan {
    let address = ListenAddress::Unix { path: path.to_owned(), mode: 0o600 };
    let mut plan = Plan::default();
    plan.listeners.push(Listener::new(address, Routes::new()));
    plan
}

#[tokio::test]
async fn only_a_dead_socket_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("door.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a stale socket");
    let first = Gateway::bind(unix_plan(&path)).unwrap();
    assert!(matches!(Gateway::bind(unix_plan(&path)), Err(BindError::InUse { .. })));
    drop(first);
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Gateway::bind(unix_plan(&path)), Err(BindError::Io { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut plan = Plan::default();
    plan.listeners.push(Listener::new(ListenAddress::Tcp(address), Routes::new()));
    let message = Gateway::bind(plan).unwrap_err().to_string();
    assert_eq!(message, format!("{address} is in use by another program"));
}

#[tokio::test]
async fn inherited_sockets_are_served() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let inherited = ListenAddress::Inherited(OwnedFd::from(listener));
    let site = Site::new().says("/", "hello").at(inherited).with(|plan| plan.threads = 2).start();
    assert_eq!(site.address(), address);
    let mut client = Wire::new(soon("a connection", TcpStream::connect(address)).await.unwrap());
    client.get("/").await.shows(200, "hello");
}

#[tokio::test]
async fn what_does_not_listen_is_not_served() {
    let file = tempfile::tempfile().unwrap();
    let mut plan = Plan::default();
    let inherited = ListenAddress::Inherited(OwnedFd::from(file));
    plan.listeners.push(Listener::new(inherited, Routes::new()));
    assert!(matches!(Gateway::bind(plan), Err(BindError::Io { .. })));
}
