//! When a certificate ends: as much of X.509 (RFC 5280) as that takes.

use std::path::Path;

use rustls::pki_types::{CertificateDer, pem::PemObject};

/// When the first certificate of a PEM file ends, in seconds since the Unix epoch; none when it
/// cannot be told.
pub(super) fn expiry(file: &Path) -> Option<u64> {
    end_of(CertificateDer::pem_file_iter(file).ok()?.next()?.ok()?.as_ref())
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The version of a certificate, which the first version leaves out.
const VERSION: u8 = 0xa0;

fn end_of(certificate: &[u8]) -> Option<u64> {
    let (signed, _) = value(certificate, SEQUENCE)?;
    let (fields, _) = value(signed, SEQUENCE)?;
    let fields = value(fields, VERSION).map_or(fields, |(_, rest)| rest);
    let (_serial, fields) = value(fields, INTEGER)?;
    let (_algorithm, fields) = value(fields, SEQUENCE)?;
    let (_issuer, fields) = value(fields, SEQUENCE)?;
    let (validity, _) = value(fields, SEQUENCE)?;
    let (_begin, end) = time(validity)?;
    let (end, _) = time(end)?;
    Some(end)
}

/// A value of this kind at the front, and what follows it (ITU-T X.690, definite lengths).
fn value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}

fn time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (text, rest, century) = if let Some((text, rest)) = value(bytes, UTC_TIME) {
        // Two digits of the year: from 1950 to 2049.
        let century = if *text.first()? >= b'5' { "19" } else { "20" };
        (text, rest, century)
    } else {
        let (text, rest) = value(bytes, GENERALIZED_TIME)?;
        (text, rest, "")
    };
    let text = format!("{century}{}", std::str::from_utf8(text).ok()?);
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let days = days_before(part(0, 4)?, part(4, 6)?, part(6, 8)?)?;
    let seconds = part(8, 10)? * 3600 + part(10, 12)? * 60 + part(12, 14)?;
    Some((days * 86_400 + seconds, rest))
}

/// Days from the Unix epoch to a day.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let before = BEFORE.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    let years = year.checked_sub(1970)?;
    let extra = u64::from(is_leap && month > 2);
    Some(
        years * 365 + leap_days(year - 1) - leap_days(1969)
            + before
            + extra
            + day.checked_sub(1)?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted() {
        let check = |year, month, day, expected| {
            assert_eq!(days_before(year, month, day), expected, "{year}-{month}-{day}");
        };
        check(1970, 1, 1, Some(0));
        check(2000, 2, 29, Some(11_016));
        check(2000, 3, 1, Some(11_017));
        check(2026, 11, 20, Some(20_777));
        check(2100, 3, 1, Some(47_541));
        check(1969, 1, 1, None);
        check(2000, 13, 1, None);
    }

    #[test]
    fn the_end_of_a_certificate_is_found() {
        let check = |year: i32, expected: u64| {
            let names = vec!["site.example".to_owned()];
            let mut parameters = rcgen::CertificateParams::new(names).unwrap();
            parameters.not_after = rcgen::date_time_ymd(year, 2, 3);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = parameters.self_signed(&key).unwrap();
            assert_eq!(end_of(certificate.der()), Some(expected), "{year}");
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("certificate.pem");
            std::fs::write(&file, certificate.pem()).unwrap();
            assert_eq!(expiry(&file), Some(expected));
        };
        check(2030, 1_896_307_200);
        check(2049, 2_495_923_200);
        // Four digits of the year from here on.
        check(2050, 2_527_459_200);
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for bytes in [&b""[..], b"\x30", b"\x30\x82\xff\xff", b"\x30\x03\x30\x01\x02", &[0xff; 64]]
        {
            assert_eq!(end_of(bytes), None);
        }
    }
}
