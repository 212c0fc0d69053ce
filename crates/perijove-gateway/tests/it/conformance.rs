//! The golden requests, over real connections: what may be refused is refused, and the rest served.

use std::{fs, path::Path};

use perijove_gateway::Response;

use crate::site::{Running, Site, service};

/// The requests of a folder with what is expected of them.
fn requests(folder: &str) -> Vec<(String, Vec<u8>, String)> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/requests").join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "http"));
    files
        .map(|path| {
            let expected = fs::read_to_string(path.with_extension("txt")).unwrap();
            (path.file_name().unwrap().to_string_lossy().into(), fs::read(&path).unwrap(), expected)
        })
        .collect()
}

fn counting() -> Running {
    let count = |request: perijove_gateway::ServiceRequest| {
        Response::new(200, "text/plain", format!("{} bytes", request.body.len()))
    };
    Site::new().route("/", service(count)).start()
}

#[tokio::test]
async fn every_invalid_request_is_refused_and_nothing_behind_it_is_served() {
    let site = counting();
    for (name, mut request, expected) in requests("invalid") {
        // The limit of this body is that of the test beside the parser.
        if name == "chunk-body-too-long.http" {
            continue;
        }
        request.extend_from_slice(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut client = site.connect().await;
        // A gateway that has refused need not take the rest.
        client.try_send(&request).await;
        let answer = client.message().await;
        assert_eq!(answer.status().to_string(), expected[..3], "{name}: {answer:?}");
        assert_eq!(answer.get("connection"), Some("close"), "{name}");
        client.is_closed().await;
    }
}

#[tokio::test]
async fn every_valid_request_is_served() {
    let site = counting();
    for (name, request, expected) in requests("valid") {
        // Its body would be larger than the world.
        if name == "post-length-largest.http" {
            continue;
        }
        let mut client = site.connect().await;
        client.send(&request).await;
        let mut answer = client.head().await;
        if answer.status() == 100 {
            answer = client.head().await;
        }
        let host = expected.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let is_served = [200, 404].contains(&answer.status());
        assert!(is_served, "{name} of {host}: {answer:?}");
        let stays = expected.contains("keep-alive: yes");
        let is_closing = answer.get("connection") == Some("close");
        assert_eq!(is_closing, !stays, "{name}: {answer:?}");
    }
}
