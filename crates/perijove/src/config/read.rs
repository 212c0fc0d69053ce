//! A tree of entries → a type that serde can read, with every mistake found on the way.
//!
//! What cannot be read is taken out and the rest is read again, until all of it reads: so one look
//! at the file tells everything that is wrong with it, whatever the types are.

use std::{cell::RefCell, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::StringDeserializer,
    },
};

use super::{
    entry::{Entry, Segment, Table, Value, dotted},
    mistakes::{Mistake, Mistakes, nearest},
    text,
};

/// Reads a `T`; what was wrong is taken out of the tree and returned beside it. `None` when not
/// even the empty table is a `T`.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(root: &mut Entry) -> (Option<T>, Mistakes) {
    let mut mistakes = Mistakes::default();
    loop {
        let unknown = RefCell::default();
        let result = T::deserialize(Reader { entry: root, path: Vec::new(), unknown: &unknown });
        for key in unknown.into_inner() {
            mistakes.push(unknown_key(root, &key));
            root.remove(&key.path);
        }
        let error = match result {
            Ok(read) => return (Some(read), mistakes),
            Err(error) => error,
        };
        let path = error.path.clone().unwrap_or_default();
        // What is missing where something was taken out is no further mistake.
        if !(error.is_missing && is_scarred(root, &path)) {
            mistakes.push(error.into_mistake(root, &path));
        }
        if !root.remove(&path) {
            return (None, mistakes);
        }
    }
}

fn is_scarred(root: &Entry, path: &[Segment]) -> bool {
    root.find(path)
        .is_some_and(|entry| matches!(&entry.value, Value::Table(table) if table.is_scarred))
}

/// A key that the type does not have.
struct UnknownKey {
    path: Vec<Segment>,
    known: &'static [&'static str],
}

fn unknown_key(root: &Entry, unknown: &UnknownKey) -> Mistake {
    let origin = root.find(&unknown.path).map(|entry| entry.origin.clone()).unwrap_or_default();
    let mistake = Mistake::new(origin, format!("`{}` is not a setting", dotted(&unknown.path)));
    let Some((Segment::Key(written), above)) = unknown.path.split_last() else { return mistake };
    let name = |key: &str| dotted(&[above, &[Segment::Key(key.to_owned())]].concat());
    match nearest(written, unknown.known.iter().copied()) {
        Some(known) => mistake.hint(format!("did you mean `{}`?", name(known))),
        None if unknown.known.is_empty() => mistake,
        None => mistake.hint(format!("known here: {}", unknown.known.join(", "))),
    }
}

/// Why a value cannot be read.
#[derive(Clone, Debug)]
struct ReadError {
    path: Option<Vec<Segment>>,
    what: String,
    hint: Option<String>,
    is_missing: bool,
}

impl ReadError {
    fn new(what: impl Into<String>) -> Self {
        Self { path: None, what: what.into(), hint: None, is_missing: false }
    }

    /// Says where it happened, unless that is known more closely.
    fn at(mut self, path: &[Segment]) -> Self {
        self.path.get_or_insert_with(|| path.to_vec());
        self
    }

    fn into_mistake(self, root: &Entry, path: &[Segment]) -> Mistake {
        let origin = root.find(path).map(|entry| entry.origin.clone()).unwrap_or_default();
        let what = match dotted(path) {
            key if key.is_empty() => self.what,
            key => format!("`{key}`: {}", self.what),
        };
        Mistake { hint: self.hint, ..Mistake::new(origin, what) }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expects {}, not {}", wanted(expected), in_words(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expects {}, not {}", wanted(expected), in_words(found)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let known: Vec<String> = expected.iter().map(|name| format!("`{name}`")).collect();
        let mut error = Self::new(format!("`{variant}` is none of {}", known.join(", ")));
        error.hint = nearest(variant, expected.iter().copied())
            .map(|name| format!("did you mean `{name}`?"));
        error
    }

    fn missing_field(field: &'static str) -> Self {
        Self { is_missing: true, ..Self::new(format!("`{field}` is missing")) }
    }
}

/// What a type expects, for people who do not know its name in Rust.
fn wanted(expected: &dyn de::Expected) -> String {
    let expected = expected.to_string();
    let words = match expected.as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative and fits",
        "i8" | "i16" | "i32" | "i64" => "a whole number that fits",
        "f32" | "f64" => "a number",
        "a string" => "text",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "a table",
        name if name.starts_with("struct ") => "a table",
        name if name.starts_with("enum ") => "one of its words",
        _ => return expected,
    };
    words.to_owned()
}

fn in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("the text {text:?}"),
        Unexpected::Bool(truth) => format!("`{truth}`"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// Reads one entry.
struct Reader<'a> {
    entry: &'a Entry,
    path: Vec<Segment>,
    unknown: &'a RefCell<Vec<UnknownKey>>,
}

impl Reader<'_> {
    fn below<'b>(&'b self, entry: &'b Entry, segment: Segment) -> Reader<'b> {
        let mut path = self.path.clone();
        path.push(segment);
        Reader { entry, path, unknown: self.unknown }
    }

    /// A value of the environment as TOML would read it; text when it is not TOML.
    fn meant(&self, raw: &str) -> Value {
        text::parse_value(raw, &self.entry.origin).unwrap_or_else(|| Value::Text(raw.to_owned()))
    }

    fn any<'de, V: Visitor<'de>>(&self, value: &Value, visitor: V) -> Result<V::Value, ReadError> {
        match value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(truth) => visitor.visit_bool(*truth),
            Value::List(list) => visitor.visit_seq(Items { reader: self, list, at: 0 }),
            Value::Table(table) => visitor.visit_map(Pairs::new(self, table)),
            Value::Raw(raw) => self.any(&self.meant(raw), visitor),
        }
    }

    /// A list from the environment may also be written with commas.
    fn list(&self, raw: &str) -> Value {
        match self.meant(raw) {
            list @ Value::List(_) => list,
            _ => Value::List(
                raw.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Entry::new(Value::Raw(item.to_owned()), self.entry.origin.clone()))
                    .collect(),
            ),
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.any(&self.entry.value, visitor).map_err(|error| error.at(&self.path))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.entry.value {
            Value::Raw(raw) => {
                visitor.visit_str(raw).map_err(|error: ReadError| error.at(&self.path))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let list = match &self.entry.value {
            Value::Raw(raw) => self.list(raw),
            value => value.clone(),
        };
        self.any(&list, visitor).map_err(|error| error.at(&self.path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let Value::Table(table) = &self.entry.value else { return self.deserialize_any(visitor) };
        for key in table.entries.keys().filter(|key| !known.contains(&key.as_str())) {
            let path = [self.path.as_slice(), &[Segment::Key(key.clone())]].concat();
            self.unknown.borrow_mut().push(UnknownKey { path, known });
        }
        let mut pairs = Pairs::new(&self, table);
        pairs.known = Some(known);
        visitor.visit_map(pairs).map_err(|error| error.at(&self.path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.entry.value {
            Value::Text(text) | Value::Raw(text) => {
                let variant: StringDeserializer<ReadError> = text.clone().into_deserializer();
                visitor.visit_enum(variant).map_err(|error| error.at(&self.path))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        tuple tuple_struct map identifier ignored_any
    }
}

/// The items of a list.
struct Items<'a> {
    reader: &'a Reader<'a>,
    list: &'a [Entry],
    at: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(entry) = self.list.get(self.at) else { return Ok(None) };
        let reader = self.reader.below(entry, Segment::Index(self.at));
        self.at += 1;
        let path = reader.path.clone();
        seed.deserialize(reader).map(Some).map_err(|error| error.at(&path))
    }
}

/// The pairs of a table; only the known ones when the type has a fixed set.
struct Pairs<'a> {
    reader: &'a Reader<'a>,
    rest: std::collections::btree_map::Iter<'a, String, Entry>,
    known: Option<&'static [&'static str]>,
    value: Option<(&'a str, &'a Entry)>,
}

impl<'a> Pairs<'a> {
    fn new(reader: &'a Reader<'a>, table: &'a Table) -> Self {
        Self { reader, rest: table.entries.iter(), known: None, value: None }
    }
}

impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let is_known = |key: &str| self.known.is_none_or(|known| known.contains(&key));
        let Some((key, entry)) = self.rest.find(|(key, _)| is_known(key)) else { return Ok(None) };
        self.value = Some((key, entry));
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((key, entry)) = self.value.take() else {
            return Err(ReadError::new("a value was asked for before its key"));
        };
        let reader = self.reader.below(entry, Segment::Key(key.to_owned()));
        let path = reader.path.clone();
        seed.deserialize(reader).map_err(|error| error.at(&path))
    }
}

#[cfg(test)]
mod tests;
