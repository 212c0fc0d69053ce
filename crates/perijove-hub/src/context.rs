//! What a notebook is launched with, and the hash by which a changed context is known.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{Lapse, notebook::Name, user::hex, vouch::Visitor};

/// Keys of a launch that say how and where to, not with what.
const NOT_CONTENT: [&str; 7] =
    ["beside", "context_hash", "from-elsewhere", "path", "settings", "visitor", "when-busy"];

/// What a caller wants a notebook to have.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Context {
    /// Python source that every kernel runs when it starts.
    #[serde(default)]
    pub(crate) startup: String,
    /// Markdown of the first notebook's first cell.
    #[serde(default)]
    pub(crate) greeting: String,
    #[serde(default)]
    pub(crate) extra_template_paths: Vec<PathBuf>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// Files and folders that it may read beside its own.
    #[serde(default)]
    pub(crate) share: Vec<PathBuf>,
    /// Whatever else the caller has put there.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// A launch as it was asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct LaunchRequest {
    pub(crate) context: Context,
    /// Equal for equal contexts, in every process and after every restart.
    pub(crate) hash: String,
    /// A file below the user's folder to open in place of the first notebook.
    pub(crate) path: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) manner: Manner,
    /// Who has come to the site for it, where the site tells.
    pub(crate) visitor: Option<Visitor>,
}

/// What is done when the launch would disturb something, or has no room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    /// The user is asked; else what computes is replaced, and no room is an error.
    pub(crate) asks: bool,
    /// A page of another site has led here: whatever would be replaced is asked about.
    pub(crate) is_from_elsewhere: bool,
    /// What it would be called beside the one that runs.
    pub(crate) beside: Option<Name>,
}

/// Settings that the site hands over; they rank below the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) folder: Option<PathBuf>,
    pub(crate) kill_timeout: Option<Duration>,
    /// Where the site believes that notebooks are.
    pub(crate) domain: Option<String>,
}

/// Why a request is no launch.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ContextError {
    #[error("the body of a launch must be a JSON object")]
    NoObject,
    #[error("`{key}` must be {what}")]
    Wrong { key: &'static str, what: &'static str },
}

impl LaunchRequest {
    /// Reads the body of a launch; an empty one is an empty context.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ContextError> {
        let body = body.trim_ascii();
        let value = if body.is_empty() { Value::Object(Map::new()) } else { parse_json(body)? };
        let Value::Object(mut content) = value else { return Err(ContextError::NoObject) };
        content.retain(|_, value| !value.is_null());
        let hash = explicit_hash(content.get("context_hash"))?;
        let path = content.get("path").map(check_path).transpose()?;
        let settings = check_settings(content.get("settings"))?;
        let manner = check_manner(&content)?;
        let visitor = content.remove("visitor").map(check_visitor).transpose()?;
        content.retain(|key, _| !NOT_CONTENT.contains(&key.as_str()));
        check_kinds(&content)?;
        content.retain(|key, value| !is_left_out(key, value));
        let hash = hash.unwrap_or_else(|| hash_of(&Value::Object(content.clone())));
        let context =
            serde_json::from_value(Value::Object(content)).map_err(|_| ContextError::NoObject)?;
        Ok(Self { context, hash, path, settings, manner, visitor })
    }

    /// A launch with nothing in it.
    pub(crate) fn empty() -> Self {
        Self {
            context: Context::default(),
            hash: hash_of(&Value::Object(Map::new())),
            path: None,
            settings: Settings::default(),
            manner: Manner::default(),
            visitor: None,
        }
    }
}

impl Context {
    /// The name of the first notebook's file. It follows the greeting as well as the hash: a new
    /// greeting under an explicit hash is a new file, since the old one may be the user's work.
    pub(crate) fn notebook_file(&self, name: &Name, hash: &str) -> String {
        let named = hash_of(&serde_json::json!([hash, self.greeting]));
        let short: String = named.chars().take(8).collect();
        let name = if name.is_first() { "default" } else { name.as_str() };
        format!("{name}-{short}.ipynb")
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Scripts and variables of a site may hold secrets.
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

fn parse_json(body: &[u8]) -> Result<Value, ContextError> {
    serde_json::from_slice(body).map_err(|_| ContextError::NoObject)
}

/// A known key with an empty value means the same as without the key.
fn is_left_out(key: &str, value: &Value) -> bool {
    match key {
        "startup" | "greeting" => value.as_str() == Some(""),
        "extra_template_paths" | "share" => value.as_array().is_some_and(Vec::is_empty),
        "environment" => value.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

fn check_kinds(content: &Map<String, Value>) -> Result<(), ContextError> {
    let is_text = |key| content.get(key).is_none_or(Value::is_string);
    if !is_text("startup") {
        return Err(ContextError::Wrong { key: "startup", what: "Python source as text" });
    }
    if !is_text("greeting") {
        return Err(ContextError::Wrong { key: "greeting", what: "Markdown as text" });
    }
    let paths = content.get("extra_template_paths").map(Value::as_array);
    if paths.is_some_and(|p| !p.is_some_and(|p| p.iter().all(Value::is_string))) {
        return Err(ContextError::Wrong { key: "extra_template_paths", what: "a list of folders" });
    }
    let is_place = |path: &Value| path.as_str().is_some_and(|path| path.starts_with('/'));
    let share = content.get("share").map(Value::as_array);
    if share.is_some_and(|s| !s.is_some_and(|s| s.iter().all(is_place))) {
        return Err(ContextError::Wrong { key: "share", what: "a list of absolute paths" });
    }
    let is_variable = |(name, value): (&String, &Value)| {
        let is_name = !name.is_empty() && !name.contains(['=', '\0']);
        is_name && value.as_str().is_some_and(|value| !value.contains('\0'))
    };
    let environment = content.get("environment").map(Value::as_object);
    if environment.is_some_and(|e| !e.is_some_and(|e| e.iter().all(is_variable))) {
        let what = "an object of variables with text as values";
        return Err(ContextError::Wrong { key: "environment", what });
    }
    Ok(())
}

fn explicit_hash(value: Option<&Value>) -> Result<Option<String>, ContextError> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= 1024 => Ok(Some(text.clone())),
        Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
        Some(_) => {
            Err(ContextError::Wrong { key: "context_hash", what: "a text or a whole number" })
        }
    }
}

fn check_visitor(value: Value) -> Result<Visitor, ContextError> {
    let what = "an object of `origin`, `address` and `fields`";
    serde_json::from_value(value).map_err(|_| ContextError::Wrong { key: "visitor", what })
}

fn check_manner(content: &Map<String, Value>) -> Result<Manner, ContextError> {
    let asks = match content.get("when-busy").map(Value::as_str) {
        None | Some(Some("replace")) => false,
        Some(Some("ask")) => true,
        Some(_) => {
            let what = "\"ask\" or \"replace\"";
            return Err(ContextError::Wrong { key: "when-busy", what });
        }
    };
    let is_from_elsewhere = match content.get("from-elsewhere") {
        None => false,
        Some(value) => {
            let wrong = ContextError::Wrong { key: "from-elsewhere", what: "true or false" };
            value.as_bool().ok_or(wrong)?
        }
    };
    let name = |value: &Value| {
        let name = value.as_str().and_then(|name| Name::new(name).ok());
        name.ok_or(ContextError::Wrong { key: "beside", what: "the name of a notebook" })
    };
    let beside = content.get("beside").map(name).transpose()?.filter(|name| !name.is_first());
    Ok(Manner { asks, is_from_elsewhere, beside })
}

/// A path below the user's folder: it must not lead out of it.
fn check_path(value: &Value) -> Result<String, ContextError> {
    let what = "a file below the user's folder, such as \"work/sales.ipynb\"";
    let wrong = ContextError::Wrong { key: "path", what };
    let path = value.as_str().map(|path| path.trim_start_matches('/')).unwrap_or_default();
    let is_bad = |part: &str| matches!(part, "" | "." | "..") || part.contains(char::is_control);
    if path.split('/').any(is_bad) { Err(wrong) } else { Ok(path.to_owned()) }
}

fn check_settings(value: Option<&Value>) -> Result<Settings, ContextError> {
    let Some(value) = value else { return Ok(Settings::default()) };
    let folder = match value.get("folder").filter(|v| !v.is_null()) {
        None => None,
        Some(folder) => {
            let folder = folder.as_str().map(PathBuf::from).filter(|folder| folder.is_absolute());
            let what = "an absolute path";
            Some(folder.ok_or(ContextError::Wrong { key: "settings.folder", what })?)
        }
    };
    let kill_timeout = match value.get("kill-timeout").filter(|v| !v.is_null()) {
        None => None,
        Some(time) => {
            let time = Lapse::deserialize(time);
            let what = "a number of seconds";
            let wrong = ContextError::Wrong { key: "settings.kill-timeout", what };
            Some(time.map_err(|_| wrong)?.0)
        }
    };
    let domain = match value.get("domain").filter(|v| !v.is_null()) {
        None => None,
        Some(domain) => {
            let wrong = ContextError::Wrong { key: "settings.domain", what: "text" };
            Some(domain.as_str().ok_or(wrong)?.to_owned())
        }
    };
    Ok(Settings { folder, kill_timeout, domain })
}

/// SHA-256 over the one form that a JSON value has when its keys are sorted.
fn hash_of(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    hex(&Sha256::digest(text.as_bytes()))
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::Object(entries) => {
            let sorted: BTreeMap<&String, &Value> = entries.iter().collect();
            text.push('{');
            for (place, (key, value)) in sorted.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                write_canonical(value, text);
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests;
