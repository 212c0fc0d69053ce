//! Folders and what is found in them.

use std::fs;

use super::*;

/// Files of a folder; what is expected to be found and why, or the candidates, or nothing.
fn check(files: &[(&str, &str)], expected: Result<Option<(&str, &[&str])>, &[&str]>) {
    check_for(Wanted::Either, files, expected);
}

fn check_for(
    wanted: Wanted,
    files: &[(&str, &str)],
    expected: Result<Option<(&str, &[&str])>, &[&str]>,
) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let root = format!("{}/", folder.path().display());
    let shown = |what: What| match what {
        What::Application(application) => application.to_string().replace(&root, ""),
        What::Command(command) => format!("$ {command}"),
    };
    let got = match discover(folder.path(), wanted) {
        Ok(found) => Ok(found.map(|found| (shown(found.what), found.why))),
        Err(ambiguous) => {
            Err(ambiguous.candidates.into_iter().map(|(name, _)| name.replace(&root, "")).collect())
        }
    };
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = match expected {
        Ok(found) => Ok(found.map(|(what, why)| (what.to_owned(), owned(why)))),
        Err(candidates) => Err(owned(candidates)),
    };
    assert_eq!(got, expected, "{files:?}");
}

#[test]
fn an_application_is_found_by_its_name() {
    let one = |file: &str, text: &str, name: &str, why: &str| {
        check(&[(file, text)], Ok(Some((name, &[why]))));
    };
    one("app.py", "application = make()\n", "app:application", "app.py defines `application`");
    one("app.py", "app = make()\n", "app:app", "app.py defines `app`");
    one(
        "app.py",
        "app = F()\napplication = app\n",
        "app:application",
        "app.py defines `application`",
    );
    one("app.py", "def create_app():\n", "app:create_app()", "app.py defines `create_app()`");
    one("app.py", "", "app:application", "app.py is there");
    one("app.py", "\u{fffd}\0", "app:application", "app.py is there");
    one("wsgi.py", "app = 1\n", "wsgi:app", "wsgi.py defines `app`");
    one("asgi.py", "app = 1\n", "asgi:app", "asgi.py defines `app`");
    one("main.py", "app = FastAPI()\n", "main:app", "main.py defines `app`");
    one(
        "wsgi/application",
        "application = 1\n",
        "wsgi/application:application",
        "wsgi/application is a file of Python",
    );
    one(
        "shop/__init__.py",
        "def create_app(config=None):\n",
        "shop:create_app()",
        "shop/__init__.py defines `create_app()`",
    );
    check(&[], Ok(None));
    check(&[("main.py", "app = 1\n")], Ok(None));
    check(&[("shop/__init__.py", ""), ("tests/__init__.py", "app = 1\n")], Ok(None));
    check(&[("env/__init__.py", "app = 1"), ("env/pyvenv.cfg", "")], Ok(None));
    check(
        &[("shop/__init__.py", ""), ("shop/main.py", "app = FastAPI()\n")],
        Ok(Some(("shop.main:app", &["shop/main.py defines `app`"]))),
    );
}

#[test]
fn what_a_file_states_counts_first() {
    let web = ("Procfile", "worker: rq\nweb: gunicorn shop.wsgi\n");
    let app = ("app.py", "app = 1\n");
    let said = "Procfile says `web: gunicorn shop.wsgi`";
    check(&[web, app], Ok(Some(("$ gunicorn shop.wsgi", &[said]))));
    check_for(Wanted::Application, &[web, app], Ok(Some(("shop.wsgi:application", &[said]))));
    let other = ("Procfile", "web: ./run\n");
    check_for(
        Wanted::Application,
        &[other, app],
        Ok(Some((
            "app:app",
            &["app.py defines `app`", "Procfile says `web: ./run`, which names no application"],
        ))),
    );
    check(&[("Procfile", "worker: rq\n"), app], Ok(Some(("app:app", &["app.py defines `app`"]))));
    check(
        &[("gunicorn.conf.py", "wsgi_app = 'shop:make()'\n"), app],
        Ok(Some(("shop:make()", &["gunicorn.conf.py says `wsgi_app = \"shop:make()\"`"]))),
    );
    check(
        &[("gunicorn.conf.py", "workers = 2\n"), app],
        Ok(Some(("app:app", &["app.py defines `app`"]))),
    );
}

#[test]
fn frameworks_say_it_in_files_of_their_own() {
    let manage =
        ("manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n");
    check(
        &[
            manage,
            ("shop/__init__.py", ""),
            ("shop/wsgi.py", "application = 1\n"),
            ("shop/asgi.py", ""),
        ],
        Ok(Some((
            "shop.wsgi:application",
            &["manage.py is Django's and names shop.settings, and shop/wsgi.py is there"],
        ))),
    );
    check(
        &[manage, ("shop/settings.py", "ASGI_APPLICATION = 'shop.asgi.application'\n")],
        Ok(Some((
            "shop.asgi:application",
            &[
                "manage.py is Django's and names shop.settings, whose ASGI_APPLICATION is the asynchronous application",
            ],
        ))),
    );
    check(&[manage], Ok(None));
    let ini = "[app:main]\nuse = egg:shop\n";
    check(
        &[("production.ini", ini), ("development.ini", ini), ("tox.ini", "[tox]\n")],
        Ok(Some(("production.ini", &["production.ini is a PasteDeploy file"]))),
    );
    check(
        &[("site.ini", ini), ("shop/__init__.py", "app = 1\n")],
        Ok(Some(("site.ini", &["site.ini is a PasteDeploy file", "shop:app is part of site.ini"]))),
    );
}

#[test]
fn two_that_could_be_meant_are_named() {
    let app = ("app.py", "app = 1\n");
    check(&[app, ("wsgi.py", "app = 1\n")], Err(&["app:app", "wsgi:app"]));
    check(&[app, ("main.py", "app = FastAPI()\n")], Err(&["app:app", "main:app"]));
    let ini = "[app:main]\n";
    check(&[("a.ini", ini), ("b.ini", ini)], Err(&["a.ini", "b.ini"]));
    // One is made of the other: the outer one is meant.
    check(
        &[app, ("wsgi.py", "from app import app as application\n")],
        Ok(Some((
            "wsgi:application",
            &["wsgi.py defines `application`", "app:app is part of wsgi:application"],
        ))),
    );
    check(
        &[
            ("shop/__init__.py", "def create_app():\n"),
            ("wsgi.py", "import shop\napp = shop.create_app()\n"),
        ],
        Ok(Some(("wsgi:app", &["wsgi.py defines `app`", "shop:create_app() is part of wsgi:app"]))),
    );
    // Each imports the other.
    check(
        &[("app.py", "import wsgi\napp = 1\n"), ("wsgi.py", "import app\napp = 1\n")],
        Err(&["app:app", "wsgi:app"]),
    );
    // A file whose name alone speaks for it gives way.
    check(
        &[("app.py", ""), ("wsgi.py", "app = 1\n")],
        Ok(Some(("wsgi:app", &["wsgi.py defines `app`"]))),
    );
}
