//! Settings of the site: its application, its files.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Period, Size, Static};

/// The site: a Python application run here, or one in any language that runs elsewhere.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Site {
    /// The folder of the site.
    pub root: PathBuf,
    /// The application: `"module:callable"`, `"module:factory()"`, `"wsgi.py"`,
    /// `"wsgi/application"` or `"production.ini"`. Without it, it is looked for: what `Procfile` or
    /// `gunicorn.conf.py` says, then `app.py`, `wsgi.py`, `asgi.py`, `main.py`, `manage.py`, a
    /// package with `create_app()`, a `PasteDeploy` file; `perijove check --explain` tells what
    /// was found and why.
    pub app: Option<String>,
    /// How the application is called: `auto` or `wsgi`.
    pub interface: Interface,
    /// Its Python: a virtual environment, a conda prefix, any `CPython` 3.10+. Without it `.venv` or
    /// `venv` in the folder, `$VIRTUAL_ENV`, or `python3`.
    pub python: Option<PathBuf>,
    /// The driver that starts its workers.
    pub server: Driver,
    /// Further arguments of that server, as its own command line takes them.
    pub server_arguments: Vec<String>,
    /// Number of worker processes. Without it as many as there are processors.
    pub workers: Option<usize>,
    /// Threads of each worker, each of which carries one request at a time.
    pub threads: usize,
    /// Instead of an application: where the site runs, such as `"http://127.0.0.1:9000"` or
    /// `"unix:/run/site.sock"`.
    pub upstream: Option<String>,
    /// A path that answers 2xx when a worker is well: a new worker takes requests from then on.
    pub health: Option<String>,
    /// Files that are served before the application is asked; of several, those with the longest
    /// path. Without it what lies below `public`, when there is such a folder, at `/`.
    #[serde(rename = "static")]
    pub files: Option<Vec<Static>>,
    /// The only hosts whose requests are answered, such as `"example.com"` or `"*.example.com"`,
    /// beside those of routes; others get 421. Without it all are.
    pub hosts: Option<Vec<String>>,
    /// Folder of `404.html` and the like, shown instead of ours. Without it `errors`, when there is
    /// such a folder.
    pub error_pages: Option<PathBuf>,
    /// Bytes of a request's body.
    pub body_limit: Size,
    /// Bodies up to this size are received as a whole before a worker is entered, so that a slow
    /// client holds none: in memory, or in a file without a name in `$TMPDIR`. Longer ones are passed
    /// on as they come. Without it as long as `body-limit` for WSGI, `0` for ASGI and for programs
    /// elsewhere.
    pub body_buffer: Option<Size>,
    /// How long a request waits in line for a free worker.
    pub wait: Period,
    /// How many requests may wait in line; more are answered with 503 at once.
    pub queue: usize,
    /// For a connection to a worker, or to a program elsewhere, to be made.
    pub connect_time: Period,
    /// How long an answer may be silent.
    pub response_time: Period,
    /// How long the application may take to be loaded.
    pub start_time: Period,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            root: PathBuf::from("."),
            app: None,
            interface: Interface::Auto,
            python: None,
            server: Driver::Native,
            server_arguments: Vec::new(),
            workers: None,
            threads: 4,
            upstream: None,
            health: None,
            files: None,
            hosts: None,
            error_pages: None,
            body_limit: Size(100 << 20),
            body_buffer: None,
            wait: Period::seconds(30),
            queue: 4096,
            connect_time: Period::seconds(5),
            response_time: Period::seconds(60),
            start_time: Period::seconds(60),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Interface {
    #[default]
    Auto,
    Wsgi,
    Asgi,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    #[default]
    Native,
    Wsgiref,
    Gevent,
    Gunicorn,
    Uwsgi,
    ModWsgi,
    Uvicorn,
    Command,
}
