//! The certificate authorities that an operator gives: that the file holds certificates, and until when they are valid.
//! Signatures and names are the agent's business.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::Error;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// An authority that is valid for less than this many seconds more is worth a warning: 90 days.
const SOON: i64 = 90 * 24 * 3600;

/// DER tags.
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// Checks a PEM file as it is at `now`, in seconds since 1970; returns warnings.
pub(crate) fn check(text: &str, now: i64) -> Result<Vec<String>, Error> {
    if text.contains("PRIVATE KEY") {
        return Err(wrong("has a private key; give the certificates only"));
    }
    let mut warnings = Vec::new();
    let mut count = 0;
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        count += 1;
        let ended = after.split_once(END);
        let (body, behind) = ended.ok_or_else(|| wrong("breaks off"))?;
        let digits: String = body.split_whitespace().collect();
        let der = STANDARD.decode(digits).ok();
        let Some(validity) = der.as_deref().and_then(validity) else {
            return Err(wrong(&format!("has a damaged certificate, number {count}")));
        };
        let (from, until) = validity;
        if until.seconds < now {
            let what = format!("has an expired certificate, number {count}: it was valid until");
            return Err(wrong(&format!("{what} {}", until.text)));
        }
        if from.seconds > now {
            warnings.push(format!(
                "certificate {count} of `--ca` is not valid before {}",
                from.text
            ));
        }
        if until.seconds - now < SOON {
            warnings.push(format!(
                "certificate {count} of `--ca` is valid until {} only",
                until.text
            ));
        }
        rest = behind;
    }
    if count == 0 {
        return Err(wrong("has no certificate in PEM format"));
    }
    Ok(warnings)
}

fn wrong(what: &str) -> Error {
    Error::Usage {
        what: format!("the file of `--ca` {what}"),
    }
}

/// A time of a certificate.
#[derive(Debug, PartialEq, Eq)]
struct Time {
    /// Since 1970.
    seconds: i64,
    /// Its day, as `2026-12-01`.
    text: String,
}

/// From when until when a certificate is valid; `None` where it is not one.
fn validity(der: &[u8]) -> Option<(Time, Time)> {
    let mut whole = Der(der);
    let mut certificate = Der(whole.expect(SEQUENCE)?);
    if !whole.0.is_empty() {
        return None;
    }
    let mut signed = Der(certificate.expect(SEQUENCE)?);
    let (tag, _) = signed.next()?;
    if tag == VERSION {
        signed.expect(INTEGER)?; // the serial number
    } else if tag != INTEGER {
        return None;
    }
    signed.expect(SEQUENCE)?; // the algorithm
    signed.expect(SEQUENCE)?; // the issuer
    let mut validity = Der(signed.expect(SEQUENCE)?);
    signed.expect(SEQUENCE)?; // the subject
    signed.expect(SEQUENCE)?; // its key
    Some((time(validity.next()?)?, time(validity.next()?)?))
}

/// The rest of a DER structure.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value, with its tag.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            let (bytes, rest) = rest.split_at_checked(count)?;
            if count == 0 || count > 3 {
                return None;
            }
            let length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, value))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, value) = self.next()?;
        (found == tag).then_some(value)
    }
}

/// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from then on.
fn time((tag, text): (u8, &[u8])) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let field = |at: usize| number(rest.get(at..at + 2)?);
    let (month, day) = (field(0)?, field(2)?);
    let (hour, minute, second) = (field(4)?, field(6)?, field(8)?);
    let is_time = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61
        && rest.len() == 10;
    is_time.then(|| Time {
        seconds: days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second,
        text: format!("{year:04}-{month:02}-{day:02}"),
    })
}

fn number(digits: &str) -> Option<i64> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// Days since 1970 in the Gregorian calendar; years begin in March, so that the day of a leap year is the last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// 2026-06-01.
    const NOW: i64 = 1_780_272_000;

    fn authority(from: (i32, u8, u8), until: (i32, u8, u8)) -> String {
        let mut params = CertificateParams::new(vec!["ca.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    fn error(text: &str) -> String {
        check(text, NOW).unwrap_err().to_string()
    }

    #[test]
    fn what_is_valid_for_long_causes_no_word() {
        let early = authority((2020, 1, 1), (2036, 2, 29));
        let late = authority((1999, 12, 31), (2120, 1, 1));
        for text in [&early, &format!("# ours\n{early}\nand\n{late}")] {
            assert_eq!(check(text, NOW).unwrap(), [""; 0]);
        }
    }

    #[test]
    fn an_expired_authority_is_refused_and_one_that_will_expire_soon_named() {
        let good = authority((2020, 1, 1), (2036, 1, 1));
        let expired = authority((2020, 1, 1), (2026, 5, 31));
        assert_eq!(
            error(&format!("{good}{expired}")),
            "the file of `--ca` has an expired certificate, number 2: it was valid until 2026-05-31"
        );
        let soon = check(&authority((2020, 1, 1), (2026, 8, 1)), NOW).unwrap();
        assert_eq!(
            soon,
            ["certificate 1 of `--ca` is valid until 2026-08-01 only"]
        );
        let later = check(&authority((2027, 1, 1), (2036, 1, 1)), NOW).unwrap();
        assert_eq!(
            later,
            ["certificate 1 of `--ca` is not valid before 2027-01-01"]
        );
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let good = authority((2020, 1, 1), (2036, 1, 1));
        let cut = good.replacen(END, "", 1);
        let damaged = good.replacen("MI", "MJ", 1);
        let body: String = good.lines().skip(1).take(3).collect();
        for (text, why) in [
            ("", "no certificate"),
            ("hello", "no certificate"),
            (body.as_str(), "no certificate"),
            (cut.as_str(), "breaks off"),
            (damaged.as_str(), "damaged certificate, number 1"),
            (&format!("{BEGIN}\n{END}"), "damaged certificate, number 1"),
            (
                &format!("{good}{BEGIN}\nAAAA\n{END}"),
                "damaged certificate, number 2",
            ),
            ("-----BEGIN PRIVATE KEY-----", "private key"),
        ] {
            let error = error(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for (date, expected) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11016),
            ((2000, 3, 1), 11017),
            ((2026, 6, 1), NOW / 86400),
            ((2100, 3, 1), 47541),
        ] {
            assert_eq!(days(date.0, date.1, date.2), expected, "{date:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = validity(&bytes);
        }

        #[test]
        fn no_change_of_a_certificate_makes_it_panic(at in 0_usize..400, byte: u8) {
            let pem = authority((2020, 1, 1), (2036, 1, 1));
            let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            let mut der = STANDARD.decode(body).unwrap();
            let at = at % der.len();
            der[at] = byte;
            let _ = validity(&der);
        }
    }
}
