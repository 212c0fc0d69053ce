//! What a form or a query says (`application/x-www-form-urlencoded`).

use crate::user::percent_decode;

/// Pairs that are read; no form of ours has more.
const MOST: usize = 32;

/// The pairs of a form.
#[derive(Clone, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Pairs that are no UTF-8, or escaped wrongly, are left out.
    pub(crate) fn read(text: &[u8]) -> Self {
        let pairs = text.split(|byte| *byte == b'&').take(MOST).filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = (pair.get(..at)?, pair.get(at + 1..).unwrap_or_default());
            Some((decoded(name)?, decoded(value)?))
        });
        Self(pairs.collect())
    }

    /// The first value of a name; empty when there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

fn decoded(text: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    String::from_utf8(percent_decode(&spaced)?).ok()
}

/// Where somebody is led to who says so in an address: somewhere below the path of notebooks, else
/// to that itself. No host, no backslash (browsers take it for a slash), no control character can
/// stand in it.
pub(crate) fn own_path<'a>(path: &'a str, next: &'a str) -> &'a str {
    let is_plain = next.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'\\');
    let is_loop = next.strip_prefix(path).is_some_and(|below| below.starts_with("-/"));
    let is_own = next.starts_with(path) && !next.contains("/..") && !next.contains("//");
    if is_plain && is_own && !is_loop && next.len() <= 4096 { next } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        let form = Form::read(b"name=a%40b+c&password=%C3%A9%3D=&x&bad=%zz&name=second&y=%ff");
        let check = |name: &str, expected: &str| assert_eq!(form.get(name), expected, "{name}");
        check("name", "a@b c");
        check("password", "é==");
        check("x", "");
        check("bad", "");
        check("y", "");
    }

    #[test]
    fn nobody_is_led_elsewhere() {
        let check = |next: &str, expected: &str| {
            assert_eq!(own_path("/notebook/", next), expected, "{next}");
        };
        let own = "/notebook/ada/lab/tree/a%20b.ipynb?x=1&y=2";
        check(own, own);
        check("/notebook/", "/notebook/");
        for elsewhere in [
            "",
            "/",
            "//evil.example/",
            "https://evil.example/notebook/",
            "/notebook",
            "/notebook/../admin",
            "/notebook//evil.example",
            "/notebook/\\evil.example",
            "/notebook/a\r\nSet-Cookie: x",
            "/notebook/\u{e9}",
            "/\\evil.example",
            "\\/evil.example/notebook/",
            " /notebook/x",
            "/notebook/-/login",
            "javascript:alert(1)//notebook/",
        ] {
            check(elsewhere, "/notebook/");
        }
    }
}
