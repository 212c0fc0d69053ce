//! What a file states: `web:` in a `Procfile`, `wsgi_app` in `gunicorn.conf.py`.

use std::{fs, path::Path};

use super::{Found, Wanted, What, source::Source};
use crate::Application;

/// Servers whose command line names an application, with their options that stand without a value.
/// Whatever else begins with a dash is taken for an option with one.
const SERVERS: [&str; 5] = ["gunicorn", "uvicorn", "granian", "hypercorn", "daphne"];
const FLAGS: [&str; 12] = [
    "--reload",
    "--preload",
    "--daemon",
    "-D",
    "--proxy-headers",
    "--no-access-log",
    "--factory",
    "--capture-output",
    "-R",
    "--no-sendfile",
    "--ws",
    "--no-ws",
];

/// What a file states, or why it does not count.
type Stated = Option<Result<Found, String>>;

/// The process type `web` of a `Procfile`; the last one counts.
pub(super) fn procfile(root: &Path, wanted: Wanted) -> Stated {
    let text = fs::read_to_string(root.join("Procfile")).ok()?;
    let entry = |line: &str| {
        let (kind, command) = line.split_once(':')?;
        (kind.trim() == "web").then(|| command.trim().to_owned())
    };
    let command = text.lines().rev().find_map(entry).filter(|command| !command.is_empty())?;
    let why = format!("Procfile says `web: {command}`");
    if wanted == Wanted::Either {
        return Some(Ok(Found { what: What::Command(command), why: vec![why] }));
    }
    Some(match named_in(&command) {
        Some(name) => Ok(of_name(name, why)),
        None => Err(format!("{why}, which names no application")),
    })
}

/// `wsgi_app` of gunicorn's settings file.
pub(super) fn gunicorn_settings(root: &Path, _: Wanted) -> Stated {
    let source = Source::read(&root.join("gunicorn.conf.py"))?;
    let name = source.assigned_text("wsgi_app").filter(|name| !name.is_empty())?;
    Some(Ok(of_name(name, format!("gunicorn.conf.py says `wsgi_app = \"{name}\"`"))))
}

fn of_name(name: &str, why: String) -> Found {
    let name = if name.contains(':') { name.to_owned() } else { format!("{name}:application") };
    Found { what: What::Application(Application::Module(name)), why: vec![why] }
}

/// The application that the command line of a known server names.
fn named_in(command: &str) -> Option<&str> {
    let mut words = command.split_whitespace().skip_while(|word| {
        let program = word.rsplit('/').next().unwrap_or_default();
        !SERVERS.contains(&program)
    });
    words.next()?;
    let mut is_value = false;
    for word in words {
        if std::mem::take(&mut is_value) {
            continue;
        }
        if word.starts_with('-') {
            is_value = !word.contains('=') && !FLAGS.contains(&word);
        } else {
            let is_name = word
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '(' | ')'));
            return is_name.then_some(word);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::named_in;

    #[test]
    fn servers_name_applications() {
        let check = |command: &str, expected: Option<&str>| {
            assert_eq!(named_in(command), expected, "{command}");
        };
        check("gunicorn shop.wsgi", Some("shop.wsgi"));
        check("gunicorn --workers 3 shop.wsgi:app --log-file -", Some("shop.wsgi:app"));
        check("python -m gunicorn -b=0.0.0.0:$PORT --preload app:app", Some("app:app"));
        check("/srv/venv/bin/uvicorn main:app --host 0.0.0.0", Some("main:app"));
        check("A=1 exec daphne -p $PORT site.asgi:application", Some("site.asgi:application"));
        check("python app.py", None);
        check("gunicorn", None);
        check("gunicorn $MODULE", None);
        check("", None);
    }
}
