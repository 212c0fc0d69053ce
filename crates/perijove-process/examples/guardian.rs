//! A guardian and its starter and nothing else, for tests: the program runs the first under a
//! hidden command.

use std::{env, process::ExitCode};

use perijove_process::guardian::{self, Program, Spec};

fn main() -> ExitCode {
    match env::args_os().nth(1) {
        None => guardian::run(),
        Some(word) if word == "--adopt" => guardian::run(),
        Some(spec) => start(&spec.to_string_lossy()),
    }
}

/// Starts a guardian, says so, and waits to be killed.
fn start(spec: &str) -> ExitCode {
    let Ok(spec) = serde_json::from_str::<Spec>(spec) else { return ExitCode::FAILURE };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        let Ok(path) = env::current_exe() else { return ExitCode::FAILURE };
        let program = Program { path, arguments: Vec::new() };
        let Ok(Some(claim)) = guardian::claim(&spec.status) else { return ExitCode::FAILURE };
        let Ok(handle) = guardian::start_with(&program, &spec, Vec::new(), claim).await else {
            return ExitCode::FAILURE;
        };
        let Ok(handle) = serde_json::to_string(&handle) else { return ExitCode::FAILURE };
        #[expect(clippy::print_stdout, reason = "the test reads it")]
        {
            println!("{handle}");
        }
        std::future::pending().await
    })
}
