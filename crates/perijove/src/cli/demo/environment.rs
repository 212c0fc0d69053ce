//! The virtual environment of the demo.

use std::{
    fs,
    io::{IsTerminal, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{Failure, Kind};

/// Makes `.venv` in the folder with what `requirements.txt` names, unless it is there. The list is
/// noted at the end, so that an environment that was cut off or is older is made again.
pub(super) fn make(folder: &Path, python: &Path) -> Result<(), Failure> {
    let venv = folder.join(".venv");
    let list = folder.join("requirements.txt");
    let wanted = fs::read_to_string(&list).map_err(|error| {
        Failure::new(Kind::Unavailable, error).hint(format!("{} is missing", list.display()))
    })?;
    let noted = venv.join("perijove-requirements.txt");
    if fs::read_to_string(&noted).is_ok_and(|noted| noted == wanted) {
        return Ok(());
    }
    let mut command = Command::new(python);
    command.args(["-m", "venv", "--clear"]).arg(&venv);
    step("making a virtual environment", command).map_err(|failure| {
        failure.hint("it needs Python 3.10 or later with venv; name one with --python")
    })?;
    let mut command = Command::new(venv.join("bin/python"));
    command
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--require-hashes", "-r"])
        .arg(&list);
    step("installing the site and JupyterLab (about 200 MB)", command)
        .map_err(|failure| failure.hint("it needs the network, once"))?;
    fs::write(&noted, wanted).map_err(|error| Failure::new(Kind::Other, error))
}

/// Runs a program and shows that it takes its time. Its output is shown when it fails.
fn step(what: &str, mut command: Command) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(Kind::Unavailable, format!("{what} failed\n{why}"));
    let begun = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("{}: {error}", command.get_program().display())))?;
    let waiting = thread::spawn(move || child.wait_with_output());
    let is_terminal = std::io::stderr().is_terminal();
    if !is_terminal {
        say(&format!("{what} …\n"));
    }
    while !waiting.is_finished() {
        if is_terminal {
            say(&format!("\r{what} … {} s", begun.elapsed().as_secs()));
        }
        thread::sleep(Duration::from_millis(100));
    }
    if is_terminal {
        say(&format!("\r{what} … done in {} s\n", begun.elapsed().as_secs()));
    }
    let output = waiting
        .join()
        .map_err(|_| failed("it could not be watched".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(failed(String::from_utf8_lossy(&text).trim_end().to_owned()))
}

fn say(text: &str) {
    // Nobody is left to tell when standard error is closed.
    drop(std::io::stderr().write_all(text.as_bytes()));
}
