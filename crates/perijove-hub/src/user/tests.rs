//! Names never escape: distinct users have distinct addresses and folders.

use std::path::{Component, Path};

use proptest::prelude::*;

use super::{NameError, User, encode_path};

fn check(name: &str, canonical: &str, folder: &str) {
    let user = User::new(name).unwrap();
    assert_eq!(user.canonical(&["shutdown".to_owned()]), canonical);
    assert_eq!(user.folder_name(), folder);
    assert_eq!(User::from_segment(canonical.as_bytes()), Ok(user));
}

#[test]
fn names_have_one_spelling_and_a_folder() {
    check("ada", "ada", "ada");
    check("ada@example.org", "ada%40example%2Eorg", "ada@example.org");
    check("a+b", "a%2Bb", "a+b");
    check("秀樹", "%E7%A7%80%E6%A8%B9", "%E7%A7%80%E6%A8%B9");
    check("../../evil", "%2E%2E%2F%2E%2E%2Fevil", "%2E%2E%2F%2E%2E%2Fevil");
    check("a/b", "a%2Fb", "a%2Fb");
    check("/etc", "%2Fetc", "%2Fetc");
    check(".hidden", "%2Ehidden", "%2Ehidden");
    check("-rf", "-rf", "-rf");
    check("~root", "~root", "~root");
    check("100%", "100%25", "100%25");
    check("a b", "a%20b", "a%20b");
}

#[test]
fn words_with_a_meaning_of_their_own_are_escaped() {
    check("shutdown", "%73hutdown", "shutdown");
    check("ShutDown", "%53hutDown", "ShutDown");
    check("lab", "%6Cab", "lab");
    check("-", "%2D", "%2D");
}

fn check_refused(name: &str, expected: NameError) {
    assert_eq!(User::new(name), Err(expected));
}

#[test]
fn what_is_no_name_is_refused() {
    check_refused("", NameError::Empty);
    check_refused(".", NameError::Dots);
    check_refused("..", NameError::Dots);
    check_refused("a\0b", NameError::Control);
    check_refused("a\nb", NameError::Control);
    check_refused("a\u{85}b", NameError::Control);
    check_refused(&"x".repeat(300), NameError::Long { characters: 300 });
    assert!(User::new(&"樹".repeat(128)).is_ok());
    assert_eq!(User::from_segment(b"%zz"), Err(NameError::Encoding));
    assert_eq!(User::from_segment(b"%ff"), Err(NameError::Encoding));
    assert_eq!(User::from_segment(b"a%2"), Err(NameError::Encoding));
}

#[test]
fn paths_in_addresses_keep_their_slashes() {
    assert_eq!(encode_path("a b/ç.ipynb"), "a%20b/%C3%A7.ipynb");
}

/// Names of all lengths, with what is special in paths and addresses more often than by chance.
fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            proptest::sample::select(vec!['.', '/', '%', '~', '=', '\\', '-', '@', '2', 'E', 'a']),
            any::<char>(),
        ],
        1..128,
    )
    .prop_map(|characters| characters.into_iter().collect())
}

proptest! {
    #[test]
    fn distinct_names_have_distinct_places(a in name(), b in name()) {
        let (Ok(a), Ok(b)) = (User::new(&a), User::new(&b)) else { return Ok(()) };
        prop_assume!(a != b);
        prop_assert_ne!(a.canonical(&[]), b.canonical(&[]));
        prop_assert_ne!(a.folder_name(), b.folder_name());
    }

    #[test]
    fn places_never_escape(name in name()) {
        let Ok(user) = User::new(&name) else { return Ok(()) };
        let folder = user.folder_name();
        prop_assert!(folder.len() <= 200 && !folder.starts_with('.'));
        let parts: Vec<_> = Path::new(&folder).components().collect();
        prop_assert!(matches!(parts.as_slice(), [Component::Normal(_)]), "{}", folder);
        let canonical = user.canonical(&[]);
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_~%".contains(&b);
        prop_assert!(canonical.bytes().all(is_plain), "{}", canonical);
        prop_assert_eq!(User::from_segment(canonical.as_bytes()), Ok(user));
    }

    #[test]
    fn a_folder_named_like_anothers_cut_one_is_still_another(tail in "[a-z]{4}") {
        let long = User::new(&format!("{}{tail}", "樹".repeat(100))).unwrap();
        let taken = User::new(&long.folder_name());
        prop_assert!(taken.is_err() || taken.unwrap().folder_name() != long.folder_name());
    }
}
