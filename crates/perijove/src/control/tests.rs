//! The control socket admits only who knows the secret, and does what is asked.

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use perijove_gateway::{Body, Client, Head, Response, Scheme, Secret, Service, ServiceRequest};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Control, Intent, Questions, hall::Hall, make_secret, reload::Refusal, secret_file};

fn request(method: &str, path: &str, secret: Option<&str>) -> ServiceRequest {
    let value = secret.map(|secret| format!("Bearer {secret}"));
    let mut fields: Vec<(&[u8], &[u8])> = vec![(b"host", b"perijove")];
    if let Some(value) = &value {
        fields.push((b"authorization", value.as_bytes()));
    }
    ServiceRequest {
        head: Head::from_parts(method, path.as_bytes(), &fields).unwrap(),
        body: bytes::Bytes::new(),
        client: Client {
            address: None,
            scheme: Scheme::Http,
            host: "perijove".into(),
            port: 0,
            peer: None,
            request_id: "1".into(),
            trace: None,
            proven: None,
        },
        subject: None,
    }
}

fn control() -> (Arc<Control>, mpsc::Receiver<Intent>) {
    let (intents, wanted) = mpsc::channel(4);
    let questions = Questions {
        status: Box::new(|| json!({ "version": "1" })),
        stacks: Box::new(|| Box::pin(async { json!([]) })),
    };
    let hall = Arc::new(Hall::new(None));
    (Control::new(Secret::new("right"), intents, questions, hall, "/nowhere".into()), wanted)
}

fn body(response: Response) -> String {
    match response.body {
        Body::Full(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_the_secret_opens_the_door() {
    let (control, _wanted) = control();
    let check = async |secret, expected| {
        let answer = control.call(request("GET", "/status", secret)).await;
        assert_eq!(answer.status, expected, "{secret:?}");
    };
    check(None, 401).await;
    check(Some(""), 403).await;
    check(Some("wrong"), 403).await;
    check(Some("rightt"), 403).await;
    check(Some("right"), 200).await;
}

#[tokio::test]
async fn a_reload_tells_why_it_failed() {
    let (control, mut wanted) = control();
    let asked = control.call(request("POST", "/reload", Some("right")));
    let answered = async {
        let Some(Intent::Reload(Some(asked))) = wanted.recv().await else { panic!("no reload") };
        asked.end(Err(Refusal::new("it is broken")));
    };
    let (response, ()) = tokio::join!(asked, answered);
    assert_eq!(response.status, 422);
    assert!(body(response).contains("it is broken"));
}

#[tokio::test]
async fn a_stop_is_passed_on() {
    let (control, mut wanted) = control();
    let response = control.call(request("POST", "/stop", Some("right"))).await;
    assert_eq!(response.status, 202);
    assert!(matches!(wanted.recv().await, Some(Intent::Stop)));
    drop(wanted);
    let response = control.call(request("POST", "/stop", Some("right"))).await;
    assert_eq!(response.status, 503);
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let (control, _wanted) = control();
    let check = async |method, path, expected| {
        let answer = control.call(request(method, path, Some("right"))).await;
        assert_eq!(answer.status, expected, "{method} {path}");
    };
    check("DELETE", "/status", 405).await;
    check("POST", "/stacks", 405).await;
    check("GET", "/notebooks", 422).await;
}

#[test]
fn secrets_are_new_and_for_this_account_alone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let first = make_secret(&socket).unwrap();
    let second = make_secret(&socket).unwrap();
    assert_ne!(first.reveal(), second.reveal());
    let file = secret_file(&socket);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), second.reveal());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
