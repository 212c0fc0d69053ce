//! The command line. The doc comments here are its help.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, CommandFactory, Parser, Subcommand};

use serde_json::Value;

use crate::{
    config::{
        layers::{Environment, Flags},
        plan,
    },
    control::client::Client,
    failure::{Failure, Kind},
    folders::Folders,
    terminal::harmless,
};

mod check;
mod completions;
mod demo;
mod init;
mod man;
mod notebook;
mod reload;
mod serve;
mod status;
mod stop;
mod table;
mod upgrade;
mod user;

/// How long the running program may take to answer: a reload starts an application.
const PATIENCE: Duration = Duration::from_secs(600);

/// Serves a Python site and everyone's notebooks behind one door
#[derive(Debug, Parser)]
#[command(name = "perijove", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Check(check::Arguments),
    Status(status::Arguments),
    Reload(reload::Arguments),
    Upgrade(upgrade::Arguments),
    Stop(stop::Arguments),
    #[command(subcommand)]
    Notebook(notebook::Command),
    #[command(subcommand)]
    User(user::Command),
    Demo(demo::Arguments),
    Init(init::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Where the configuration is
#[derive(Args, Clone, Debug, Default)]
struct ConfigArguments {
    /// The configuration: a file, or a folder with perijove.toml in it
    ///
    /// Without it, perijove.toml in the current folder, if there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArguments {
    fn flags(self) -> Flags {
        Flags { config: self.config, ..Flags::default() }
    }
}

/// Runs the command that the arguments name.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<ExitCode, Failure> {
    // The small parent of a notebook: not for people, and it must be alone in its process.
    if arguments.get(1).is_some_and(|name| name == "guardian") {
        return Ok(perijove_process::guardian::run());
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return tell(&error),
    };
    match cli.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Reload(arguments) => reload::run(arguments),
        Command::Upgrade(arguments) => upgrade::run(arguments),
        Command::Stop(arguments) => stop::run(arguments),
        Command::Notebook(command) => notebook::run(command),
        Command::User(command) => user::run(command),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}

/// Help and version are no failures; they come by the same way.
fn tell(error: &clap::Error) -> Result<ExitCode, Failure> {
    let is_told = error.print();
    if error.use_stderr() {
        return Ok(ExitCode::from(Kind::Usage as u8));
    }
    is_told.map(|()| ExitCode::SUCCESS).or_else(ignore_broken_pipe)
}

/// The whole command line, for manuals and completions.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

/// The running program of a site.
#[derive(Debug)]
struct Running {
    folders: Folders,
    client: Client,
}

impl Running {
    /// Finds it by the same configuration that it was started with, right or broken.
    fn find(config: ConfigArguments) -> Result<Self, Failure> {
        let (environment, folder) = surroundings()?;
        let folders = plan::folders_of(&config.flags(), &environment, &folder);
        let client = Client::new(folders.control_socket(), PATIENCE);
        Ok(Self { folders, client })
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        Ok(self.client.ask(method, path, body)?)
    }
}

impl Running {
    /// Wishes what is answered step by step, tells each, and returns the last line.
    fn follow(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        Ok(self.client.follow("POST", path, body, tell_step)?)
    }
}

/// Tells a step on standard error: standard output is for the outcome.
fn tell_step(line: &Value) {
    if let Some(step) = line.get("step").and_then(Value::as_str) {
        // Nobody is left to tell when standard error is closed.
        drop(writeln!(io::stderr(), "{}", harmless(step)));
    }
}

/// The environment and the current folder, on which every command that reads the configuration
/// stands.
fn surroundings() -> Result<(Environment, PathBuf), Failure> {
    let folder = std::env::current_dir().map_err(|error| {
        Failure::new(Kind::Unavailable, error).hint("the current folder is gone: change to another")
    })?;
    let environment = Environment::of_process();
    let folder = as_entered(environment.get("PWD").map(Path::new), folder);
    Ok((environment, folder))
}

/// The current folder by the name that it was entered with, as shells tell: where that leads through
/// a link to the version in use, a reload follows the link to the next one.
fn as_entered(told: Option<&Path>, folder: PathBuf) -> PathBuf {
    let is_same =
        |told: &&Path| told.is_absolute() && told.canonicalize().ok() == folder.canonicalize().ok();
    match told.filter(is_same) {
        Some(told) => told.to_owned(),
        None => folder,
    }
}

/// Writes data to standard output. A reader that went away wanted no more of it.
fn print(text: &str) -> Result<ExitCode, Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => ignore_broken_pipe(error),
    }
}

/// Says on standard error what works and is still not good.
fn warn(what: &str) {
    // Nobody may be listening.
    writeln!(io::stderr().lock(), "warning: {what}").ok();
}

fn ignore_broken_pipe(error: io::Error) -> Result<ExitCode, Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        _ => Err(Failure::new(Kind::Other, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_current_folder_keeps_the_name_it_was_entered_with() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("1"), folder.path().join("current"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let check = |told: Option<&Path>, expected: &Path| {
            assert_eq!(super::as_entered(told, real.clone()), expected, "{told:?}");
        };
        check(Some(&link), &link);
        check(Some(&real), &real);
        check(None, &real);
        check(Some(Path::new("current")), &real);
        check(Some(folder.path()), &real);
        check(Some(Path::new("/nowhere")), &real);
    }

    #[test]
    fn the_definition_holds_together() {
        super::definition().debug_assert();
    }
}
