//! The control socket: whom it serves, and that its description is true.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use tokio::net::UnixStream;
use yaml_rust2::{Yaml, YamlLoader};

use crate::site::{Answer, Connection, Plan, Site, root};

#[tokio::test]
async fn the_control_socket_is_for_this_account_and_wants_the_secret() {
    use std::os::unix::fs::PermissionsExt;
    let site = Plan::new().wsgi("hello").start().await;
    let run = site.folder().join("run");
    let mode = |name: &str| run.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("control.sock"), mode("control.sock.secret")), (0o600, 0o600));
    assert_eq!(run.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let stream = UnixStream::connect(run.join("control.sock")).await.unwrap();
    let mut connection = Connection::over(stream, "perijove");
    connection.ask("GET", "/status", b"").await.is(401);
    connection.ask_with("GET", "/status", &["Authorization: Bearer x"], b"").await.is(403);
    connection.ask_with("POST", "/stop", &["Authorization: Bearer x"], b"").await.is(403);
    site.get("/").await.shows("hello");
}

#[tokio::test]
async fn the_description_is_true() {
    let site = Plan::new().wsgi("hello").start().await;
    let check = async |method: &str, path: &str, is_known: bool| {
        let answer = ask(&site, method, path, is_known).await;
        let place = format!("{method} {path} {}", answer.status);
        let value: Value = serde_json::from_slice(&answer.body).unwrap();
        let document = document();
        let described = &document["paths"][path][method.to_lowercase().as_str()]["responses"]
            [answer.status.to_string().as_str()];
        let described = resolve(&document, described);
        assert!(!described.is_badvalue(), "{place} is not described");
        let schema = &described["content"]["application/json"]["schema"];
        fits(&document, schema, &value, &place);
        answer.status
    };
    assert_eq!(check("GET", "/status", false).await, 401);
    assert_eq!(check("GET", "/status", true).await, 200);
    assert_eq!(check("GET", "/stacks", false).await, 401);
    assert_eq!(check("GET", "/stacks", true).await, 200);
    assert_eq!(check("POST", "/reload", false).await, 401);
    assert_eq!(check("POST", "/reload", true).await, 200);
    site.configure("site.thread = 1");
    assert_eq!(check("POST", "/reload", true).await, 422);
    assert_eq!(check("POST", "/upgrade", false).await, 401);
    assert_eq!(check("POST", "/upgrade", true).await, 422);
    assert_eq!(check("POST", "/stop", false).await, 401);
    assert_eq!(check("POST", "/stop", true).await, 202);
    assert_eq!(site.ended().code, Some(0));
}

async fn ask(site: &Site, method: &str, path: &str, is_known: bool) -> Answer {
    let run = site.folder().join("run");
    let secret = fs::read_to_string(run.join("control.sock.secret")).unwrap();
    let bearer = format!("Authorization: Bearer {secret}");
    let fields: &[&str] = if is_known { &[&bearer] } else { &[] };
    let stream = UnixStream::connect(run.join("control.sock")).await.unwrap();
    Connection::over(stream, "perijove").ask_with(method, path, fields, b"").await
}

fn document() -> Yaml {
    let text = fs::read_to_string(root().join("docs/reference/control-openapi.yaml")).unwrap();
    YamlLoader::load_from_str(&text).unwrap().remove(0)
}

/// Follows `$ref`.
fn resolve<'a>(document: &'a Yaml, node: &'a Yaml) -> &'a Yaml {
    let Some(reference) = node["$ref"].as_str() else { return node };
    let parts = reference.trim_start_matches("#/").split('/');
    parts.fold(document, |node, part| &node[part])
}

/// An answer has what is described and nothing else.
fn fits(document: &Yaml, schema: &Yaml, value: &Value, place: &str) {
    let schema = resolve(document, schema);
    if let Some(kinds) = schema["oneOf"].as_vec() {
        let kind =
            kinds.iter().find(|kind| (kind["type"].as_str() == Some("null")) == value.is_null());
        return fits(document, kind.unwrap(), value, place);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Yaml::Array(kinds) => kinds.iter().filter_map(Yaml::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.contains(&kind), "{place}: {value} is not {kinds:?}");
    if let (Some(allowed), Some(text)) = (schema["enum"].as_vec(), value.as_str()) {
        assert!(allowed.iter().any(|one| one.as_str() == Some(text)), "{place}: {text}");
    }
    for item in value.as_array().into_iter().flatten() {
        fits(document, &schema["items"], item, place);
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_hash()) {
        let described: BTreeSet<_> = properties.keys().filter_map(Yaml::as_str).collect();
        let present: BTreeSet<_> = object.keys().map(String::as_str).collect();
        assert_eq!(present, described, "{place}");
        for (key, value) in object {
            fits(document, &schema["properties"][key.as_str()], value, &format!("{place} {key}"));
        }
    }
}
