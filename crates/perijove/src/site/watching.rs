//! Files of a site that is being developed: looked at again and again, until some have changed.
//!
//! Nothing tells this program of changes in time on every file system (networks, containers), so it
//! looks; a few thousand files take milliseconds. What a site writes itself should not count: only
//! names that code, templates and settings have do.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{
        Plan,
        plan::{RouteTarget, SiteTarget},
    },
    control::Intent,
};

const LOOK: Duration = Duration::from_millis(300);
/// Several files that are saved at once are one change.
const SETTLE: Duration = Duration::from_millis(100);
/// A folder that never settles is taken as it is after so many looks.
const MOST_LOOKS: usize = 20;
const MOST_FILES: usize = 20_000;
const MOST_DEPTH: usize = 20;

const SOURCES: [&str; 15] = [
    "cfg", "conf", "env", "htm", "html", "ini", "j2", "jinja", "jinja2", "mako", "pt", "py",
    "toml", "yaml", "yml",
];

/// What is watched, and how it was before it was loaded.
#[derive(Clone, Debug)]
pub(super) struct Baseline {
    watched: Watched,
    sum: u64,
}

impl Baseline {
    /// None when the site is not being developed. Looks at the files: to be asked before they are
    /// loaded, so that no change is missed.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let watched = Watched::of(plan)?;
        Some(Self { sum: watched.look(), watched })
    }
}

/// What is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Watched {
    files: Vec<PathBuf>,
    roots: BTreeSet<PathBuf>,
    left_out: Vec<PathBuf>,
}

impl Watched {
    fn of(plan: &Plan) -> Option<Self> {
        if !plan.life.watch {
            return None;
        }
        let of_routes = plan.routes.iter().filter_map(|route| match &route.target {
            RouteTarget::Application(application) => Some(application.root.clone()),
            _ => None,
        });
        let mut roots: BTreeSet<_> = of_routes.collect();
        if matches!(plan.site.target, SiteTarget::Application(_)) {
            roots.insert(plan.site.root.clone());
        }
        let left_out = vec![plan.folders.state.clone(), plan.folders.runtime.clone()];
        Some(Self { files: plan.file.clone().into_iter().collect(), roots, left_out })
    }

    /// Differs when a file has changed, come or gone.
    fn look(&self) -> u64 {
        let mut sum = self.files.iter().fold(0, |sum: u64, file| sum.wrapping_add(digest(file)));
        let mut open: Vec<_> = self.roots.iter().map(|root| (root.clone(), 0)).collect();
        let mut seen = 0;
        while let Some((folder, depth)) = open.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                // Links to folders may lead in circles.
                match entry.file_type() {
                    Ok(kind)
                        if kind.is_dir() && (depth == MOST_DEPTH || self.leaves_out(&path)) => {}
                    Ok(kind) if kind.is_dir() => open.push((path, depth + 1)),
                    _ if is_source(&path) => {
                        seen += 1;
                        sum = sum.wrapping_add(digest(&path));
                    }
                    _ => {}
                }
            }
            if seen > MOST_FILES {
                break;
            }
        }
        sum
    }

    fn leaves_out(&self, folder: &Path) -> bool {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with('.')
            || matches!(&*name, "__pycache__" | "node_modules")
            || self.left_out.iter().any(|other| other == folder)
            || folder.join("pyvenv.cfg").exists()
    }
}

fn is_source(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| SOURCES.contains(&ending))
}

/// Of a file's name, time and length; the sum of several does not depend on their order.
fn digest(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    file.hash(&mut hasher);
    if let Ok(data) = fs::metadata(file) {
        (data.len(), data.modified().ok()).hash(&mut hasher);
    }
    hasher.finish()
}

/// Watches the files of a plan, and of those that are told later.
pub(super) fn follow(
    plan: &Plan,
    intents: &mpsc::Sender<Intent>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> watch::Sender<Option<Baseline>> {
    let (sender, watched) = watch::channel(Baseline::of(plan));
    tracker.spawn(run(watched, intents.clone(), stop.clone()));
    sender
}

/// Asks for a reload when files have changed. What is watched may change meanwhile.
async fn run(
    mut told: watch::Receiver<Option<Baseline>>,
    intents: mpsc::Sender<Intent>,
    stop: CancellationToken,
) {
    let watching = async {
        let mut known: Option<Baseline> = None;
        loop {
            let Some(now) = told.borrow_and_update().clone() else {
                known = None;
                if told.changed().await.is_err() {
                    return;
                }
                continue;
            };
            // The same files have been looked at since.
            let before = known.filter(|known| known.watched == now.watched).unwrap_or(now);
            let mut sum = look(&before.watched).await;
            if sum != before.sum {
                sum = settled(&before.watched, sum).await;
                tracing::info!("files of the site have changed");
                if intents.send(Intent::Reload(None)).await.is_err() {
                    return;
                }
            }
            known = Some(Baseline { sum, ..before });
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = watching => {}
        () = stop.cancelled() => {}
    }
}

async fn look(watched: &Watched) -> u64 {
    let watched = watched.clone();
    // A thread that panics has seen nothing.
    tokio::task::spawn_blocking(move || watched.look()).await.unwrap_or_default()
}

/// Waits until nothing changes any more.
async fn settled(watched: &Watched, mut sum: u64) -> u64 {
    for _ in 0..MOST_LOOKS {
        sleep(SETTLE).await;
        let next = look(watched).await;
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Watched;

    #[test]
    fn what_counts_is_seen_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for below in ["web/deep", "venv/lib", ".git", "__pycache__", "state"] {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        fs::write(root.join("venv/pyvenv.cfg"), "").unwrap();
        std::os::unix::fs::symlink(&root, root.join("web/circle")).unwrap();
        let watched = Watched {
            files: vec![root.join("perijove.toml")],
            roots: [root.clone()].into(),
            left_out: vec![root.join("state")],
        };
        let mut before = watched.look();
        let mut check = |name: &str, text: &str, is_seen: bool| {
            fs::write(root.join(name), text).unwrap();
            let now = watched.look();
            assert_eq!(now != before, is_seen, "{name}");
            before = now;
        };
        check("app.py", "1", true);
        check("app.py", "22", true);
        check("web/deep/page.html", "", true);
        check("perijove.toml", "", true);
        check("data.db", "", false);
        check("venv/lib/module.py", "", false);
        check(".git/config.ini", "", false);
        check("__pycache__/app.py", "", false);
        check("state/settings.json", "", false);
        fs::remove_file(root.join("app.py")).unwrap();
        assert_ne!(watched.look(), before);
    }
}
