//! Sends browsers that come by plain HTTP to the same place by HTTPS.

use perijove_gateway::{Route, Routes};

/// Fills the routes of listeners that only redirect, once it is known where to: to the first of
/// these addresses that is HTTPS.
pub(super) fn fill(routes: &Routes, addresses: &[String]) {
    let https = addresses.iter().find_map(|address| address.strip_prefix("https://"));
    let port = https.and_then(|address| address.rsplit_once(':')?.1.parse().ok());
    routes.insert(None, "/", Route::to_https(port.unwrap_or(443)));
}
