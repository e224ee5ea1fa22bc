//! What operator and servers tell each other of X.509 certificates: which they are, and how long they last.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Which certificate it is: SHA-256 of its DER, in hex.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CertificateFingerprint(String);

impl CertificateFingerprint {
    /// That of the certificate with this DER.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// As hex.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CertificateFingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for CertificateFingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.8}", self.0)
    }
}

/// From when to when a certificate is valid, both included: seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last one.
    pub not_after: i64,
}

impl Validity {
    /// That of the certificate with this DER; `None` when it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (certificate, _) = element(der, SEQUENCE)?;
        let (mut fields, _) = element(certificate, SEQUENCE)?;
        // The version is left out by the oldest certificates. Serial number, algorithm and issuer are passed over.
        if fields.first() == Some(&VERSION) {
            fields = element(fields, VERSION)?.1;
        }
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            fields = element(fields, tag)?.1;
        }
        let (validity, _) = element(fields, SEQUENCE)?;
        let (not_before, rest) = time(validity)?;
        let (not_after, _) = time(rest)?;
        Some(Self { not_before, not_after })
    }

    /// True when `now` is in it.
    pub const fn contains(self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// What the first element holds, which has that tag, and what comes after it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        // Four bytes of length are more than any certificate has.
        long @ 0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (*first == tag).then_some(())?;
    rest.split_at_checked(length)
}

/// A time, and what comes after it.
fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, year_digits) = match *der.first()? {
        UTC_TIME => element(der, UTC_TIME).map(|(text, rest)| (text, rest, 2))?,
        _ => element(der, GENERALIZED_TIME).map(|(text, rest)| (text, rest, 4))?,
    };
    let digits = text.strip_suffix(b"Z")?;
    (digits.len() == year_digits + 10 && digits.iter().all(u8::is_ascii_digit)).then_some(())?;
    let number = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    let (year, digits) = digits.split_at(year_digits);
    // Two digits are of the years 1950 to 2049, says RFC 5280.
    let year = match number(year) {
        year if year_digits == 4 => year,
        year if year < 50 => year + 2000,
        year => year + 1900,
    };
    let mut parts = digits.chunks(2).map(number);
    let [month, day, hour, minute, second] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let day_of_era = days(year, month, day)?;
    (hour < 24 && minute < 60 && second < 61).then_some((((day_of_era * 24 + hour) * 60 + minute) * 60 + second, rest))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, years beginning in March.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some(())?;
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frame of a certificate around its times.
    fn certificate(times: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| [&[tag, 0x82, 0, u8::try_from(content.len()).unwrap()], content].concat();
        let fields = [&[VERSION, 3, 2, 1, 2, INTEGER, 1, 9, SEQUENCE, 0, SEQUENCE, 0][..], &wrap(SEQUENCE, times), b"\x30\x00"].concat();
        wrap(SEQUENCE, &wrap(SEQUENCE, &fields))
    }

    fn times(not_before: &str, not_after: &str) -> Vec<u8> {
        let element = |text: &str| {
            let tag = if text.len() == 13 { UTC_TIME } else { GENERALIZED_TIME };
            [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
        };
        [element(not_before), element(not_after)].concat()
    }

    #[test]
    fn times_are_read_as_they_stand_in_certificates() {
        for (not_before, not_after, expected) in [
            ("700101000000Z", "491231235959Z", Some((0, 2_524_607_999))),
            ("240229120000Z", "20500101000000Z", Some((1_709_208_000, 2_524_608_000))),
            ("261123221720Z", "261124221720Z", Some((1_795_472_240, 1_795_558_640))),
            ("500101000000Z", "99991231235959Z", Some((-631_152_000, 253_402_300_799))),
            ("261323221720Z", "261124221720Z", None),
            ("261123221720+", "261124221720Z", None),
            ("26112322172xZ", "261124221720Z", None),
        ] {
            let read = Validity::of(&certificate(&times(not_before, not_after))).map(|validity| (validity.not_before, validity.not_after));
            assert_eq!(read, expected, "{not_before} {not_after}");
        }
    }

    #[test]
    fn anything_else_is_no_certificate() {
        let good = certificate(&times("260101000000Z", "270101000000Z"));
        assert!(Validity::of(&good).is_some());
        let end = good.len() - 2;
        for length in 0..end {
            assert_eq!(Validity::of(&good[..length]), None, "cut at {length}");
        }
        for junk in [&b""[..], b"\x30\x80", b"\x30\x85\x01\x01\x01\x01\x01", b"-----BEGIN CERTIFICATE-----"] {
            assert_eq!(Validity::of(junk), None, "{junk:?}");
        }
    }

    #[test]
    fn fingerprints_are_those_that_people_compare() {
        let fingerprint = CertificateFingerprint::of(b"abc");
        assert_eq!(fingerprint.as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(format!("{fingerprint:?}"), "ba7816bf");
    }
}
