//! What a notebook is started within: account, limits, sandbox, and the command that comes of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use perijove_process::{Confinement, Limits, group::Group};
use sha2::{Digest as _, Sha256};

use super::{SpawnError, Start, temporary_path};
use crate::{
    config::{Isolation, Plan},
    isolation::{Keeper, Needs, Wrapped, keeper, tenant},
    record::Launch,
    user::{User, hex},
};

/// What is needed to find that out, for a thread that may block.
pub(super) struct Kept {
    plan: Plan,
    user: User,
    launch: Launch,
    /// Ours.
    state: PathBuf,
}

/// What comes of it.
pub(super) struct Bounds {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Variables beside those of every notebook.
    pub(super) environment: BTreeMap<String, String>,
    pub(super) confinement: Confinement,
    pub(super) group: Option<Group>,
    /// Whether another process runs the server.
    pub(super) is_wrapped: bool,
}

impl Kept {
    pub(super) fn of(start: &Start<'_>) -> Self {
        let (plan, user) = (start.plan.clone(), start.notebook.user.clone());
        Self { plan, user, launch: start.launch.clone(), state: start.place.state.clone() }
    }

    /// It blocks.
    pub(super) fn bounds(&self) -> Result<Bounds, SpawnError> {
        let Self { plan, user, launch, state } = self;
        let isolation = &plan.isolation;
        let tenant = tenant(isolation, user, &launch.folder)?;
        let mut bounds = Bounds {
            program: plan.python.clone(),
            arguments: vec![plan.launcher().display().to_string()],
            environment: BTreeMap::new(),
            confinement: Confinement {
                limits: Limits { open_files: isolation.limits.files, ..Limits::default() },
                ..Confinement::default()
            },
            group: isolation.wants_group().then(|| group(isolation, state)),
            is_wrapped: false,
        };
        if let Some(tenant) = &tenant {
            for name in ["USER", "LOGNAME"] {
                bounds.environment.insert(name.to_owned(), tenant.name.clone());
            }
        }
        let temporary = temporary_path(&launch.folder);
        let needs = Needs {
            plan,
            folder: launch.folder.clone(),
            share: launch.shared(),
            is_root: tenant.is_none() && rustix::process::geteuid().is_root(),
        };
        match keeper(isolation)? {
            Keeper::Nobody => {}
            Keeper::Landlock(_) => {
                bounds.confinement.sandbox = Some(needs.sandbox());
                let temporary = temporary.display().to_string();
                bounds.environment.insert("TMPDIR".to_owned(), temporary);
            }
            Keeper::Bubblewrap => {
                let inner = (bounds.program.as_path(), bounds.arguments.as_slice());
                let sandbox = needs.sandbox();
                let wrapped = Wrapped::new(inner, &sandbox, &temporary, isolation.network);
                (bounds.program, bounds.arguments) = (wrapped.program, wrapped.arguments);
                bounds.is_wrapped = true;
            }
        }
        bounds.confinement.account = tenant.map(|tenant| tenant.account);
        Ok(bounds)
    }
}

/// Named for the folder of the notebook's state, which no other perijove of this machine has.
fn group(isolation: &Isolation, state: &Path) -> Group {
    let mut name = hex(&Sha256::digest(state.as_os_str().as_encoded_bytes()));
    name.truncate(16);
    let limits = isolation.limits;
    Group {
        name: format!("perijove-{name}"),
        memory: limits.memory,
        cpu: limits.cpu,
        processes: limits.processes,
    }
}
