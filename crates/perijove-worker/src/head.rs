//! The head of an answer, as the application gave it: checked, and written as the bytes that are
//! sent. Knows no Python.

mod raw;

/// Status and fields of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// `Name: value\r\n` for each field.
    pub fields: Vec<u8>,
    /// What `Content-Length` says.
    pub length: Option<u64>,
}

/// Why a head is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum HeadError {
    Status(String),
    Number(u16),
    Name(String),
    Value { name: String, character: char },
    Length(String),
    Lengths(u64, u64),
    TooLong,
}

/// Bytes of all headers together. One frame carries them, and clients take less.
const MOST: usize = 128 << 10;

impl std::fmt::Display for HeadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => {
                write!(f, "{status:?} is no status: three digits and a reason, such as '200 OK'")
            }
            Self::Number(status) => write!(f, "{status} is no status: a number from 200 to 599"),
            Self::Name(name) => write!(f, "{name:?} is no name of a header"),
            Self::Value { name, character } => {
                write!(
                    f,
                    "the value of the header {name} has a {character:?}, which cannot be sent"
                )
            }
            Self::Length(value) => write!(f, "{value:?} is no Content-Length: digits only"),
            Self::Lengths(one, other) => {
                write!(f, "two headers Content-Length differ: {one} and {other}")
            }
            Self::TooLong => {
                write!(f, "the headers are longer than the {MOST} bytes that can be sent")
            }
        }
    }
}

/// Headers that are about the connection, which is none of an application's business.
const OF_THE_CONNECTION: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Head {
    /// Begins a head with a status such as `200 OK`. The reason is not sent.
    pub fn new(status: &str) -> Result<Self, HeadError> {
        let wrong = || HeadError::Status(status.to_owned());
        let (digits, reason) = status.split_at_checked(3).ok_or_else(wrong)?;
        let is_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_apart = reason.is_empty() || reason.starts_with(' ');
        if !is_digits || !is_apart || reason.contains(char::is_control) {
            return Err(wrong());
        }
        match digits.parse() {
            Ok(status @ 200..=599) => Ok(Self { status, ..Self::default() }),
            _ => Err(wrong()),
        }
    }

    /// Adds a header. Those about the connection are left out.
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), HeadError> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(HeadError::Name(name.to_owned()));
        }
        let value = value.trim_matches([' ', '\t']);
        if matches!(name.len(), 2 | 7 | 10 | 16 | 17)
            && OF_THE_CONNECTION.iter().any(|other| other.eq_ignore_ascii_case(name))
        {
            return Ok(());
        }
        if name.eq_ignore_ascii_case("content-length") && !self.add_length(value)? {
            return Ok(());
        }
        self.need_room(name.len() + value.len())?;
        self.fields.extend_from_slice(name.as_bytes());
        self.fields.extend_from_slice(b": ");
        let start = self.fields.len();
        add_latin_1(&mut self.fields, value)
            .map_err(|character| HeadError::Value { name: name.to_owned(), character })
            .inspect_err(|_| self.fields.truncate(start))?;
        self.fields.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn need_room(&self, more: usize) -> Result<(), HeadError> {
        if self.fields.len() + more > MOST { Err(HeadError::TooLong) } else { Ok(()) }
    }

    /// Takes a `Content-Length`; false when it was there already.
    fn add_length(&mut self, value: &str) -> Result<bool, HeadError> {
        let is_digits = value.bytes().all(|byte| byte.is_ascii_digit());
        let Some(length) = value.parse().ok().filter(|_| is_digits) else {
            return Err(HeadError::Length(value.to_owned()));
        };
        match self.length.replace(length) {
            Some(before) if before != length => Err(HeadError::Lengths(before, length)),
            before => Ok(before.is_none()),
        }
    }

    /// Sets the length that the application did not tell.
    pub fn set_length(&mut self, length: u64) {
        if self.length.is_none() {
            self.length = Some(length);
            self.fields.extend_from_slice(b"Content-Length: ");
            self.fields.extend_from_slice(length.to_string().as_bytes());
            self.fields.extend_from_slice(b"\r\n");
        }
    }

    /// True when answers of this status have no body, whatever the application says.
    pub fn has_no_body(&self) -> bool {
        matches!(self.status, 204 | 304)
    }
}

/// A character of a name (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Adds text whose characters are bytes; the character that is none, or that would end the field.
fn add_latin_1(bytes: &mut Vec<u8>, text: &str) -> Result<(), char> {
    if text.is_ascii() {
        if let Some(bad) = text.bytes().find(|byte| is_forbidden(*byte)) {
            return Err(char::from(bad));
        }
        bytes.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) if !is_forbidden(byte) => bytes.push(byte),
            _ => return Err(character),
        }
    }
    Ok(())
}

fn is_forbidden(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

#[cfg(test)]
mod tests;
