//! A head as ASGI applications give it: a number, and fields as bytes.

use super::{Head, HeadError, OF_THE_CONNECTION, is_forbidden, is_token};

impl Head {
    /// Begins a head with a status.
    pub fn of_status(status: u16) -> Result<Self, HeadError> {
        match status {
            200..=599 => Ok(Self { status, ..Self::default() }),
            _ => Err(HeadError::Number(status)),
        }
    }

    /// Adds a field. Those about the connection are left out.
    pub fn add_bytes(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return Err(HeadError::Name(text(name)));
        }
        if let Some(bad) = value.iter().copied().find(|byte| is_forbidden(*byte)) {
            return Err(HeadError::Value { name: text(name), character: char::from(bad) });
        }
        let value = value.trim_ascii();
        if matches!(name.len(), 2 | 7 | 10 | 16 | 17)
            && OF_THE_CONNECTION.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
        {
            return Ok(());
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value).unwrap_or("?");
            if !self.add_length(digits)? {
                return Ok(());
            }
        }
        self.need_room(name.len() + value.len())?;
        self.fields.reserve(name.len() + value.len() + 4);
        self.fields.extend_from_slice(name);
        self.fields.extend_from_slice(b": ");
        self.fields.extend_from_slice(value);
        self.fields.extend_from_slice(b"\r\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Head;

    fn check(fields: &[(&[u8], &[u8])], expected: Result<&str, &str>) {
        let mut head = Head::of_status(200).unwrap();
        let added = fields.iter().try_for_each(|(name, value)| head.add_bytes(name, value));
        let written = String::from_utf8_lossy(&head.fields).into_owned();
        let result = added.map(|()| written).map_err(|error| error.to_string());
        assert_eq!(result.as_deref().map_err(String::as_str), expected, "{fields:?}");
    }

    #[test]
    fn fields_are_written_as_they_came() {
        check(&[(b"x-a", b"b"), (b"Server", b"\xe9")], Ok("x-a: b\r\nServer: \u{fffd}\r\n"));
        check(&[(b"x-a", b" b\t")], Ok("x-a: b\r\n"));
        check(&[(b"Connection", b"close"), (b"te", b"x")], Ok(""));
    }

    #[test]
    fn fields_that_could_split_an_answer_are_refused() {
        check(&[(b"x a", b"b")], Err("\"x a\" is no name of a header"));
        check(&[(b"", b"b")], Err("\"\" is no name of a header"));
        let refused = "the value of the header x-a has a '\\n', which cannot be sent";
        check(&[(b"x-a", b"b\nc: d")], Err(refused));
        check(&[(b"x-a", b"b\n")], Err(refused));
    }

    #[test]
    fn lengths_are_numbers_and_agree() {
        let length = b"content-length";
        check(&[(length, b"12"), (length, b"12")], Ok("content-length: 12\r\n"));
        check(&[(length, b"+1")], Err("\"+1\" is no Content-Length: digits only"));
        check(&[(length, b"\xff")], Err("\"?\" is no Content-Length: digits only"));
        check(
            &[(length, b"12"), (length, b"13")],
            Err("two headers Content-Length differ: 12 and 13"),
        );
    }

    #[test]
    fn statuses_are_final_ones() {
        assert!(Head::of_status(200).is_ok());
        assert!(Head::of_status(599).is_ok());
        for status in [0, 100, 103, 199, 600] {
            assert!(Head::of_status(status).is_err(), "{status}");
        }
    }
}
