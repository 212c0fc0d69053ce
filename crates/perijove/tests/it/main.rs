//! The program as its users meet it: real processes, real sockets, real files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, also in what it calls"
)]

mod configs;
mod corpus;
