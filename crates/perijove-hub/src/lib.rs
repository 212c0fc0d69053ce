//! People and their notebook servers: who, where, how long.
//!
//! The hub never carries a notebook's traffic: it edits the routes of the gateway.

mod api;
mod audit;
mod authority;
mod clock;
mod config;
mod context;
mod core;
mod crossing;
mod domain;
mod entrance;
mod guard;
mod hub;
mod idle;
mod isolation;
mod launch;
mod login;
mod notebook;
mod origin;
mod pages;
mod pending;
mod phase;
mod record;
mod register;
mod seal;
mod seats;
mod server;
mod session;
mod site;
mod site_cookies;
mod spawn;
mod spent;
mod store;
mod ticket;
mod user;
mod visits;
mod vouch;

pub use config::{
    Allowance, Config, Embed, Isolation, Lapse, Mistake, Plan, Sandboxing, Setting, Surroundings,
    VouchedBy,
};
pub use domain::Domain;
pub use hub::{Hub, OpenError, ReconfigureError, StateLock};
pub use isolation::{Keeper, weaknesses};
pub use notebook::{Name, Notebook, WrongName};
pub use register::{LEAST as LEAST_PASSWORD, Password, PasswordError, Register, RegisterError};
pub use user::{NameError, User};
