//! Concatenated compressed members in one file, as `cat` and parallel compressors write them, and zeros after the last
//! one, as padding of tape blocks and sectors. `gzip -t` and `bzip2 -t` accept both too.

use std::fmt;
use std::io::{self, BufRead, Read};

/// Maximum number of empty members in a row: a file of empty members only would be read for ever.
const EMPTY_MOST: u32 = 1000;

/// What follows after the last member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trailing {
    /// Bytes that do not begin a member.
    Other,
    /// Zeros, and then something else.
    BehindZeros,
}

impl fmt::Display for Trailing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Other => "other data follows after its end",
            Self::BehindZeros => "zeros and then other data follow after its end",
        })
    }
}

impl std::error::Error for Trailing {}

impl Trailing {
    /// The `Trailing` in an error of reading, if it is one.
    pub fn of(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        inner.downcast_ref().copied()
    }

    /// An I/O error with this as its source.
    pub fn error(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }
}

/// A format of members, and its decoder.
#[derive(Clone, Copy, Debug)]
struct Kind<R, D> {
    /// First byte of every member; not 0.
    first: u8,
    /// Makes the decoder of one member. It must not read beyond the member's end.
    begin: fn(R) -> D,
    /// Returns the input of a decoder.
    end: fn(D) -> R,
}

/// Unpacks members until the input ends.
#[derive(Debug)]
pub struct Members<R, D> {
    kind: Kind<R, D>,
    state: State<R, D>,
    /// Number of empty members in a row.
    empty: u32,
}

#[derive(Debug)]
enum State<R, D> {
    /// Between two members, or before the first.
    Between(R),
    /// In a member; whether it has returned any bytes.
    Within(D, bool),
    Ended,
}

impl<R: BufRead, D: Read> Members<R, D> {
    /// Reads members of `kind` from `input`.
    fn new(input: R, kind: Kind<R, D>) -> Self {
        Self {
            kind,
            state: State::Between(input),
            empty: 0,
        }
    }

    /// The state after a member: the next one, or the end.
    fn next(&self, mut input: R, is_first: bool) -> io::Result<State<R, D>> {
        let first = input.fill_buf()?.first().copied();
        match first {
            None if is_first => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Ok(State::Ended),
            Some(0) if !is_first => skip_zeros(&mut input).map(|()| State::Ended),
            Some(byte) if byte == self.kind.first || is_first => {
                Ok(State::Within((self.kind.begin)(input), false))
            }
            Some(_) => Err(Trailing::Other.error()),
        }
    }
}

impl<R: BufRead, D: Read> Read for Members<R, D> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if target.is_empty() {
            return Ok(0);
        }
        let mut is_first = matches!(self.state, State::Between(_));
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Ok(0),
                State::Between(input) => self.next(input, is_first)?,
                State::Within(mut decoder, has_data) => {
                    let count = match decoder.read(target) {
                        Ok(count) => count,
                        Err(error) => {
                            self.state = State::Within(decoder, has_data);
                            return Err(error);
                        }
                    };
                    if count > 0 {
                        self.state = State::Within(decoder, true);
                        return Ok(count);
                    }
                    self.empty = if has_data {
                        0
                    } else {
                        self.empty.saturating_add(1)
                    };
                    if self.empty > EMPTY_MOST {
                        let why = format!("more than {EMPTY_MOST} members in a row are empty");
                        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                    }
                    is_first = false;
                    State::Between((self.kind.end)(decoder))
                }
            };
        }
    }
}

/// Reads zeros up to the end of `input`; anything else is an error.
pub(crate) fn skip_zeros(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(Trailing::BehindZeros.error());
        }
        let count = bytes.len();
        input.consume(count);
    }
}

/// Members of gzip (RFC 1952).
pub fn gzip<R: BufRead>(input: R) -> Members<R, flate2::bufread::GzDecoder<R>> {
    let kind = Kind {
        first: 0x1f,
        begin: flate2::bufread::GzDecoder::new,
        end: flate2::bufread::GzDecoder::into_inner,
    };
    Members::new(input, kind)
}

/// Streams of bzip2.
pub fn bzip2<R: BufRead>(input: R) -> Members<R, bzip2::bufread::BzDecoder<R>> {
    let kind = Kind {
        first: b'B',
        begin: bzip2::bufread::BzDecoder::new,
        end: bzip2::bufread::BzDecoder::into_inner,
    };
    Members::new(input, kind)
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use super::*;

    fn member(bytes: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::fast();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The unpacked bytes, which must not depend on how the input is split.
    fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
        let read = |length| {
            let mut raw = Vec::new();
            let input = BufReader::with_capacity(length, packed);
            gzip(input).read_to_end(&mut raw).map(|_| raw)
        };
        let (whole, cut) = (read(1 << 20), read(1));
        assert_eq!(whole.as_ref().ok(), cut.as_ref().ok());
        whole
    }

    #[test]
    fn members_follow_each_other_and_zeros_the_last() {
        let (a, b, nothing) = (member(b"one"), member(b" two"), member(b""));
        for zeros in [0, 1, 511, 10_240] {
            let zeros = vec![0; zeros];
            let packed = [&a[..], &nothing, &b, &zeros].concat();
            assert_eq!(unpack(&packed).unwrap(), b"one two");
        }
    }

    #[test]
    fn other_data_after_the_last_member_is_distinguished_from_zeros() {
        let a = member(b"one");
        for (tail, trailing) in [
            (&b"{\"metadata\": 1}"[..], Trailing::Other),
            (&[0, 0, 0, 7], Trailing::BehindZeros),
            (&[&[0; 600][..], &a].concat(), Trailing::BehindZeros),
        ] {
            let error = unpack(&[&a[..], tail].concat()).unwrap_err();
            assert_eq!(Trailing::of(&error), Some(trailing), "{error}");
        }
        // no member of the kind at all
        let error = unpack(b"one").unwrap_err();
        assert_eq!(Trailing::of(&error), None);
        assert!(unpack(b"").is_err());
    }

    #[test]
    fn a_file_of_empty_members_is_an_error() {
        let nothing = member(b"");
        let error = unpack(&nothing.repeat(1500)).unwrap_err();
        assert!(error.to_string().contains("members in a row"), "{error}");
        let mixed = [nothing.repeat(900), member(b"x")].concat();
        assert_eq!(unpack(&mixed.repeat(3)).unwrap(), b"xxx");
    }
}
