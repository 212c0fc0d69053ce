//! Applications with real processes, seen from outside. The worker is a stand-in that greets as
//! the real one does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod life;
mod pythons;
mod site;
