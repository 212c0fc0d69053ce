//! What others have written, as it may be shown on a terminal.

use std::borrow::Cow;

/// The text with its control characters written out: a notebook's output must not move the cursor
/// of whoever reads it, let alone type. Line ends and tabs stay.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    if !text.contains(is_harmful) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_harmful(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn control_characters_are_written_out() {
        let check = |text, expected: &str| assert_eq!(harmless(text), expected);
        check("a\tline\nof 秀樹\n", "a\tline\nof 秀樹\n");
        check("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}");
        check("over\rwritten", "over\\rwritten");
        check("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}");
    }
}
