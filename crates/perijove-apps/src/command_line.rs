//! A command that listens where it is told: its words, and what is put into them.

use std::{collections::BTreeMap, fmt};

use thiserror::Error;

/// What stands for something else in a word.
const PLACES: [&str; 6] = ["socket", "port", "host", "python", "app", "root"];

/// The words of a command. `{socket}`, `{port}`, `{host}`, `{python}`, `{app}` and `{root}` in them
/// stand for what is known when it is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    words: Vec<String>,
    /// Whether it was one text, in which `$NAME` is a variable.
    has_variables: bool,
}

/// Why a text is no command.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommandLineError {
    #[error("there is no word in it")]
    Empty,
    #[error("a quote in it has no end")]
    OpenQuote,
    #[error("{0:?} in it is for a shell")]
    Shell(char),
}

impl CommandLine {
    /// A command of words that are taken as they are.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_words(words: Vec<String>) -> Result<Self, CommandLineError> {
        match words.first() {
            Some(program) if !program.is_empty() => Ok(Self { words, has_variables: false }),
            _ => Err(CommandLineError::Empty),
        }
    }

    /// A command in one text, split into words as a shell does it: quotes and backslashes count,
    /// and `$NAME` outside of single quotes is a variable. What needs a shell is refused.
    ///
    /// # Errors
    /// When it has no words, an open quote, or what only a shell can do.
    pub fn of_text(text: &str) -> Result<Self, CommandLineError> {
        let words = split(text)?;
        if words.is_empty() {
            return Err(CommandLineError::Empty);
        }
        Ok(Self { words, has_variables: true })
    }

    /// Whether `{NAME}` occurs in it.
    pub(crate) fn has(&self, name: &str) -> bool {
        let place = format!("{{{name}}}");
        self.words.iter().any(|word| word.contains(&place))
    }

    /// The words as they are run. What has no value stays as it is.
    pub(crate) fn filled(
        &self,
        place: impl Fn(&str) -> Option<String>,
        variables: &BTreeMap<String, String>,
    ) -> Vec<String> {
        let fill = |word: &String| {
            let mut word =
                if self.has_variables { expanded(word, variables) } else { word.clone() };
            for name in PLACES {
                if let Some(value) = place(name) {
                    word = word.replace(&format!("{{{name}}}"), &value);
                }
            }
            word
        };
        self.words.iter().map(fill).collect()
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.words.iter().map(|word| shown(word)).collect();
        f.write_str(&words.join(" "))
    }
}

fn shown(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+{}$".contains(c);
    let word = word.replace(VARIABLE, "$");
    if !word.is_empty() && word.chars().all(is_plain) { word } else { format!("{word:?}") }
}

/// Stands for a dollar that begins a variable, in words that are kept.
const VARIABLE: char = '\u{1}';

#[derive(Clone, Copy, PartialEq)]
enum Quote {
    Single,
    Double,
}

fn split(text: &str) -> Result<Vec<String>, CommandLineError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(Quote::Single), '\'') | (Some(Quote::Double), '"') => quote = None,
            (None, '\'' | '"') => {
                quote = Some(if letter == '"' { Quote::Double } else { Quote::Single });
                word.get_or_insert_default();
            }
            (Some(Quote::Single), _) => word.get_or_insert_default().push(letter),
            (_, '\\') => word.get_or_insert_default().extend(letters.next()),
            (_, '$') => word.get_or_insert_default().push(VARIABLE),
            (_, '`') => return Err(CommandLineError::Shell(letter)),
            (None, '|' | '&' | ';' | '<' | '>' | '(' | ')' | '\n') => {
                return Err(CommandLineError::Shell(letter));
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if quote.is_some() { Err(CommandLineError::OpenQuote) } else { Ok(words) }
}

/// A word with the values of its variables; one that is not set is nothing.
fn expanded(word: &str, variables: &BTreeMap<String, String>) -> String {
    let mut parts = word.split(VARIABLE);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, default, rest) = variable(part);
        match variables.get(name).filter(|value| !value.is_empty()) {
            _ if name.is_empty() => {
                whole.push('$');
                whole.push_str(part);
                continue;
            }
            Some(value) => whole.push_str(value),
            None => whole.push_str(default),
        }
        whole.push_str(rest);
    }
    whole
}

/// What follows a dollar: the name, what to take when it is not set, and what comes after.
fn variable(part: &str) -> (&str, &str, &str) {
    let end_of_name = |text: &str| {
        text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
    };
    let braced = part.strip_prefix('{').and_then(|inner| inner.split_once('}'));
    if let Some((inner, rest)) = braced {
        let (name, after) = inner.split_at(end_of_name(inner));
        return (name, after.strip_prefix(":-").unwrap_or_default(), rest);
    }
    let (name, rest) = part.split_at(end_of_name(part));
    (name, "", rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(line: &CommandLine) -> Vec<String> {
        let variables = [("PORT", "80"), ("EMPTY", "")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        line.filled(|name| (name == "port").then(|| "9".to_owned()), &variables.into())
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(filled(&CommandLine::of_text(text).unwrap()), expected, "{text}");
    }

    #[test]
    fn a_text_is_split_as_a_shell_does_it() {
        check("a  b\tc ", &["a", "b", "c"]);
        check(r#"a 'b c' "d e" f\ g"#, &["a", "b c", "d e", "f g"]);
        check(r#"a '' "" b"c"'d'"#, &["a", "", "", "bcd"]);
        check("a $PORT :$PORT/ ${PORT}0", &["a", "80", ":80/", "800"]);
        check("a '$PORT' \\$PORT \"$PORT\"", &["a", "$PORT", "$PORT", "80"]);
        check("a ${PORT:-70} ${NONE:-70} $NONE", &["a", "80", "70", ""]);
        check("a ${EMPTY:-x} 5$ $", &["a", "x", "5$", "$"]);
        check("a {port} {other} --x={port}", &["a", "9", "{other}", "--x=9"]);
    }

    #[test]
    fn words_are_taken_as_they_are() {
        let line = CommandLine::of_words(vec!["a b".into(), "$PORT".into(), "{port}".into()]);
        let line = line.unwrap();
        assert_eq!(filled(&line), ["a b", "$PORT", "9"]);
        assert!(line.has("port") && !line.has("socket"));
        assert_eq!(line.to_string(), r#""a b" $PORT {port}"#);
    }

    #[test]
    fn what_is_no_command_is_told() {
        let check = |text: &str, expected| assert_eq!(CommandLine::of_text(text), Err(expected));
        check("", CommandLineError::Empty);
        check("  ", CommandLineError::Empty);
        check("a 'b", CommandLineError::OpenQuote);
        check("a && b", CommandLineError::Shell('&'));
        check("a | b", CommandLineError::Shell('|'));
        check("a `b`", CommandLineError::Shell('`'));
        check("a $(b)", CommandLineError::Shell('('));
        assert_eq!(CommandLine::of_words(Vec::new()), Err(CommandLineError::Empty));
    }
}
