//! `perijove notebook logs`.

use std::{process::ExitCode, thread, time::Duration};

use clap::Args;

use super::{ConfigArguments, Running, address, last_lines};
use crate::Failure;

#[derive(Args, Debug)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Whose, and which of theirs if it is a named one
    #[arg(value_name = "USER[/NAME]")]
    notebook: String,
    /// Go on with what is written from now on
    #[arg(long)]
    follow: bool,
}

/// How often a followed log is looked at.
const PAUSE: Duration = Duration::from_millis(300);

pub(in crate::cli) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let running = Running::find(arguments.config)?;
    let address = address(&arguments.notebook);
    let mut known = String::new();
    loop {
        let lines = last_lines(&running.ask("GET", &address, None)?);
        let new = beyond(&known, &lines);
        if !new.is_empty() {
            super::super::print(&format!("{new}\n"))?;
        }
        if !arguments.follow {
            return Ok(ExitCode::SUCCESS);
        }
        known = lines;
        thread::sleep(PAUSE);
    }
}

/// What a window onto the end of a log shows now that it did not show before.
fn beyond<'a>(before: &str, now: &'a str) -> &'a str {
    let mut rest = before;
    loop {
        if let Some(new) = now.strip_prefix(rest) {
            return new.trim_start_matches('\n').trim_end_matches('\n');
        }
        match rest.split_once('\n') {
            Some((_, later)) => rest = later,
            None => return now.trim_end_matches('\n'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::beyond;

    #[test]
    fn only_new_lines_are_shown() {
        let check = |before, now, expected: &str| assert_eq!(beyond(before, now), expected);
        check("", "a\nb\n", "a\nb");
        check("a\nb", "a\nb", "");
        check("a\nb", "b\nc", "c");
        check("a\nb", "x\ny", "x\ny");
    }
}
