//! Which pages may show the answers of a route in a frame.

use crate::FieldBlock;

const POLICY: &str = "Content-Security-Policy";
const DIRECTIVE: &str = "frame-ancestors";
/// What says the same with fewer words, and is obeyed beside the policy by old browsers.
const OLD: &str = "X-Frame-Options";

/// Which pages may show the answers of a route in a frame, whatever its target says about that. All
/// else that the target's policies say stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestors {
    /// `frame-ancestors 'self' https://www.example.com`.
    directive: String,
}

impl Ancestors {
    /// The pages of `sources` may: origins, or `'self'` (CSP 3, 6.4.2).
    pub fn by<'a>(sources: impl IntoIterator<Item = &'a str>) -> Self {
        let directive = sources.into_iter().fold(DIRECTIVE.to_owned(), |mut directive, source| {
            directive.push(' ');
            directive.push_str(source);
            directive
        });
        Self { directive }
    }

    pub(crate) fn apply(&self, fields: &mut FieldBlock) {
        let is = |name: &[u8], known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let policies: Vec<String> = fields
            .iter()
            .filter(|(name, _)| is(name, POLICY))
            // A list in one field is as many policies.
            .flat_map(|(_, value)| value.split(|b| *b == b',').map(without))
            .collect();
        fields.retain(|name, _| !is(name, OLD) && !is(name, POLICY));
        for policy in policies.iter().filter(|policy| !policy.is_empty()) {
            fields.push(POLICY, policy);
        }
        // All policies are obeyed: one that names no ancestors forbids none.
        fields.push(POLICY, &self.directive);
    }
}

/// A policy without what it says about frames.
fn without(policy: &[u8]) -> String {
    let text = String::from_utf8_lossy(policy);
    let directives = text.split(';').map(str::trim);
    let is_other = |directive: &&str| {
        let name = directive.split_ascii_whitespace().next().unwrap_or_default();
        !name.is_empty() && !name.eq_ignore_ascii_case(DIRECTIVE)
    };
    directives.filter(is_other).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&str, &str)], expected: &[&str]) {
        let mut block = FieldBlock::new();
        for (name, value) in fields {
            block.push(name, value);
        }
        Ancestors::by(["'self'", "https://site.example"]).apply(&mut block);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let told: Vec<_> =
            block.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_said_about_frames_is_said_anew_and_the_rest_stays() {
        const OURS: &str = "Content-Security-Policy: frame-ancestors 'self' https://site.example";
        check(&[], &[OURS]);
        check(&[("x-frame-options", "DENY"), ("A", "b")], &["A: b", OURS]);
        check(&[("content-security-policy", "frame-ancestors 'none'")], &[OURS]);
        let jupyters = "Frame-Ancestors 'self'; report-uri /api/security/csp-report";
        let rest = "Content-Security-Policy: report-uri /api/security/csp-report";
        check(&[("Content-Security-Policy", jupyters)], &[rest, OURS]);
        let two = "default-src 'none'; frame-ancestors 'self', sandbox allow-scripts;";
        let kept = "Content-Security-Policy: default-src 'none'";
        let sandbox = "Content-Security-Policy: sandbox allow-scripts";
        check(&[("Content-Security-Policy", two)], &[kept, sandbox, OURS]);
        let told_only = ("Content-Security-Policy-Report-Only", "frame-ancestors 'none'");
        let line = "Content-Security-Policy-Report-Only: frame-ancestors 'none'";
        check(&[told_only], &[line, OURS]);
    }
}
