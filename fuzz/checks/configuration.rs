//! What must hold for the text of any configuration; used by the fuzzer and by an ordinary test.

/// Any text gives a configuration or mistakes that can be told, never a panic.
pub(super) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(mistakes) = perijove::config::parse_text(text) {
        assert!(!mistakes.to_string().is_empty());
    }
}
