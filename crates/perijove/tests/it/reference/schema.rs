//! A JSON Schema of `perijove.toml`, for editors.

use serde_json::{Map, Value, json};

use super::types::{Kind, Setting, Table};

/// The schema, as the text of its file.
pub(super) fn schema(top: &Table) -> String {
    let mut schema = object(top);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("perijove.toml");
    format!("{schema:#}\n")
}

fn object(table: &Table) -> Value {
    let mut properties = properties(&table.settings);
    for below in &table.tables {
        let inner = object(below);
        let value = if below.is_list { json!({ "type": "array", "items": inner }) } else { inner };
        properties.insert(below.name.clone(), value);
    }
    json!({
        "type": "object",
        "description": table.docs,
        "additionalProperties": false,
        "properties": properties,
    })
}

fn properties(settings: &[Setting]) -> Map<String, Value> {
    let property = |setting: &Setting| {
        let mut value = kind(&setting.kind);
        value["description"] = json!(setting.docs);
        (setting.key.clone(), value)
    };
    settings.iter().map(property).collect()
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text | Kind::Path => json!({ "type": "string" }),
        Kind::Number => json!({ "type": "integer", "minimum": 0 }),
        Kind::Fraction => json!({ "type": "number" }),
        Kind::Truth => json!({ "type": "boolean" }),
        Kind::Time | Kind::Size => json!({ "type": ["string", "integer"] }),
        Kind::OneOf(words) => json!({ "enum": words }),
        Kind::List(inner) => json!({ "type": "array", "items": self::kind(inner) }),
        Kind::Words => json!({
            "type": ["string", "array"], "items": { "type": "string" },
        }),
        Kind::TruthOrList => json!({
            "type": ["boolean", "array"], "items": { "type": "string" },
        }),
        Kind::Pairs => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Inline(settings) => json!({
            "type": "object", "additionalProperties": false, "properties": properties(settings),
        }),
    }
}
