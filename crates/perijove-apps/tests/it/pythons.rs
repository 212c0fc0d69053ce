//! Interpreters that will do, and what is said of those that will not.

use std::{fs, os::unix::fs::PermissionsExt as _};

use perijove_apps::python::{self, PythonError};

use crate::site::{any_python, environment};

#[tokio::test]
async fn an_interpreter_is_asked_who_it_is() {
    let python = python::check(&any_python(), &environment()).await.unwrap();
    assert!(python.version >= [3, 10, 0] && python.path.is_absolute(), "{python:?}");
}

#[tokio::test]
async fn what_is_no_interpreter_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("python");
    let check = async |script: &str| {
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        python::check(&path, &environment()).await.unwrap_err()
    };
    let broken = check("echo 'no such library' >&2; exit 127").await;
    assert!(
        broken
            .to_string()
            .ends_with("does not work as a Python (exit status 127): no such library")
    );
    let silent = check("exit 0").await;
    assert!(silent.to_string().ends_with("(exit status 0): it said nothing"), "{silent}");
    let old = check(
        r#"echo '{"implementation": "cpython", "version": [3, 8, 1], "executable": "",
        "is_free_threaded": false}'"#,
    )
    .await;
    assert!(matches!(old, PythonError::Old { .. }), "{old:?}");
    let nowhere = python::check("/nowhere/python".as_ref(), &environment()).await.unwrap_err();
    assert!(matches!(nowhere, PythonError::Run { .. }), "{nowhere:?}");
}
