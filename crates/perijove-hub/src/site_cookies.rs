//! What the site's cookies are called, known again after a restart.
//!
//! A notebook may not set a cookie that the site has set, and is not sent it. Browsers stay signed
//! in for weeks: a perijove that was started anew must not have to wait for the next one who signs
//! in to learn what that cookie is called.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use perijove_gateway::CookieNames;

use crate::spawn::replace;

/// One name a line: a name has no line end in it.
const FILE: &str = "site-cookies";
/// More than all the names that are ever noted.
const LONGEST: u64 = 1 << 20;
/// How often it is looked whether there are new ones.
const PAUSE: Duration = Duration::from_millis(500);

/// Notes the names that an earlier perijove has seen. It blocks.
pub(crate) fn recall(state_folder: &Path, names: &CookieNames) {
    let path = state_folder.join(FILE);
    let is_usable = fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() < LONGEST);
    let Some(text) = is_usable.then(|| fs::read(&path).ok()).flatten() else { return };
    for name in text.split(|byte| *byte == b'\n').filter(|name| !name.is_empty()) {
        names.record(name);
    }
}

/// Keeps what is seen, for ever.
pub(crate) async fn keep(state_folder: PathBuf, names: Arc<CookieNames>) {
    let mut kept = names.all();
    let mut has_failed = false;
    loop {
        tokio::time::sleep(PAUSE).await;
        let now = names.all();
        if Arc::ptr_eq(&now, &kept) {
            continue;
        }
        let path = state_folder.join(FILE);
        let text: Vec<u8> = now.iter().flat_map(|name| [name, b"\n".as_slice()].concat()).collect();
        let written = tokio::task::spawn_blocking(move || replace(&path, &text)).await;
        match written {
            Ok(Ok(())) => (kept, has_failed) = (now, false),
            // Said once: a disk that is full is told of often enough.
            Ok(Err(error)) if !has_failed => {
                has_failed = true;
                tracing::warn!(%error, "the names of the site's cookies are not saved yet");
            }
            _ => {}
        }
    }
}
