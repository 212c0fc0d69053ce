//! What kind of application lies in a folder.

use std::{fs, path::Path};

use crate::Application;

/// Files that are looked at, in this order.
const FILES: [&str; 2] = ["app", "wsgi"];
/// Names that are looked for in them, in this order.
const NAMES: [&str; 2] = ["application", "app"];
/// Bytes of a file that are looked at.
const MOST: usize = 1 << 20;

/// An application that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub application: Application,
    /// For people: why this one.
    pub why: String,
}

/// Finds the application of a folder: `application` or `app` in `app.py` or `wsgi.py`. `None` when
/// neither file is there.
///
/// Nothing is run to find it. A file that defines neither name where it can be seen is taken at
/// its word all the same: the worker will say what is wrong with it.
pub fn discover(root: &Path) -> Option<Found> {
    FILES.iter().find_map(|module| {
        let mut text = fs::read(root.join(format!("{module}.py"))).ok()?;
        text.truncate(MOST);
        let text = String::from_utf8_lossy(&text);
        let name = NAMES.into_iter().find(|name| text.lines().any(|line| defines(line, name)));
        let why = match name {
            Some(name) => format!("{module}.py defines `{name}`"),
            None => format!("{module}.py is there"),
        };
        let name = name.unwrap_or("application");
        Some(Found { application: Application::Module(format!("{module}:{name}")), why })
    })
}

/// Whether a line at the top level of a Python file gives this name a meaning.
fn defines(line: &str, name: &str) -> bool {
    let code = line.split('#').next().unwrap_or_default();
    for keyword in ["async def ", "def ", "class "] {
        if let Some(defined) = code.strip_prefix(keyword) {
            return words(defined).next() == Some(name);
        }
    }
    if code.starts_with("from ") || code.starts_with("import ") {
        return imports(code, name);
    }
    let Some(rest) = code.strip_prefix(name).map(str::trim_start) else { return false };
    let is_assigned = rest.starts_with('=') && !rest.starts_with("==");
    is_assigned || (rest.starts_with(':') && rest.contains('='))
}

/// `x as name`, or `name` itself without another one.
fn imports(code: &str, name: &str) -> bool {
    let imported: Vec<&str> = words(code).skip_while(|word| *word != "import").skip(1).collect();
    let renamed = |at: usize| imported.get(at + 1) == Some(&"as");
    imported.iter().enumerate().any(|(at, word)| *word == name && !renamed(at))
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: Option<(&str, &str)>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let got = discover(folder.path());
        let got = got.map(|found| (found.application.to_string(), found.why));
        let expected = expected.map(|(name, why)| (name.to_owned(), why.to_owned()));
        assert_eq!(got, expected, "{files:?}");
    }

    fn check_app(text: &str, expected: &str) {
        let why = format!("app.py defines `{}`", expected.strip_prefix("app:").unwrap());
        check(&[("app.py", text)], Some((expected, &why)));
    }

    #[test]
    fn an_application_is_found_by_its_name() {
        check_app("application = make()\n", "app:application");
        check_app("app = make()\n", "app:app");
        check_app("app=make()\n", "app:app");
        check_app("app: Flask = Flask(__name__)\n", "app:app");
        check_app("app = Flask(__name__)\napplication = app\n", "app:application");
        check_app("def application(environ, start_response):\n    pass\n", "app:application");
        check_app("async def app(scope, receive, send): ...\n", "app:app");
        check_app("class app:\n    pass\n", "app:app");
        check_app("from shop import app\n", "app:app");
        check_app("from shop import (other, server as application)\n", "app:application");
        check_app("app = 1 if x == 2 else make()  # application = 7\n", "app:app");
    }

    #[test]
    fn what_only_looks_like_one_is_not() {
        let there = Some(("app:application", "app.py is there"));
        for text in [
            "",
            "    app = 1\n",
            "# app = 1\n",
            "application_name = 'x'\n",
            "app.config = {}\n",
            "app(debug=True)\n",
            "app['x'] = 1\n",
            "app == 1\n",
            "def other(app=1): ...\n",
            "from shop import app as shop_app\n",
        ] {
            check(&[("app.py", text)], there);
        }
    }

    #[test]
    fn files_are_looked_at_in_their_order() {
        check(&[], None);
        check(&[("main.py", "app = 1\n")], None);
        check(&[("wsgi.py", "app = 1\n")], Some(("wsgi:app", "wsgi.py defines `app`")));
        check(
            &[("wsgi.py", "app = 1\n"), ("app.py", "app = 1\n")],
            Some(("app:app", "app.py defines `app`")),
        );
        check(&[("app.py", "\u{fffd}\0")], Some(("app:application", "app.py is there")));
    }
}
