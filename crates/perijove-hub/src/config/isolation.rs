//! What notebooks are kept from, as it was written and as it was meant.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de};

use super::{Config, Mistakes, NotebookLimits, Sandboxing, Surroundings, check::absolute};

/// A number of bytes: a whole number, or a text such as `"512M"` or `"2G"`; each step is 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// What notebooks are kept from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    pub sandbox: Sandboxing,
    /// Files and folders that every notebook may read.
    pub share: Vec<PathBuf>,
    pub network: bool,
    pub limits: Allowance,
    /// With `{user}` in it, or not.
    pub run_as: Option<String>,
    /// Accounts of users whose names are none.
    pub accounts: BTreeMap<String, String>,
    pub create_accounts: bool,
    /// The folder of the site: nothing of it can be read unless it is shared.
    pub site: PathBuf,
}

/// What one notebook may use, with all it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpu: Option<u64>,
    pub processes: Option<u64>,
    /// Open files of each process.
    pub files: Option<u64>,
}

impl Isolation {
    /// Whether a limit is set that a control group keeps.
    pub fn wants_group(&self) -> bool {
        let Allowance { memory, cpu, processes, files: _ } = self.limits;
        memory.is_some() || cpu.is_some() || processes.is_some()
    }
}

pub(super) fn check(
    config: &Config,
    around: &Surroundings,
    folder: &Path,
    mistakes: &mut Mistakes,
) -> Isolation {
    let share: Vec<PathBuf> =
        config.share.iter().map(|path| absolute(&around.base, path)).collect();
    for path in &share {
        check_shared(path, &[&around.state_folder, &around.runtime_folder, folder], mistakes);
    }
    let sandbox = config.sandbox.unwrap_or_default();
    if sandbox == Sandboxing::Landlock && perijove_process::landlock().is_none() {
        let hint = "`\"bubblewrap\"` does without; `\"auto\"` takes what there is";
        mistakes.add("sandbox", "this kernel has no Landlock, or it is switched off", Some(hint));
    }
    let network = config.network.unwrap_or(true);
    if !network && !matches!(sandbox, Sandboxing::Bubblewrap | Sandboxing::Auto) {
        let hint = "set `notebook.sandbox = \"bubblewrap\"`";
        mistakes.add("network", "can only be kept from notebooks by bubblewrap", Some(hint));
    }
    check_accounts(config, mistakes);
    Isolation {
        sandbox,
        share,
        network,
        limits: allowance(&config.limits, mistakes),
        run_as: config.run_as.clone(),
        accounts: config.accounts.clone(),
        create_accounts: config.create_accounts,
        site: around.base.clone(),
    }
}

/// What is ours, and other users' folders, can be shared with nobody.
fn check_shared(path: &Path, ours: &[&Path], mistakes: &mut Mistakes) {
    if let Some(of_ours) = ours.iter().find(|of_ours| path.starts_with(of_ours)) {
        let problem =
            format!("{} lies in {}, which is nobody's", path.display(), of_ours.display());
        mistakes.add("share", problem, None);
    }
}

fn check_accounts(config: &Config, mistakes: &mut Mistakes) {
    let Some(run_as) = &config.run_as else {
        let keys = [("accounts", !config.accounts.is_empty())];
        let keys = keys.into_iter().chain([("create-accounts", config.create_accounts)]);
        for (key, _) in keys.filter(|(_, is_set)| *is_set) {
            mistakes.add(key, "means nothing without `run-as`", None);
        }
        return;
    };
    if !rustix::process::geteuid().is_root() {
        let hint = "start perijove as root, or leave `run-as` out";
        mistakes.add("run-as", "needs root: nobody else can become another account", Some(hint));
    }
    let plain = run_as.replacen("{user}", "u", 1);
    if !is_account_name(&plain) {
        let problem = format!("{run_as:?} makes no name of an account");
        mistakes.add("run-as", problem, Some("for example \"{user}\" or \"nb-{user}\""));
    }
    if config.create_accounts && !run_as.contains("{user}") {
        let hint = "make the one account by hand";
        mistakes.add("create-accounts", "is for accounts of users, by `{user}`", Some(hint));
    }
    for name in config.accounts.values().filter(|name| !is_account_name(name)) {
        mistakes.add("accounts", format!("{name:?} is no name of an account"), None);
    }
}

/// What every Unix takes: lower-case letters, digits, `-` and `_`, 32 at most, a letter or `_` first.
pub(crate) fn is_account_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    begins && name.len() <= 32 && name.bytes().all(is_plain)
}

fn allowance(limits: &NotebookLimits, mistakes: &mut Mistakes) -> Allowance {
    const LEAST_MEMORY: u64 = 64 << 20;
    let memory = limits.memory.map(|Size(bytes)| bytes);
    if memory.is_some_and(|memory| memory < LEAST_MEMORY) {
        mistakes.add("limits.memory", "must be at least 64M: Jupyter itself needs as much", None);
    }
    let is_sound = |cpu: &f64| cpu.is_finite() && *cpu >= 0.01 && *cpu <= 10_000.0;
    if limits.cpu.is_some_and(|cpu| !is_sound(&cpu)) {
        mistakes.add("limits.cpu", "must be a number of processors, 0.01 or more", None);
    }
    for (key, least, limit) in [("processes", 16, limits.processes), ("files", 256, limits.files)] {
        if limit.is_some_and(|limit| limit < least) {
            mistakes.add(&format!("limits.{key}"), format!("must be at least {least}"), None);
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float to an integer saturates, and it is in range"
    )]
    let cpu = limits.cpu.map(|cpu| (cpu * 1000.0) as u64);
    Allowance { memory, cpu, processes: limits.processes, files: limits.files }
}

impl Size {
    /// Reads a number of bytes; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim().trim_end_matches('b').trim_end_matches('i');
        let place = ["", "k", "m", "g", "t"].iter().position(|known| *known == unit)?;
        let factor = 1_u64.checked_shl(u32::try_from(place).ok()? * 10)?;
        number.parse::<u64>().ok()?.checked_mul(factor).map(Self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes such as \"512M\" or \"2G\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                Size::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Size, E> {
                Ok(Size(number))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Size, E> {
                let wrong = || E::invalid_value(de::Unexpected::Signed(number), &self);
                u64::try_from(number).map(Size).map_err(|_| wrong())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let check =
            |text, expected| assert_eq!(Size::parse(text), Option::map(expected, Size), "{text}");
        check("64", Some(64));
        check("512M", Some(512 << 20));
        check("2 GiB", Some(2 << 30));
        check("1tb", Some(1 << 40));
        check("M", None);
        check("2X", None);
        check("99999999999999T", None);
        check("", None);
    }

    #[test]
    fn names_of_accounts_are_plain() {
        let check = |name, expected| assert_eq!(is_account_name(name), expected, "{name}");
        check("ada", true);
        check("nb-ada_2", true);
        check("_ada", true);
        check("Ada", false);
        check("2ada", false);
        check("-ada", false);
        check("ada@example.com", false);
        check("", false);
        check("root:0", false);
        check(&"a".repeat(33), false);
    }
}
