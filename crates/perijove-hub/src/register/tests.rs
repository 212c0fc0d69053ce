//! The users file, changed and read.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn user(name: &str) -> User {
    User::new(name).unwrap()
}

fn password(text: &str) -> Password {
    Password::new(text)
}

#[test]
fn users_come_change_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let [here, there] = [(); 2].map(|()| Register::open(folder.path()).unwrap());
    let (ada, bob) = (user("ada"), user("bob"));
    here.add(&ada, &password("correct horse")).unwrap();
    here.add(&bob, &password("battery staple")).unwrap();
    assert!(matches!(here.add(&ada, &password("another horse")), Err(RegisterError::Taken(_))));
    assert!(there.users().is_empty());
    there.refresh().unwrap();
    assert_eq!(there.users(), [ada.clone(), bob.clone()]);
    let before = there.entry(&ada).unwrap();
    assert!(before.password.is_of(&password("correct horse")));
    here.change_password(&ada, &password("another horse")).unwrap();
    there.refresh().unwrap();
    let after = there.entry(&ada).unwrap();
    assert!(after.password.is_of(&password("another horse")));
    assert_ne!(before.mark, after.mark);
    here.remove(&ada).unwrap();
    assert!(matches!(here.remove(&ada), Err(RegisterError::Unknown(_))));
    assert!(matches!(
        here.change_password(&ada, &password("another horse")),
        Err(RegisterError::Unknown(_))
    ));
    // Somebody of the same name begins anew.
    here.add(&ada, &password("another horse")).unwrap();
    there.refresh().unwrap();
    assert_ne!(there.entry(&ada).unwrap().mark, after.mark);
}

#[test]
fn the_file_is_nobody_elses_and_holds_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let register = Register::open(folder.path()).unwrap();
    register.add(&user("ada"), &password("correct horse")).unwrap();
    let path = folder.path().join(FILE);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&path).unwrap().contains("correct"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Register::open(folder.path()), Err(RegisterError::Open(_))));
}

#[test]
fn what_a_later_version_writes_is_kept_and_what_is_broken_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let register = Register::open(folder.path()).unwrap();
    register.add(&user("ada"), &password("correct horse")).unwrap();
    let path = folder.path().join(FILE);
    let text = fs::read_to_string(&path).unwrap();
    let line = text.trim().replace("\"mark\"", "\"groups\":[\"staff\"],\"mark\"");
    replace(&path, format!("{line}\n\n").as_bytes()).unwrap();
    register.change_password(&user("ada"), &password("another horse")).unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("\"groups\":[\"staff\"]"));
    replace(&path, format!("{line}\n{{\"name\":").as_bytes()).unwrap();
    assert!(matches!(register.refresh(), Err(RegisterError::Line { line: 2, .. })));
    assert!(register.users().is_empty());
}
