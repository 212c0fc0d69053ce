//! Runs the command line, reports failure, picks the exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    match perijove::run(std::env::args_os()) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
