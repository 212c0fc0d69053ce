//! Opening: the lock, the folders, what must be there.

use std::{os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use perijove_gateway::{Routes, UpstreamSettings, Upstreams};

use super::{Hub, OpenError, StateLock};
use crate::{Config, Plan, Surroundings};

fn plan(folder: &Path) -> Plan {
    let around = Surroundings {
        is_alone: false,
        hosts: Vec::new(),
        has_site: true,
        base: folder.into(),
        state_folder: folder.join("state"),
        runtime_folder: folder.join("run"),
        python: Some("/bin/sh".into()),
        package: folder.into(),
        guardian: "/bin/true".into(),
    };
    Config::default().resolve(&around).unwrap()
}

async fn open(plan: Plan) -> Result<Hub, OpenError> {
    let site: Arc<Upstreams> = Upstreams::new(UpstreamSettings::default());
    Hub::open(plan, Routes::new(), Some(site)).await
}

#[tokio::test]
async fn one_hub_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(plan(folder.path())).await.unwrap();
    let second = open(plan(folder.path())).await.unwrap_err();
    let own = std::process::id().to_string();
    assert!(matches!(&second, OpenError::Locked { process, .. } if *process == own), "{second}");
    drop(first);
    open(plan(folder.path())).await.unwrap();
}

#[tokio::test]
async fn what_holds_secrets_is_ours_alone() {
    let folder = tempfile::tempdir().unwrap();
    let _hub = open(plan(folder.path())).await.unwrap();
    for path in ["state", "state/notebooks", "run/notebook"] {
        let mode = std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{path}");
    }
}

#[tokio::test]
async fn a_link_in_the_place_of_our_folder_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("run")).unwrap();
    std::os::unix::fs::symlink("/tmp", folder.path().join("run/notebook")).unwrap();
    let error = open(plan(folder.path())).await.unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[tokio::test]
async fn what_cannot_work_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let without = Hub::open(plan(folder.path()), Routes::new(), None).await.unwrap_err();
    assert!(matches!(without, OpenError::NoAuthority));
    let mut long = plan(folder.path());
    long.runtime_folder = folder.path().join("x".repeat(100));
    let error = open(long).await.unwrap_err();
    assert!(matches!(error, OpenError::LongName { .. }), "{error}");
}

#[tokio::test]
async fn a_changed_plan_is_taken_over_unless_it_moves_everything() {
    let folder = tempfile::tempdir().unwrap();
    let hub = open(plan(folder.path())).await.unwrap();
    let mut changed = plan(folder.path());
    changed.max_notebooks = 1;
    hub.reconfigure(changed.clone()).unwrap();
    changed.path = "/shells/".to_owned();
    assert_eq!(hub.reconfigure(changed).unwrap_err().key, "notebook.path");
}

#[tokio::test]
async fn a_hub_follows_one_that_was_closed_and_no_third_comes_in_between() {
    let folder = tempfile::tempdir().unwrap();
    let site = || Some(Upstreams::new(UpstreamSettings::default()));
    let first = open(plan(folder.path())).await.unwrap();
    let lock = StateLock::passed_on(first.share_lock().unwrap().descriptor().unwrap());
    assert!(first.close().await);
    first.leave();
    assert!(first.share_lock().is_err(), "it is the other's alone");
    drop(first);
    let third = open(plan(folder.path())).await.unwrap_err();
    assert!(matches!(third, OpenError::Locked { .. }), "{third}");
    let second = Hub::follow(plan(folder.path()), Routes::new(), site(), lock).await.unwrap();
    drop(second);
    open(plan(folder.path())).await.unwrap();
}
