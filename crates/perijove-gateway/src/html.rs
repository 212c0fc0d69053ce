//! Text in pages of ours.

use std::fmt::{self, Write as _};

/// The colours of pages of ours, by light and in the dark.
pub(crate) const COLOURS: &str = "\
:root{color-scheme:light dark;--ink:#1d2733;--dim:#5d6b7a;--paper:#f6f7f9;--card:#fff;--line:#dde2e8;--mark:#b4492f}\
@media(prefers-color-scheme:dark){:root{--ink:#e6eaef;--dim:#93a0ae;--paper:#14181d;--card:#1c2229;--line:#2d353f;--mark:#e88a6f}}";

/// Text that may stand in a page, and in a quoted attribute.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}
