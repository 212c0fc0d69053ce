//! The description of the control API says what it does: each answer is held against it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};

use crate::{client::Answer, world::World};

/// What only the control socket's own service answers, before the hub is asked, and what takes a
/// fault of the machine.
const ELSEWHERE: [&str; 10] = [
    "get /notebooks 401",
    "get /notebooks 403",
    "get /notebooks/{user} 401",
    "get /notebooks/{user} 403",
    "post /notebooks/{user} 401",
    "post /notebooks/{user} 403",
    "delete /notebooks/{user} 401",
    "delete /notebooks/{user} 403",
    "delete /notebooks/{user} 202",
    "delete /notebooks/{user} 503",
];

struct Description {
    document: Yaml,
    seen: BTreeSet<String>,
}

impl Description {
    fn read() -> Self {
        let file =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/control-openapi.yaml");
        let text = std::fs::read_to_string(file).unwrap();
        let document = YamlLoader::load_from_str(&text).unwrap().remove(0);
        Self { document, seen: BTreeSet::new() }
    }

    /// Follows `$ref`.
    fn resolve<'a>(&'a self, node: &'a Yaml) -> &'a Yaml {
        let Some(reference) = node["$ref"].as_str() else { return node };
        let parts = reference.trim_start_matches("#/").split('/');
        parts.fold(&self.document, |node, part| &node[part])
    }

    fn holds(&mut self, method: &str, path: &str, answer: &Answer) {
        let place = format!("{method} {path} {}", answer.status);
        let described = &self.document["paths"][path][method]["responses"];
        let response = self.resolve(&described[answer.status.to_string().as_str()]);
        assert!(!response.is_badvalue(), "{place} is not described");
        let schema = &response["content"]["application/json"]["schema"];
        self.fits(schema, &answer.json(), &place);
        self.seen.insert(place);
    }

    fn fits(&self, schema: &Yaml, value: &Value, place: &str) {
        let schema = self.resolve(schema);
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
            self.fits(&schema["items"], item, place);
        }
        if let (Some(object), Some(properties)) =
            (value.as_object(), schema["properties"].as_hash())
        {
            let described: BTreeSet<_> = properties.keys().filter_map(Yaml::as_str).collect();
            let present: BTreeSet<_> = object.keys().map(String::as_str).collect();
            assert_eq!(present, described, "{place}");
            for (key, value) in object {
                self.fits(&schema["properties"][key.as_str()], value, &format!("{place} {key}"));
            }
        }
    }

    /// All that is described was seen, but for what is named.
    fn was_seen_whole(&self) {
        let mut described = BTreeSet::new();
        let is_ours =
            |path: &Yaml| path.as_str().is_some_and(|path| path.starts_with("/notebooks"));
        let paths = self.document["paths"].as_hash().unwrap();
        for (path, operations) in paths.iter().filter(|(path, _)| is_ours(path)) {
            for (method, operation) in operations.as_hash().unwrap() {
                let responses = operation["responses"].as_hash();
                for (status, _) in responses.into_iter().flatten() {
                    let [method, path, status] =
                        [method, path, status].map(|y| y.as_str().unwrap());
                    described.insert(format!("{method} {path} {status}"));
                }
            }
        }
        let unseen: Vec<_> = described
            .difference(&self.seen)
            .filter(|place| !ELSEWHERE.contains(&place.as_str()))
            .collect();
        assert!(unseen.is_empty(), "{unseen:?}");
    }
}

#[tokio::test]
async fn the_description_is_true() {
    let mut description = Description::read();
    let mut world = World::with(json!({"max-notebooks": 1})).await;
    let one = "/notebooks/{user}";
    for (method, user, body) in [
        ("GET", "ada", Value::Null),
        ("GET", "%00", Value::Null),
        ("DELETE", "ada", Value::Null),
        ("DELETE", "%00", Value::Null),
        ("POST", "%00", json!({})),
        ("POST", "ada/Second", json!({})),
        ("POST", "ada", json!({})),
        ("POST", "bob", json!({})),
    ] {
        let answer = world.control(method, &format!("/notebooks/{user}"), body).await;
        description.holds(&method.to_lowercase(), one, &answer);
    }
    world.until("ada", "ready").await;
    let starts = world.control("GET", "/starts", Value::Null).await;
    description.holds("get", "/starts", &starts);
    for (method, body) in [("POST", json!({})), ("GET", Value::Null), ("DELETE", Value::Null)] {
        let all = world.control("GET", "/notebooks", Value::Null).await;
        description.holds("get", "/notebooks", &all);
        let answer = world.control(method, "/notebooks/ada", body).await;
        description.holds(&method.to_lowercase(), one, &answer);
    }
    world.kill();
    world.wants("python", json!("/nowhere/python"));
    world.revive().await;
    let answer = world.control("POST", "/notebooks/ada", json!({})).await;
    assert_eq!(answer.status, 422);
    description.holds("post", one, &answer);
    description.was_seen_whole();
}
