//! A Django project: what its `manage.py` leads to.

use std::path::Path;

use super::source::Source;

/// The name of a project's application and why it is the one. The error is why there is none.
pub(super) fn find(root: &Path) -> Option<Result<(String, String), String>> {
    let manage = Source::read(&root.join("manage.py"))?;
    let settings = manage.text_behind("DJANGO_SETTINGS_MODULE")?;
    let package = settings.split('.').next().filter(|package| !package.is_empty())?;
    let told = format!("manage.py is Django's and names {settings}");
    let at = |module: &str| root.join(module.replace('.', "/") + ".py");
    let package_folder = root.join(package);
    let of_settings = Source::read(&at(settings))
        .or_else(|| Source::read(&root.join(settings.replace('.', "/")).join("base.py")));
    for (key, interface) in [("ASGI_APPLICATION", "asynchronous"), ("WSGI_APPLICATION", "WSGI")] {
        let named = of_settings.as_ref().and_then(|source| source.assigned_text(key));
        if let Some((module, callable)) = named.and_then(|name| name.rsplit_once('.')) {
            let why = format!("{told}, whose {key} is the {interface} application");
            return Some(Ok((format!("{module}:{callable}"), why)));
        }
    }
    for module in ["wsgi", "asgi"] {
        if package_folder.join(format!("{module}.py")).is_file() {
            let why = format!("{told}, and {package}/{module}.py is there");
            return Some(Ok((format!("{package}.{module}:application"), why)));
        }
    }
    Some(Err(format!("{told}, but neither {package}/wsgi.py nor {package}/asgi.py is there")))
}
