//! A program that is a guardian under its hidden command and nothing else, for tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    perijove_process::guardian::run()
}
