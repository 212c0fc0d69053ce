//! The types of the configuration, read from their sources: names, comments, kinds, defaults.

use std::{collections::BTreeMap, fs};

use syn::{Attribute, Expr, Fields, Item, Lit, Meta, Type};

use super::{defaults, root};

/// A table of the configuration.
pub(super) struct Table {
    /// `site`; empty for the top.
    pub(super) name: String,
    /// One of many: `[[route]]`.
    pub(super) is_list: bool,
    pub(super) docs: String,
    pub(super) settings: Vec<Setting>,
    pub(super) tables: Vec<Self>,
}

/// One setting.
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) docs: String,
    pub(super) kind: Kind,
    pub(super) default: Option<String>,
}

/// What may be written for a setting.
pub(super) enum Kind {
    Text,
    Path,
    Number,
    Fraction,
    Truth,
    Time,
    Size,
    /// The words of a command.
    Words,
    TruthOrList,
    OneOf(Vec<String>),
    List(Box<Self>),
    /// Names and texts.
    Pairs,
    /// A table without a heading of its own.
    Inline(Vec<Setting>),
}

/// The sources, each with what its types are called elsewhere.
const SOURCES: &[(&str, &str)] = &[
    ("crates/perijove/src/config.rs", ""),
    ("crates/perijove/src/config/access.rs", ""),
    ("crates/perijove/src/config/edge.rs", ""),
    ("crates/perijove/src/config/files.rs", ""),
    ("crates/perijove/src/config/log.rs", ""),
    ("crates/perijove/src/config/operations.rs", ""),
    ("crates/perijove/src/config/site.rs", ""),
    ("crates/perijove/src/config/tls.rs", ""),
    ("crates/perijove/src/config/upstream.rs", ""),
    ("crates/perijove-hub/src/config.rs", "perijove_hub::"),
];

/// Reads the whole configuration.
pub(super) fn read() -> Table {
    let mut sources = Sources::default();
    for (path, prefix) in SOURCES.iter().copied() {
        let text = fs::read_to_string(root().join(path)).unwrap();
        sources.add(syn::parse_file(&text).unwrap().items, prefix);
    }
    sources.table("Config", "", false)
}

#[derive(Default)]
struct Sources {
    structs: BTreeMap<String, syn::ItemStruct>,
    enums: BTreeMap<String, syn::ItemEnum>,
    defaults: BTreeMap<String, BTreeMap<String, String>>,
}

impl Sources {
    fn add(&mut self, items: Vec<Item>, prefix: &str) {
        for item in items {
            match item {
                Item::Struct(found) => {
                    let name = found.ident.to_string();
                    self.structs.insert(format!("{prefix}{name}"), found.clone());
                    // What it is called where it is at home.
                    self.structs.entry(name).or_insert(found);
                }
                Item::Enum(found) => {
                    let name = found.ident.to_string();
                    self.enums.insert(format!("{prefix}{name}"), found.clone());
                    self.enums.entry(name).or_insert(found);
                }
                Item::Impl(found) => {
                    if let Some((name, values)) = defaults::of_impl(&found) {
                        self.defaults.insert(format!("{prefix}{name}"), values);
                    }
                }
                _ => {}
            }
        }
    }

    fn table(&self, type_name: &str, name: &str, is_list: bool) -> Table {
        let found = &self.structs[type_name];
        let (mut settings, mut tables) = (Vec::new(), Vec::new());
        for field in fields(found) {
            let (inner, is_many) = inner_type(&field.ty);
            let key = key_of(field);
            if self.structs.contains_key(&inner) && self.kind(&field.ty).is_none() {
                tables.push(self.table(&inner, &key, is_many));
            } else if let Some(kind) = self.kind(&field.ty) {
                settings.push(self.setting(type_name, field, kind));
            } else {
                panic!("nobody knows what can be written for {name}.{key}");
            }
        }
        Table { name: name.to_owned(), is_list, docs: docs_of(&found.attrs), settings, tables }
    }

    fn setting(&self, type_name: &str, field: &syn::Field, kind: Kind) -> Setting {
        let name = field.ident.as_ref().unwrap().to_string();
        let default = self.defaults.get(type_name).and_then(|known| known.get(&name)).cloned();
        let default = default.or_else(|| self.first_word(&field.ty));
        Setting { key: key_of(field), docs: docs_of(&field.attrs), kind, default }
    }

    /// The default of words that have one.
    fn first_word(&self, wanted: &Type) -> Option<String> {
        let found = self.enums.get(&type_name(wanted))?;
        let is_default = |variant: &&syn::Variant| {
            variant.attrs.iter().any(|attribute| attribute.path().is_ident("default"))
        };
        let variant = found.variants.iter().find(is_default)?;
        Some(format!("\"{}\"", word(found, &variant.ident.to_string())))
    }

    /// What may be written for a field; none for a table with a heading, and for what is kept for
    /// later.
    fn kind(&self, wanted: &Type) -> Option<Kind> {
        let name = type_name(wanted);
        Some(match name.as_str() {
            "String" => Kind::Text,
            "PathBuf" => Kind::Path,
            "usize" | "u16" | "u32" | "u64" => Kind::Number,
            "f64" => Kind::Fraction,
            "bool" => Kind::Truth,
            "Period" | "Lapse" => Kind::Time,
            "Size" => Kind::Size,
            "Words" | "Addresses" => Kind::Words,
            "Embed" => Kind::TruthOrList,
            "BTreeMap" => Kind::Pairs,
            "Option" => return self.kind(argument(wanted)?),
            "Vec" => match self.structs.get(&type_name(argument(wanted)?)) {
                // Written in one line, unless it has a heading for each.
                Some(inner) if inner.ident == "Static" || inner.ident == "CacheRule" => {
                    let name = inner.ident.to_string();
                    Kind::List(Box::new(Kind::Inline(self.table(&name, "", false).settings)))
                }
                Some(_) => return None,
                None => Kind::List(Box::new(self.kind(argument(wanted)?)?)),
            },
            name => {
                let found = self.enums.get(name)?;
                Kind::OneOf(
                    found.variants.iter().map(|v| word(found, &v.ident.to_string())).collect(),
                )
            }
        })
    }
}

fn fields(found: &syn::ItemStruct) -> impl Iterator<Item = &syn::Field> {
    let Fields::Named(fields) = &found.fields else { panic!("{} has no names", found.ident) };
    fields.named.iter()
}

/// A variant as it is written.
fn word(of: &syn::ItemEnum, variant: &str) -> String {
    let separator =
        if rename(&of.attrs).is_some_and(|style| style == "snake_case") { '_' } else { '-' };
    let mut word = String::new();
    for (at, letter) in variant.char_indices() {
        if letter.is_uppercase() && at > 0 {
            word.push(separator);
        }
        word.extend(letter.to_lowercase());
    }
    word
}

fn key_of(field: &syn::Field) -> String {
    rename(&field.attrs)
        .unwrap_or_else(|| field.ident.as_ref().unwrap().to_string().replace('_', "-"))
}

/// What `serde(rename = …)` or `serde(rename_all = …)` says.
fn rename(attributes: &[Attribute]) -> Option<String> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        attribute
            .parse_nested_meta(|meta| {
                let is_wanted = meta.path.is_ident("rename") || meta.path.is_ident("rename_all");
                if let Ok(value) = meta.value() {
                    let text: syn::LitStr = value.parse()?;
                    if is_wanted {
                        found = Some(text.value());
                    }
                }
                Ok(())
            })
            .unwrap();
    }
    found
}

/// The doc comment, its lines joined; paragraphs stay.
fn docs_of(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        let Meta::NameValue(pair) = &attribute.meta else { continue };
        let Expr::Lit(literal) = &pair.value else { continue };
        let Lit::Str(text) = &literal.lit else { continue };
        lines.push(text.value().trim().to_owned());
    }
    lines.join("\n")
}

/// The type below `Option` and `Vec`, and whether there was a `Vec`.
fn inner_type(wanted: &Type) -> (String, bool) {
    match type_name(wanted).as_str() {
        "Option" => inner_type(argument(wanted).unwrap()),
        "Vec" => (inner_type(argument(wanted).unwrap()).0, true),
        name => (name.to_owned(), false),
    }
}

fn type_name(wanted: &Type) -> String {
    let Type::Path(path) = wanted else { return String::new() };
    let names: Vec<String> = path.path.segments.iter().map(|part| part.ident.to_string()).collect();
    names.join("::")
}

fn argument(wanted: &Type) -> Option<&Type> {
    let Type::Path(path) = wanted else { return None };
    let syn::PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments
    else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        syn::GenericArgument::Type(found) => Some(found),
        _ => None,
    })
}
