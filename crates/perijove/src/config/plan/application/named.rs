//! The application that a name means.

use std::path::{Path, PathBuf};

use perijove_apps::Application;

use super::Check;

/// What a name of an application says.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    Module(String),
    /// A file of Python, and the module that it is.
    Script(PathBuf, String),
    Ini(PathBuf),
    Nothing,
}

/// The application, if its name can be meant.
pub(super) fn named(
    app: &str,
    key: &str,
    root: &Path,
    check: &mut Check<'_>,
) -> Option<Application> {
    let (file, application) = match read(app, root) {
        Name::Module(name) => return Some(Application::Module(name)),
        Name::Script(file, module) => (file, Application::Module(module)),
        Name::Ini(file) => (file.clone(), Application::Ini(file)),
        Name::Nothing => {
            let hint = "write \"module:callable\", \"wsgi.py\" or \"production.ini\"";
            check.wrong(key, format!("{app:?} is no name of an application"), hint);
            return None;
        }
    };
    if !file.is_file() {
        check.wrong(key, format!("there is no file {}", file.display()), "");
        return None;
    }
    Some(application)
}

fn read(app: &str, root: &Path) -> Name {
    if !app.contains(':') && Path::new(app).extension().is_some_and(|ending| ending == "ini") {
        return Name::Ini(root.join(app));
    }
    let (path, callable) = app.split_once(':').unwrap_or((app, "application"));
    let is_python = Path::new(path).extension().is_some_and(|ending| ending == "py");
    if path.contains('/') && !path.contains("..") && !is_python && is_dotted(callable) {
        return Name::Script(root.join(path), format!("{path}:{callable}"));
    }
    if let Some(module) = app.strip_suffix(".py").filter(|_| !app.contains(':')) {
        return match module.replace('/', ".") {
            module if is_dotted(&module) => Name::Script(root.join(app), module + ":application"),
            _ => Name::Nothing,
        };
    }
    let (module, callable) = app.split_once(':').unwrap_or((app, "application"));
    if is_dotted(module) && is_dotted(callable.strip_suffix("()").unwrap_or(callable)) {
        Name::Module(format!("{module}:{callable}"))
    } else {
        Name::Nothing
    }
}

/// Whether each part between dots could be a name in Python.
fn is_dotted(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Name, read};

    #[test]
    fn names_of_applications_are_read() {
        let check = |app: &str, expected: Name| assert_eq!(read(app, Path::new("/s")), expected);
        let module = |name: &str| Name::Module(name.to_owned());
        check("app:application", module("app:application"));
        check("shop.web:make()", module("shop.web:make()"));
        check("shop.web:site.wsgi", module("shop.web:site.wsgi"));
        check("app", module("app:application"));
        check("wsgi.py", Name::Script("/s/wsgi.py".into(), "wsgi:application".to_owned()));
        check(
            "web/wsgi.py",
            Name::Script("/s/web/wsgi.py".into(), "web.wsgi:application".to_owned()),
        );
        check(
            "wsgi/application",
            Name::Script("/s/wsgi/application".into(), "wsgi/application:application".to_owned()),
        );
        check("bin/site:app", Name::Script("/s/bin/site".into(), "bin/site:app".to_owned()));
        check("production.ini", Name::Ini("/s/production.ini".into()));
        check("/etc/site.ini", Name::Ini("/etc/site.ini".into()));
        check("", Name::Nothing);
        check("my app", Name::Nothing);
        check("app:", Name::Nothing);
        check("app:1st", Name::Nothing);
        check("../wsgi.py", Name::Nothing);
        check("app:make(1)", Name::Nothing);
    }
}
