//! The hub behind a gateway, as a process of its own: started, killed, started again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and finds by the environment what it needs"
)]

mod api_description;
mod asking;
mod authority;
mod client;
mod computes;
mod crowd;
mod disk;
mod idle;
mod interrupted;
mod isolation;
mod jupyter;
mod kernel;
mod life;
mod site;
mod warm;
mod world;
