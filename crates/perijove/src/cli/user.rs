//! `perijove user …`: who may sign in where perijove itself says who may pass.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use perijove_hub::{LEAST_PASSWORD, NameError, Register, RegisterError, User};

use super::{ConfigArguments, surroundings};
use crate::{Failure, Kind, config::plan, terminal::harmless};

mod typed;

/// Users who sign in to perijove itself (`authority = "login"`)
///
/// A program that runs takes each change over by itself.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a user
    Add(PasswordArguments),
    /// Take a user off: all their sessions end
    Remove(NameArguments),
    /// Give a user another password: all their sessions end
    Passwd(PasswordArguments),
    /// List the users
    List(ListArguments),
}

#[derive(Args, Debug)]
pub(super) struct PasswordArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// The user
    #[arg(value_name = "NAME")]
    name: String,
    /// Read the password from standard input, one line, instead of asking for it
    #[arg(long)]
    stdin: bool,
}

#[derive(Args, Debug)]
pub(super) struct NameArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// The user
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Args, Debug)]
pub(super) struct ListArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Add(arguments) => add(arguments),
        Command::Remove(arguments) => remove(arguments),
        Command::Passwd(arguments) => change_password(arguments),
        Command::List(arguments) => list(arguments),
    }
}

fn add(arguments: PasswordArguments) -> Result<ExitCode, Failure> {
    let user = user(&arguments.name)?;
    let register = open(arguments.config)?;
    // Told before anybody types a password for nothing.
    if register.users().contains(&user) {
        return Err(failure(RegisterError::Taken(user)));
    }
    let password = typed::password(&user, arguments.stdin)?;
    register.add(&user, &password).map_err(failure)?;
    told(&format!("added {user}"))
}

fn change_password(arguments: PasswordArguments) -> Result<ExitCode, Failure> {
    let user = user(&arguments.name)?;
    let register = open(arguments.config)?;
    if !register.users().contains(&user) {
        return Err(failure(RegisterError::Unknown(user)));
    }
    let password = typed::password(&user, arguments.stdin)?;
    register.change_password(&user, &password).map_err(failure)?;
    told(&format!("changed the password of {user}; their sessions end"))
}

fn remove(arguments: NameArguments) -> Result<ExitCode, Failure> {
    let user = user(&arguments.name)?;
    open(arguments.config)?.remove(&user).map_err(failure)?;
    told(&format!("removed {user}; their sessions end, their folder and a running notebook stay"))
}

fn list(arguments: ListArguments) -> Result<ExitCode, Failure> {
    let users = open(arguments.config)?.users();
    if arguments.json {
        let names: Vec<&str> = users.iter().map(User::name).collect();
        return super::print(&format!("{:#}\n", serde_json::json!(names)));
    }
    let lines: Vec<_> = users.iter().map(|user| format!("{}\n", harmless(user.name()))).collect();
    super::print(&lines.concat())
}

fn told(what: &str) -> Result<ExitCode, Failure> {
    super::print(&format!("{}\n", harmless(what)))
}

fn user(name: &str) -> Result<User, Failure> {
    User::new(name).map_err(|error: NameError| Failure::new(Kind::Usage, error))
}

/// The users file of the site that the configuration means, also while nothing runs.
fn open(config: ConfigArguments) -> Result<Register, Failure> {
    let (environment, folder) = surroundings()?;
    let folders = plan::folders_of(&config.flags(), &environment, &folder);
    folders.make_state().map_err(|error| Failure::new(Kind::Unavailable, error))?;
    Register::open(&folders.state).map_err(failure)
}

fn failure(error: RegisterError) -> Failure {
    let (kind, hint) = match &error {
        RegisterError::Taken(_) => (Kind::Usage, "`perijove user passwd` changes a password"),
        RegisterError::Unknown(_) => (Kind::Usage, "`perijove user list` lists all"),
        RegisterError::Password(_) => {
            let hint = format!("{LEAST_PASSWORD} characters or more; a few words are easy to keep");
            return Failure::new(Kind::Usage, error).hint(hint);
        }
        RegisterError::Name(_) => (Kind::Usage, ""),
        RegisterError::Open(_) => {
            (Kind::Unavailable, "`chmod 600` it, and see that it is this account's")
        }
        RegisterError::Line { .. } => (Kind::Unavailable, "take the line out, or mend it"),
        RegisterError::Io { .. } => {
            (Kind::Unavailable, "run this as the account that perijove runs as")
        }
        RegisterError::NoRandomness => (Kind::Busy, "try again"),
    };
    let failure = Failure::new(kind, error);
    if hint.is_empty() { failure } else { failure.hint(hint) }
}
