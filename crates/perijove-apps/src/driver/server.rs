//! Whether the server of a driver is there, found out before anything is switched; one that is
//! missing is installed when the site wants it.

mod install;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use perijove_process::{CaptureError, Command, How};
use serde::Deserialize;
use thiserror::Error;
use tokio_util::task::TaskTracker;

use super::{apache::account, command, start_up::in_the_site};
use crate::{Driver, Plan};

/// A cold disk may be slow.
const ANSWER: Duration = Duration::from_secs(30);

/// What a driver needs in the interpreter's environment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    /// The module that is imported.
    module: &'static str,
    /// The distribution, by its name.
    distribution: &'static str,
    /// What is installed when it is missing.
    requirement: &'static str,
    /// A program that comes with it and is started.
    program: Option<&'static str>,
}

/// The versions that are installed, and tested. What a site has already is left as it is.
const GEVENT: Server = Server {
    module: "gevent.pywsgi",
    distribution: "gevent",
    requirement: "gevent==26.9.0",
    program: None,
};
const GUNICORN: Server = Server {
    module: "gunicorn.app.wsgiapp",
    distribution: "gunicorn",
    requirement: "gunicorn==27.0.1",
    program: None,
};
/// Its gevent workers need more than gunicorn and gevent.
const GUNICORN_GEVENT: &str = "gunicorn[gevent]==27.0.1";
const UWSGI: Server = Server {
    module: "uwsgidecorators",
    distribution: "uWSGI",
    requirement: "uWSGI==2.0.31",
    program: Some("uwsgi"),
};
const MOD_WSGI: Server = Server {
    module: "mod_wsgi.express",
    distribution: "mod_wsgi",
    requirement: "mod_wsgi==6.1.1",
    program: Some("mod_wsgi-express"),
};
const UVICORN: Server = Server {
    module: "uvicorn",
    distribution: "uvicorn",
    requirement: "uvicorn[standard]==0.54.0",
    program: None,
};

impl Server {
    fn of(driver: &Driver) -> Option<Self> {
        match driver {
            Driver::Native | Driver::Wsgiref | Driver::Command(_) => None,
            Driver::Gevent => Some(GEVENT),
            Driver::Gunicorn => Some(GUNICORN),
            Driver::Uwsgi => Some(UWSGI),
            Driver::ModWsgi => Some(MOD_WSGI),
            Driver::Uvicorn => Some(UVICORN),
        }
    }

    fn requirement(self, plan: &Plan) -> &'static str {
        let mut arguments = plan.server_arguments.iter();
        if plan.driver == Driver::Gunicorn && arguments.any(|word| word.contains("gevent")) {
            GUNICORN_GEVENT
        } else {
            self.requirement
        }
    }
}

/// Why the server of a driver cannot run.
#[derive(Debug, Error)]
pub enum ServerError {
    #[error("{} does not have {}", python.display(), .requirement.split("==").next().unwrap_or_default())]
    Missing { python: PathBuf, requirement: &'static str },
    #[error("could not ask {} what it has", python.display())]
    Ask { python: PathBuf, source: CaptureError },
    #[error("{requirement} could not be installed into the environment of {}: {why}", python.display())]
    Install { python: PathBuf, requirement: &'static str, why: String, last_lines: Vec<String> },
    #[error("the account {account}, which Apache runs the application as, cannot use {}: {said}", what.display())]
    Unreadable { account: String, what: PathBuf, said: String },
    #[error("mod_wsgi is there, and the Apache that it was made for is not")]
    NoApache,
    #[error("there is no program {name}")]
    NoProgram { name: String },
}

impl ServerError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { python, requirement } => format!(
                "install it: `{} -m pip install '{requirement}'`, or let perijove do it with \
                 `site.install = true`",
                python.display()
            ),
            Self::Ask { .. } => "does that Python work?".to_owned(),
            Self::Install { .. } => {
                "its last lines say why; it is tried again at the next start".to_owned()
            }
            Self::Unreadable { .. } => {
                "give that account the right to read it (a folder above may be closed to it), use \
                 an interpreter elsewhere, or name another account in `site.server-arguments`: \
                 [\"--user\", …, \"--group\", …]"
                    .to_owned()
            }
            Self::NoApache => "install it again: on Debian and Ubuntu, the package apache2".into(),
            Self::NoProgram { .. } => {
                "install it into the site's environment, or write its whole path in `site.command`"
                    .to_owned()
            }
        }
    }

    /// What an installation printed last, oldest first.
    pub(crate) fn last_lines(&self) -> &[String] {
        match self {
            Self::Install { last_lines, .. } => last_lines,
            _ => &[],
        }
    }
}

/// Makes sure that the server of a plan's driver can be started.
pub(crate) async fn prepare(plan: &Plan, tracker: &TaskTracker) -> Result<(), ServerError> {
    if let Driver::Command(line) = &plan.driver {
        return match command::program(plan, line) {
            Ok(_) => Ok(()),
            Err(name) => Err(ServerError::NoProgram { name }),
        };
    }
    let Some(server) = Server::of(&plan.driver) else { return Ok(()) };
    if !is_there(plan, server).await? {
        let (python, requirement) = (plan.python.clone(), server.requirement(plan));
        if !plan.install {
            return Err(ServerError::Missing { python, requirement });
        }
        install::install(plan, server, requirement, tracker).await?;
    }
    if plan.driver == Driver::ModWsgi {
        is_apache_there(plan).await?;
        is_readable(plan).await?;
    }
    Ok(())
}

/// The program that an environment keeps beside its interpreter.
pub(super) fn beside(python: &Path, program: &str) -> PathBuf {
    python.parent().unwrap_or(Path::new("/")).join(program)
}

/// What the interpreter is asked. An installation that was cut off has no metadata, or no module.
const QUESTION: &str = "\
import importlib.metadata, importlib.util, json, sys
module, distribution = sys.argv[1:]
try:
    importlib.metadata.version(distribution)
    found = importlib.util.find_spec(module) is not None
except ImportError:
    found = False
print(json.dumps({'found': found}))
";

#[derive(Deserialize)]
struct Answer {
    found: bool,
}

async fn is_there(plan: &Plan, server: Server) -> Result<bool, ServerError> {
    let arguments = ["-c", QUESTION, server.module, server.distribution];
    let answer = ask(plan, arguments.map(OsString::from)).await?;
    let found = serde_json::from_str(answer.1.trim()).is_ok_and(|answer: Answer| answer.found);
    let has_program = server.program.is_none_or(|program| beside(&plan.python, program).is_file());
    Ok(found && has_program)
}

/// Runs the interpreter as workers would, but for the folder: nothing of the site is in the way.
async fn ask(
    plan: &Plan,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(How, String, String), ServerError> {
    let mut command = in_the_site(plan, &plan.python).arguments(arguments);
    command.folder = Some("/".into());
    command.account = None;
    capture(plan, command).await
}

async fn capture(plan: &Plan, command: Command) -> Result<(How, String, String), ServerError> {
    let answer = command
        .capture(ANSWER)
        .await
        .map_err(|source| ServerError::Ask { python: plan.python.clone(), source })?;
    Ok((answer.how, answer.stdout, answer.stderr))
}

const APACHE: &str = "\
import os, sys
from mod_wsgi.express.apxs_config import HTTPD
sys.exit(not os.path.exists(HTTPD))
";

async fn is_apache_there(plan: &Plan) -> Result<(), ServerError> {
    let (how, ..) = ask(plan, ["-c", APACHE].map(OsString::from)).await?;
    if how == How::Exited(0) { Ok(()) } else { Err(ServerError::NoApache) }
}

const READ: &str = "\
import os, sys
import encodings, json, mod_wsgi.express
open(sys.argv[1]).close()
os.listdir(sys.argv[2])
";

/// Whether the account that Apache will run the application as can use the interpreter, our package
/// and the site. Apache itself would start, and answer every request with 504 after a minute.
async fn is_readable(plan: &Plan) -> Result<(), ServerError> {
    let unusable = |account: &str, what: &Path, said: String| ServerError::Unreadable {
        account: account.to_owned(),
        what: what.to_owned(),
        said,
    };
    let other = account::other(plan)
        .map_err(|error| unusable("", Path::new("/etc/passwd"), error.to_string()))?;
    let Some((name, account)) = other else { return Ok(()) };
    let entry = plan.package.join("worker/entry.py");
    let mut command = in_the_site(plan, &plan.python).arguments(["-c", READ]);
    command.arguments.extend([entry.into(), plan.root.clone().into()]);
    command.folder = Some("/".into());
    command.account = Some(account);
    match capture(plan, command).await {
        Ok((How::Exited(0), ..)) => Ok(()),
        Ok((_, _, said)) => {
            let said = said.lines().next_back().unwrap_or_default().to_owned();
            Err(unusable(&name, &plan.python, said))
        }
        Err(ServerError::Ask { source, .. }) => {
            let cause = std::error::Error::source(&source).map(ToString::to_string);
            Err(unusable(&name, &plan.python, cause.unwrap_or_else(|| source.to_string())))
        }
        Err(error) => Err(error),
    }
}
