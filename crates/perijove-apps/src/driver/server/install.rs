//! Installs a server into the environment of the site's interpreter, once at a time.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use perijove_process::{Child, Command, How, ParentDeath};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::{Server, ServerError, beside, in_the_site, is_there};
use crate::Plan;

/// `uWSGI` and `mod_wsgi` are compiled, which takes minutes on a small machine.
const LONGEST: Duration = Duration::from_secs(900);
/// Between two looks at a lock that somebody else holds.
const PAUSE: Duration = Duration::from_millis(200);
/// What a stopped installer may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Installs what is missing; what it prints goes to the log. Nothing is noted of a failure, so that
/// the next start tries again.
pub(super) async fn install(
    plan: &Plan,
    server: Server,
    requirement: &'static str,
    tracker: &TaskTracker,
) -> Result<(), ServerError> {
    let failed = |why: String, last_lines| ServerError::Install {
        python: plan.python.clone(),
        requirement,
        why,
        last_lines,
    };
    let _lock = lock(&plan.python)
        .await
        .map_err(|error| failed(format!("its folder cannot be locked: {error}"), Vec::new()))?;
    // Whoever held the lock may have installed it.
    if is_there(plan, server).await? {
        return Ok(());
    }
    let command = installer(plan, requirement).await.map_err(|why| failed(why, Vec::new()))?;
    tracing::info!(requirement, python = %plan.python.display(), "installing");
    let child = Child::start(command, "install", tracker)
        .map_err(|error| failed(error.to_string(), Vec::new()))?;
    let ending = tokio::select! {
        ending = child.ended() => ending,
        () = sleep(LONGEST) => {
            child.terminate(GRACE);
            child.ended().await;
            let why = format!("it was not done after {} minutes", LONGEST.as_secs() / 60);
            return Err(failed(why, child.output().last_lines()));
        }
    };
    if ending.how != How::Exited(0) {
        return Err(failed(ending.how.to_string(), ending.last_lines));
    }
    if !is_there(plan, server).await? {
        return Err(failed("it is not there afterwards".to_owned(), ending.last_lines));
    }
    tracing::info!(requirement, "installed");
    Ok(())
}

/// `pip` of the interpreter, or `uv` where its environment has none.
async fn installer(plan: &Plan, requirement: &str) -> Result<Command, String> {
    let mut has_pip = in_the_site(plan, &plan.python).arguments(["-m", "pip", "--version"]);
    has_pip.folder = Some("/".into());
    has_pip.account = None;
    let has_pip = has_pip.capture(super::ANSWER).await;
    let mut command = if has_pip.is_ok_and(|answer| answer.how == How::Exited(0)) {
        let arguments = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check"];
        in_the_site(plan, &plan.python).arguments(arguments)
    } else {
        let uv = uv(plan).ok_or("its environment has no pip, and there is no uv")?;
        in_the_site(plan, &uv).arguments(["pip", "install", "--python"]).arguments([&plan.python])
    };
    command.arguments.push(requirement.into());
    command.folder = Some("/".into());
    // The environment is ours to write, not the workers'.
    command.account = None;
    command.parent_death = ParentDeath::Kills;
    Ok(command)
}

fn uv(plan: &Plan) -> Option<PathBuf> {
    let path = plan.environment.get(std::ffi::OsStr::new("PATH"));
    let folders = path.map(std::env::split_paths).into_iter().flatten();
    let near = beside(&plan.python, "uv");
    std::iter::once(near)
        .chain(folders.map(|folder| folder.join("uv")))
        .find(|path| path.is_absolute() && path.is_file())
}

/// Waits for the lock of an environment; it is let go with the file.
async fn lock(python: &Path) -> io::Result<File> {
    let home = python.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let mut options = OpenOptions::new();
    let options = options.create(true).append(true);
    let file = options.open(home.join(".perijove-install.lock"))?;
    let deadline = Instant::now() + LONGEST;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "somebody else installs"));
            }
            Err(TryLockError::WouldBlock) => sleep(PAUSE).await,
        }
    }
}
