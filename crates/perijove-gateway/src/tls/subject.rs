//! What a client's certificate says, read from its DER (RFC 5280): whom it is for, who signed it.
//!
//! Whether it is to be believed is decided elsewhere, before this is asked.

mod der;

use std::fmt::Write;

use ring::digest::{SHA256, digest};

use der::{Der, dotted, next};

/// A client's certificate that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// As RFC 4514 writes it: `CN=ada,O=Example`. ASCII only.
    pub subject: String,
    pub issuer: String,
    /// The common name of the subject, or nothing.
    pub name: String,
    /// In hexadecimal, upper case.
    pub serial: String,
    /// SHA-256 of the certificate, in hexadecimal, lower case.
    pub fingerprint: String,
    /// Other names: `DNS:example.com, email:ada@example.com`.
    pub names: String,
}

impl Certificate {
    /// Reads a certificate; `None` when it is none.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut outer = next(&mut &*bytes, Der::SEQUENCE)?;
        let mut fields = next(&mut outer, Der::SEQUENCE)?;
        // The version is there from the second on.
        let _ = next(&mut fields, Der::context(0));
        let serial = next(&mut fields, Der::INTEGER)?;
        next(&mut fields, Der::SEQUENCE)?;
        let issuer = Names::read(next(&mut fields, Der::SEQUENCE)?)?;
        next(&mut fields, Der::SEQUENCE)?;
        let subject = Names::read(next(&mut fields, Der::SEQUENCE)?)?;
        next(&mut fields, Der::SEQUENCE)?;
        Some(Self {
            name: subject.common.clone().unwrap_or_default(),
            subject: subject.text,
            issuer: issuer.text,
            serial: hexadecimal(serial.strip_prefix(&[0]).unwrap_or(serial), true),
            fingerprint: hexadecimal(digest(&SHA256, bytes).as_ref(), false),
            names: alternatives(fields).unwrap_or_default(),
        })
    }
}

fn hexadecimal(bytes: &[u8], is_upper: bool) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = if is_upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
    }
    text
}

/// A distinguished name.
struct Names {
    text: String,
    common: Option<String>,
}

impl Names {
    /// The most specific part stands first, as RFC 4514 has it.
    fn read(mut parts: &[u8]) -> Option<Self> {
        let mut written: Vec<String> = Vec::new();
        let mut common = None;
        while !parts.is_empty() {
            let mut set = next(&mut parts, Der::SET)?;
            let mut part = String::new();
            while !set.is_empty() {
                let mut pair = next(&mut set, Der::SEQUENCE)?;
                let kind = next(&mut pair, Der::OBJECT)?;
                let (tag, value) = der::any(&mut pair)?;
                if !part.is_empty() {
                    part.push('+');
                }
                let value = text_of(tag, value);
                let kind = dotted(kind);
                match (&value, keyword(&kind)) {
                    (Some(value), Some(keyword)) => {
                        push_pair(&mut part, keyword, &escaped(value));
                        if keyword == "CN" {
                            common = Some(plain(value));
                        }
                    }
                    (Some(value), None) => push_pair(&mut part, &kind, &escaped(value)),
                    (None, _) => push_pair(&mut part, &kind, "?"),
                }
            }
            written.push(part);
        }
        written.reverse();
        Some(Self { text: written.join(","), common })
    }
}

fn push_pair(part: &mut String, kind: &str, value: &str) {
    part.push_str(kind);
    part.push('=');
    part.push_str(value);
}

fn keyword(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.4" => "SN",
        "2.5.4.42" => "GN",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

/// The text of one of the kinds of strings that names have.
fn text_of(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        // UTF8String
        12 => String::from_utf8(value.to_vec()).ok(),
        // NumericString, PrintableString, TeletexString, IA5String
        18 | 19 | 20 | 22 => Some(value.iter().map(|byte| char::from(*byte)).collect()),
        // BMPString
        30 => {
            let (pairs, rest) = value.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16(&units).ok().filter(|_| rest.is_empty())
        }
        _ => None,
    }
}

/// A value as RFC 4514 2.4 writes it; what is not printable ASCII as bytes in hexadecimal, so that it
/// can stand in a header field.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let is_edge = (at == 0 && matches!(byte, b' ' | b'#')) || (at == last && byte == b' ');
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' if !is_edge => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
    text
}

/// A value that can stand in a header field, without escapes where it needs none.
fn plain(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain { value.trim().to_owned() } else { escaped(value) }
}

/// The subject's alternative names, from the fields behind its key.
fn alternatives(mut fields: &[u8]) -> Option<String> {
    /// `id-ce-subjectAltName`.
    const KIND: &[u8] = &[0x55, 0x1d, 0x11];
    let _ = next(&mut fields, Der::context_plain(1));
    let _ = next(&mut fields, Der::context_plain(2));
    let mut wrapped = next(&mut fields, Der::context(3))?;
    let mut extensions = next(&mut wrapped, Der::SEQUENCE)?;
    while !extensions.is_empty() {
        let mut extension = next(&mut extensions, Der::SEQUENCE)?;
        if next(&mut extension, Der::OBJECT)? != KIND {
            continue;
        }
        let _is_critical = next(&mut extension, Der::BOOLEAN);
        let mut value = next(&mut extension, Der::OCTETS)?;
        let mut names = next(&mut value, Der::SEQUENCE)?;
        let mut written = Vec::new();
        while !names.is_empty() {
            let (tag, name) = der::any(&mut names)?;
            let text = || text_of(22, name).map(|text| escaped(&text));
            written.extend(match tag & 0x1f {
                1 => text().map(|name| format!("email:{name}")),
                2 => text().map(|name| format!("DNS:{name}")),
                6 => text().map(|name| format!("URI:{name}")),
                7 => address(name).map(|name| format!("IP:{name}")),
                _ => None,
            });
        }
        return Some(written.join(", "));
    }
    None
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(Into::into);
    v4().or_else(|| <[u8; 16]>::try_from(bytes).ok().map(Into::into))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber};

    use super::{Certificate, escaped};

    fn made(parts: &[(DnType, &str)], names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = names;
        params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xff]));
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn certificates_are_read() {
        let names = vec![
            SanType::DnsName("ada.example".try_into().unwrap()),
            SanType::Rfc822Name("ada@example".try_into().unwrap()),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
            SanType::URI("https://ada.example/".try_into().unwrap()),
        ];
        let parts = [
            (DnType::CountryName, "GB"),
            (DnType::OrganizationName, "Engines, Ltd"),
            (DnType::CommonName, "Ada Lovelace"),
        ];
        let read = Certificate::read(&made(&parts, names)).unwrap();
        assert_eq!(read.subject, "CN=Ada Lovelace,O=Engines\\, Ltd,C=GB");
        assert_eq!(read.issuer, read.subject);
        assert_eq!(read.name, "Ada Lovelace");
        assert_eq!(read.serial, "0AFF");
        assert_eq!(read.fingerprint.len(), 64);
        let names = "DNS:ada.example, email:ada@example, IP:192.0.2.1, URI:https://ada.example/";
        assert_eq!(read.names, names);
    }

    #[test]
    fn what_could_break_a_header_field_is_escaped() {
        let check = |value: &str, expected: &str| assert_eq!(escaped(value), expected);
        check("ada", "ada");
        check(" ada ", "\\20ada\\20");
        check("#1", "\\231");
        check("a+b=c", "a\\+b=c");
        check("a\r\nb", "a\\0D\\0Ab");
        check("é", "\\C3\\A9");
        let read = Certificate::read(&made(&[(DnType::CommonName, "a\r\nB: c")], vec![])).unwrap();
        assert_eq!((&*read.subject, &*read.name), ("CN=a\\0D\\0AB: c", "a\\0D\\0AB: c"));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(Certificate::read(&bytes));
        }

        #[test]
        fn no_change_breaks_it(at in 0usize..400, byte in any::<u8>(), end in 0usize..400) {
            let mut bytes = made(&[(DnType::CommonName, "ada")], vec![]);
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(end.max(1));
            if let Some(read) = Certificate::read(&bytes) {
                let all = [read.subject, read.issuer, read.name, read.serial, read.names].concat();
                prop_assert!(all.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            }
        }
    }
}
