//! A command, as people write it.

use std::fmt;

use perijove_apps::CommandLine;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

/// A command: a list of words, or one text that is split as a shell does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub CommandLine);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command: a list of words, or one text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Words, E> {
        CommandLine::of_text(text).map(Words).map_err(|error| wrong(&error))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Words, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = items.next_element()? {
            words.push(word);
        }
        CommandLine::of_words(words).map(Words).map_err(|error| wrong(&error))
    }
}

fn wrong<E: de::Error>(error: &perijove_apps::CommandLineError) -> E {
    E::custom(format!(
        "no command can be read from it: {error}; what needs a shell is written \
         [\"sh\", \"-c\", \"…\"]"
    ))
}
