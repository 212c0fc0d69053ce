//! The program as its users meet it: real processes, real sockets, real files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a test fails by panicking, also in what it calls, and need not be quick"
)]

mod applications;
mod commands;
mod configs;
mod control;
mod corpus;
mod deploys;
mod documents;
mod edge;
mod hooks;
mod house;
mod limits;
mod lingering;
mod logs;
mod metrics;
mod notebooks;
mod reference;
mod reloading;
mod services;
mod serving;
mod site;
mod slow_clients;
mod starting;
mod stopping;
mod survival;
mod tls;
mod traces;
mod upgrading;
mod upstream;
mod watching;
mod workers;
