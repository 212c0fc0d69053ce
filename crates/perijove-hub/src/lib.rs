//! People and their notebook servers: who, where, how long.
//!
//! The hub never carries a notebook's traffic: it edits the routes of the gateway.

mod config;
mod hub;
mod origin;

pub use config::{Config, Lapse, Mistake, Plan, Setting, Surroundings};
pub use hub::{Hub, OpenError, ReconfigureError};
