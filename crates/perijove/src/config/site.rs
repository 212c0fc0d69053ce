//! Settings of the site: its application, its files.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{Addresses, Allow, Auth, Period, Size, Static, UpstreamTls, Words};

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
    /// How the application is called: `auto` (found out when it is loaded), `wsgi` or `asgi`.
    pub interface: Interface,
    /// Its Python: a virtual environment, a conda prefix, any `CPython` 3.10+. Without it `.venv` or
    /// `venv` in the folder, `$VIRTUAL_ENV`, or `python3`.
    pub python: Option<PathBuf>,
    /// The driver that starts its workers. Without it `native`, or `command` where there is a
    /// command.
    pub server: Option<Driver>,
    /// Further arguments of that server, as its own command line takes them.
    pub server_arguments: Vec<String>,
    /// Whether a server that the site's environment lacks is installed into it, in the version that
    /// perijove is tested with.
    pub install: bool,
    /// A program that serves the site, instead of one of the drivers: a list of words, or one text
    /// that is split as a shell does it. It listens at the Unix socket in `{socket}`, else at the
    /// port in `{port}` and `$PORT` of `{host}`; `{python}`, `{app}` and `{root}` stand for what the
    /// other settings say.
    pub command: Option<Words>,
    /// Number of worker processes. Without it as many as there are processors for `native` and
    /// `uvicorn`, two for each and one more for the other servers, fewer where memory is short; one
    /// for a command.
    pub workers: Option<usize>,
    /// What workers are called in `ps` and `top`, such as `perijove: worker 2 of shop`. Without it the
    /// name of the folder.
    pub process_name: Option<String>,
    /// Threads of each worker, each of which carries one request at a time.
    pub threads: usize,
    /// Requests and websockets that one worker of an ASGI application carries at once.
    pub concurrency: usize,
    /// Bytes of a message that a websocket of an ASGI application takes; a longer one closes it.
    pub websocket_message: Size,
    /// Instead of an application: where the site runs, such as `"http://127.0.0.1:9000"`,
    /// `"https://app.example"` or `"unix:/run/site.sock"`; or a list of such places, as for a route.
    pub upstream: Option<Addresses>,
    /// What paths begin with there, where that is not `/`.
    pub upstream_path: Option<String>,
    /// TLS to it, where it is reached by `https://`.
    pub upstream_tls: Option<UpstreamTls>,
    /// What it is told in `Host`: `client`, what the client named (which stands in
    /// `X-Forwarded-Host` in any case); `upstream`, the host of its own address; or a name.
    /// Without it `client`.
    pub upstream_host: Option<String>,
    /// A path that answers 2xx when a worker is well: a new worker takes requests from then on, and
    /// a new version that does not answer does not replace the old one.
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
    /// What is shown instead of an error, by its status: a file (`"errors/503.html"`), or a path of
    /// the site that is asked for it (`"/errors/404"`). Programs that want JSON are not shown it.
    pub error_documents: BTreeMap<String, String>,
    /// Whether error pages and documents also stand for the errors that the application itself
    /// answers.
    pub error_override: bool,
    /// Whether texts are compressed (gzip, br, zstd) for clients that can read it. Where pages show both
    /// a secret and what a request says, their length can tell of the secret (BREACH): then say `false`,
    /// or mask such secrets anew for each answer.
    pub compress: bool,
    /// Header fields that every answer has, unless the application says something else by that
    /// name; one without a value is taken out of every answer.
    pub headers: BTreeMap<String, String>,
    /// Folders whose files the application may name in `X-Sendfile`, to be sent instead of its
    /// answer.
    pub sendfile: Vec<PathBuf>,
    /// Bytes of a request's body.
    pub body_limit: Size,
    /// Bodies up to this size are received as a whole before a worker is entered, so that a slow
    /// client holds none: in memory, or in a file without a name in `$TMPDIR`. Longer ones are passed
    /// on as they come. Without it as long as `body-limit` for WSGI, `0` for ASGI and for programs
    /// elsewhere.
    pub body_buffer: Option<Size>,
    /// Addresses and networks whose clients alone may come, to whatever lies at the site's addresses.
    pub allow_from: Vec<String>,
    /// Addresses and networks whose clients may not come.
    pub deny_from: Vec<String>,
    /// Below these paths clients must show a certificate of `tls.client-ca`.
    pub client_certificate_paths: Vec<String>,
    pub auth: Option<Auth>,
    pub allow: Option<Allow>,
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
    /// How long new workers must stay up before they replace those of the old version.
    pub probation: Period,
    /// How new workers replace those of the old version: `together`, which needs memory for both,
    /// `one-by-one`, or `auto`: together where memory allows.
    pub rollout: Rollout,
    /// How long websockets of a version that was replaced may stay open, in the old workers: never
    /// less than `drain-time`. Their memory is held for as long, of at most four old versions.
    pub websocket_time: Period,
    /// A worker is replaced after so many requests. A new one is always ready before the old one
    /// goes.
    pub max_requests: Option<u64>,
    /// At most so many requests more, by chance, so that workers are not all replaced at once.
    pub max_requests_jitter: u64,
    /// A worker is replaced when it is older than this.
    pub max_age: Option<Period>,
    /// A worker is replaced when it uses more memory than this, with the processes it has started;
    /// what is shared is divided among those who share it.
    pub max_memory: Option<Size>,
    /// A worker is replaced when it has used so much processor time.
    pub max_cpu_time: Option<Period>,
    /// A worker that has had requests is replaced by a fresh one when it has had none for so long.
    pub inactivity_time: Option<Period>,
    /// A native worker in which no Python has run for so long, because code in C keeps the
    /// interpreter's lock, is ended, with its stacks in the log, and started again; 0 is never.
    pub deadlock_time: Period,
    /// A request that has been inside the application for so long has its Python stack in the log,
    /// with its id; so has an event loop that is kept from its next turn for so long. Under ASGI only
    /// the time until the answer begins counts. `0` is never. Native workers only.
    pub request_time: Period,
    /// After so long inside, `perijove.RequestTimeout` is raised where the request is (its task is
    /// cancelled under ASGI), and the client is answered with 504; the worker goes on. `0` is never.
    /// Native workers only.
    pub interrupt_time: Period,
    /// Variables that workers and services have beside those of perijove itself.
    pub environment: BTreeMap<String, String>,
    /// A file of further variables, `NAME=VALUE` in each line, as `.env` files have them. It is
    /// read again by a reload; nobody else should be able to read it.
    pub environment_file: Option<PathBuf>,
    /// The account that workers and services run as, when perijove runs as root.
    pub user: Option<String>,
    /// The group they run as. Without it that of the account.
    pub group: Option<String>,
    /// Which permissions files of workers and services do not get, such as `"027"`. Without it as
    /// perijove itself.
    pub umask: Option<String>,
    /// For development: reload when files of the site change, and show in the browser why a
    /// version cannot be loaded. Never in production: the page shows source code.
    pub watch: bool,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            root: PathBuf::from("."),
            app: None,
            interface: Interface::Auto,
            python: None,
            server: None,
            server_arguments: Vec::new(),
            install: false,
            command: None,
            workers: None,
            process_name: None,
            threads: 4,
            concurrency: 1000,
            websocket_message: Size(16 << 20),
            upstream: None,
            upstream_path: None,
            upstream_tls: None,
            upstream_host: None,
            health: None,
            files: None,
            hosts: None,
            error_pages: None,
            error_documents: BTreeMap::new(),
            error_override: false,
            compress: true,
            headers: BTreeMap::new(),
            sendfile: Vec::new(),
            body_limit: Size(100 << 20),
            body_buffer: None,
            allow_from: Vec::new(),
            deny_from: Vec::new(),
            client_certificate_paths: Vec::new(),
            auth: None,
            allow: None,
            wait: Period::seconds(30),
            queue: 4096,
            connect_time: Period::seconds(5),
            response_time: Period::seconds(60),
            start_time: Period::seconds(60),
            probation: Period(Duration::from_millis(500)),
            rollout: Rollout::Auto,
            websocket_time: Period::seconds(3600),
            max_requests: None,
            max_requests_jitter: 0,
            max_age: None,
            max_memory: None,
            max_cpu_time: None,
            inactivity_time: None,
            deadlock_time: Period::seconds(60),
            request_time: Period::seconds(0),
            interrupt_time: Period::seconds(0),
            environment: BTreeMap::new(),
            environment_file: None,
            user: None,
            group: None,
            umask: None,
            watch: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Rollout {
    #[default]
    Auto,
    Together,
    OneByOne,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Interface {
    #[default]
    Auto,
    Wsgi,
    Asgi,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    Native,
    Wsgiref,
    Gevent,
    Gunicorn,
    Uwsgi,
    ModWsgi,
    Uvicorn,
    Command,
}
