//! What can be seen in the text of a Python file without running it.

use std::{fs, path::Path};

/// Bytes of a file that are looked at.
const MOST: usize = 1 << 20;
/// Bytes of one parameter list that are looked at.
const LONGEST_PARAMETERS: usize = 2048;

/// The text of a Python file.
#[derive(Debug)]
pub(super) struct Source(String);

impl Source {
    /// `None` when there is no such file.
    pub(super) fn read(path: &Path) -> Option<Self> {
        if !path.is_file() {
            return None;
        }
        let mut text = fs::read(path).ok()?;
        text.truncate(MOST);
        Some(Self(String::from_utf8_lossy(&text).into_owned()))
    }

    /// Whether the top level of the file gives this name a meaning.
    pub(super) fn defines(&self, name: &str) -> bool {
        self.0.lines().any(|line| line_defines(line, name))
    }

    /// Whether the top level defines a function of this name that can be called without arguments.
    pub(super) fn defines_factory(&self, name: &str) -> bool {
        let start = format!("def {name}(");
        let mut at = 0;
        while let Some(found) = self.0.get(at..).and_then(|rest| rest.find(&start)) {
            let begin = at + found;
            at = begin + start.len();
            let is_at_top = begin == 0 || self.0.as_bytes().get(begin - 1) == Some(&b'\n');
            if is_at_top && needs_nothing(self.0.get(at..).unwrap_or_default()) {
                return true;
            }
        }
        false
    }

    /// Whether the file imports this module, or something of it.
    pub(super) fn imports(&self, module: &str) -> bool {
        self.0.lines().map(str::trim_start).any(|line| {
            if let Some(rest) = line.strip_prefix("from ") {
                return is_in(first_word(rest), module);
            }
            line.strip_prefix("import ").is_some_and(|rest| {
                rest.split(',').any(|part| is_in(first_word(part.trim_start()), module))
            })
        })
    }

    /// Whether one of these names is called somewhere.
    pub(super) fn calls(&self, names: &[&str]) -> bool {
        names.iter().any(|name| {
            self.0.match_indices(name).any(|(at, _)| {
                let before = self.0.get(..at).and_then(|text| text.chars().next_back());
                let after = self.0.get(at + name.len()..).unwrap_or_default();
                !before.is_some_and(is_of_name) && after.trim_start().starts_with('(')
            })
        })
    }

    /// The text that is assigned to a name at the top level, without its quotes.
    pub(super) fn assigned_text(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.trim_start().strip_prefix('=')?;
            quoted(value)
        })
    }

    /// The text behind a quoted key: `setdefault("KEY", "text")`, `environ["KEY"] = "text"`.
    pub(super) fn text_behind(&self, key: &str) -> Option<&str> {
        let at = self.0.find(key)? + key.len();
        let rest = self.0.get(at..)?.trim_start_matches(['"', '\'']);
        quoted(rest.trim_start_matches([' ', ',', ']', '=', '\n']))
    }
}

/// What stands in the quotes that a text begins with.
fn quoted(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    text.get(1..)?.split_once(quote).map(|(inside, _)| inside)
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| c.is_whitespace() || c == ',').next().unwrap_or_default()
}

/// Whether a dotted name is this module or inside it.
fn is_in(name: &str, module: &str) -> bool {
    name.trim_start_matches('.')
        .strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a parameter list, cut off behind its opening bracket, has a default for everything.
fn needs_nothing(rest: &str) -> bool {
    let mut depth = 0_u32;
    let mut parameter = String::new();
    for c in rest.chars().take(LONGEST_PARAMETERS) {
        match c {
            ')' if depth == 0 => return is_given(&parameter),
            ',' if depth == 0 => {
                if !is_given(&parameter) {
                    return false;
                }
                parameter.clear();
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        parameter.push(c);
    }
    false
}

/// Whether one parameter needs no argument.
fn is_given(parameter: &str) -> bool {
    let parameter = parameter.trim();
    parameter.is_empty() || parameter.starts_with(['*', '/']) || parameter.contains('=')
}

/// Whether a line at the top level of a Python file gives this name a meaning.
fn line_defines(line: &str, name: &str) -> bool {
    let code = line.split('#').next().unwrap_or_default();
    for keyword in ["async def ", "def ", "class "] {
        if let Some(defined) = code.strip_prefix(keyword) {
            return words(defined).next() == Some(name);
        }
    }
    if code.starts_with("from ") || code.starts_with("import ") {
        return line_imports(code, name);
    }
    let Some(rest) = code.strip_prefix(name).map(str::trim_start) else { return false };
    let is_assigned = rest.starts_with('=') && !rest.starts_with("==");
    is_assigned || (rest.starts_with(':') && rest.contains('='))
}

/// `x as name`, or `name` itself without another one.
fn line_imports(code: &str, name: &str) -> bool {
    let imported: Vec<&str> = words(code).skip_while(|word| *word != "import").skip(1).collect();
    let renamed = |at: usize| imported.get(at + 1) == Some(&"as");
    imported.iter().enumerate().any(|(at, word)| *word == name && !renamed(at))
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !is_of_name(c)).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Source {
        Source(text.to_owned())
    }

    #[test]
    fn names_are_seen_where_they_are_defined() {
        let check = |text: &str, expected: bool| {
            assert_eq!(of(text).defines("app"), expected, "{text}");
        };
        check("app = make()\n", true);
        check("app=make()\n", true);
        check("app: Flask = Flask(__name__)\n", true);
        check("def app(environ, start_response):\n    pass\n", true);
        check("async def app(scope, receive, send): ...\n", true);
        check("class app:\n    pass\n", true);
        check("from shop import app\n", true);
        check("from shop import (other, server as app)\n", true);
        check("app = 1 if x == 2 else make()  # app = 7\n", true);
        check("", false);
        check("    app = 1\n", false);
        check("# app = 1\n", false);
        check("app_name = 'x'\n", false);
        check("app.config = {}\n", false);
        check("app(debug=True)\n", false);
        check("app['x'] = 1\n", false);
        check("app == 1\n", false);
        check("def other(app=1): ...\n", false);
        check("from shop import app as shop_app\n", false);
    }

    #[test]
    fn factories_need_no_arguments() {
        let check = |text: &str, expected: bool| {
            assert_eq!(of(text).defines_factory("create_app"), expected, "{text}");
        };
        check("def create_app():\n", true);
        check("import x\ndef create_app(config=None, *rest, **more):\n", true);
        check("def create_app(\n    config: dict[str, int] = {},\n) -> Flask:\n", true);
        check("def create_app(config):\n", false);
        check("def create_app(config, name='x'):\n", false);
        check("    def create_app():\n", false);
        check("def create_apps():\n", false);
        check("def create_app(", false);
    }

    #[test]
    fn imports_and_calls_are_seen() {
        let imports = |text: &str, expected: bool| {
            assert_eq!(of(text).imports("shop"), expected, "{text}");
        };
        imports("from shop import app\n", true);
        imports("from shop.web import app\n", true);
        imports("import os, shop\n", true);
        imports("import shop.web as web\n", true);
        imports("    from shop import app\n", true);
        imports("from shopping import app\n", false);
        imports("import workshop\n", false);
        let calls = |text: &str, expected: bool| {
            assert_eq!(of(text).calls(&["FastAPI", "Flask"]), expected, "{text}");
        };
        calls("app = FastAPI(title='x')\n", true);
        calls("app = flask.Flask (__name__)\n", true);
        calls("from fastapi import FastAPI\n", false);
        calls("app = MyFlask()\n", false);
    }

    #[test]
    fn texts_are_read() {
        let settings = |text: &str, expected: Option<&str>| {
            assert_eq!(of(text).text_behind("DJANGO_SETTINGS_MODULE"), expected, "{text}");
        };
        settings(
            "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')",
            Some("shop.settings"),
        );
        settings("os.environ[\"DJANGO_SETTINGS_MODULE\"] = \"a.b\"\n", Some("a.b"));
        settings("os.environ.setdefault(\n    \"DJANGO_SETTINGS_MODULE\",\n    name)", None);
        let wsgi = |text: &str, expected: Option<&str>| {
            assert_eq!(of(text).assigned_text("wsgi_app"), expected, "{text}");
        };
        wsgi("bind = ':80'\nwsgi_app = \"shop.web:app\"\n", Some("shop.web:app"));
        wsgi("wsgi_app='shop'\n", Some("shop"));
        wsgi("wsgi_app = name\n", None);
        wsgi("# wsgi_app = 'x'\n", None);
    }
}
