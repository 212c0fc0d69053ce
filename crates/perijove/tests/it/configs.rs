//! What `perijove check --explain` tells about each file of `tests/data/configs`.
//!
//! A file says in its comments what it needs: `# without: NAME…` takes files away from the folder
//! it is tried in, `# with: NAME…` adds applications, `# with-ini: LINE` a line to the INI file,
//! `# environment: NAME=VALUE…` sets variables.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

#[test]
fn every_configuration_is_explained_or_refused() {
    let mut tried = 0;
    for file in files() {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let told = check(&file);
        assert_eq!(!told.starts_with("exit 0"), name.starts_with("broken-"), "{name}: {told}");
        let filters = vec![
            (r"(?m)^(threads        )\d+$", "$1[processors]"),
            (r"(?m)^(  workers      )\d+, (one|two) for each", "$1[number], $2 for each"),
            (r"\(os error \d+\)", "(os error)"),
        ];
        insta::with_settings!({
            snapshot_path => "../../../../tests/data/configs/expected",
            prepend_module_to_snapshot => false,
            omit_expression => true,
            filters => filters,
        }, { insta::assert_snapshot!(name, told) });
        tried += 1;
    }
    assert!(tried > 40, "only {tried} files were found");
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/configs");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn check(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let folder = site();
    let directive = |name: &str| {
        let prefix = format!("# {name}: ");
        text.lines().filter_map(move |line| line.strip_prefix(&prefix).map(str::to_owned))
    };
    for name in directive("without").flat_map(|names| words(&names)) {
        let path = folder.path().join(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    for name in directive("with").flat_map(|names| words(&names)) {
        fs::write(folder.path().join(name), "app = FastAPI()\n").unwrap();
    }
    for line in directive("with-ini") {
        fs::write(folder.path().join("production.ini"), format!("[app:main]\n{line}\n")).unwrap();
    }
    fs::write(folder.path().join("perijove.toml"), &text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_perijove"));
    command
        .args(["check", "--explain"])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", "/nowhere")
        .env("STATE_DIRECTORY", "/var/lib/site")
        .env("RUNTIME_DIRECTORY", "/run/site");
    for pair in directive("environment").flat_map(|pairs| words(&pairs)) {
        let (name, value) = pair.split_once('=').unwrap();
        command.env(name, value);
    }
    let output = command.output().unwrap();
    let told = format!(
        "exit {}\n{}{}",
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap()
    );
    told.replace(folder.path().to_str().unwrap(), "[folder]")
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A folder with everything that the files name.
fn site() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["site.example.com".to_owned()]).unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write("app.py", "from wsgi import application\n");
    write("wsgi.py", "application = None\n");
    write("production.ini", "[server:main]\n");
    write("public/index.html", "hello");
    write("shop/app.py", "def make(): ...\n");
    write("certificate.pem", &certified.cert.pem());
    write("key.pem", &certified.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(["other.example.com".to_owned()]).unwrap();
    write("other-key.pem", &other.signing_key.serialize_pem());
    write("garbage.pem", "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n");
    write(".venv/bin/python", "#!/bin/sh\n");
    let python = folder.path().join(".venv/bin/python");
    fs::set_permissions(python, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}
