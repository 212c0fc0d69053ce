//! What the account that the site runs as may reach of ours, when perijove runs as root.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
};

use super::failing;
use crate::{config::Plan, control::secret_file, failure::Failure};

/// Lets the site's processes speak to the control socket, as they do where they run as this account:
/// the socket and its secret are theirs, and the folder lets them pass without showing what is in it.
pub(super) fn let_in(plan: &Plan) -> Result<(), Failure> {
    let Some(account) = &plan.site.account else { return Ok(()) };
    let socket = plan.folders.control_socket();
    let give = || -> io::Result<()> {
        let passage = fs::Permissions::from_mode(0o711);
        fs::set_permissions(&plan.folders.runtime, passage)?;
        for path in [&socket, &secret_file(&socket)] {
            chown(path, Some(account.uid), Some(account.gid))?;
        }
        Ok(())
    };
    give().map_err(|error| failing::file(&socket, error))
}
