//! Compressed members one after the other in one file, as `cat` and parallel compressors leave them, and zeros behind
//! the last: those of tape blocks and sectors. `gzip -t` and `bzip2 -t` accept them too.

use std::fmt;
use std::io::{self, BufRead, Read};

/// How many members in a row may hold nothing: a file of nothing else never unpacks to anything.
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
            Self::Other => "something follows after its end that does not belong to it",
            Self::BehindZeros => "zeros follow after its end, and then something else",
        })
    }
}

impl std::error::Error for Trailing {}

impl Trailing {
    /// Whether `error` says that something follows after the end.
    pub fn of(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        inner.downcast_ref().copied()
    }

    /// The same as an error of reading.
    pub fn error(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }
}

/// One kind of member, and the decoder of one of them.
#[derive(Clone, Copy, Debug)]
pub struct Kind<R, D> {
    /// Its first byte; not 0.
    pub first: u8,
    /// Makes the decoder of one member, which reads no more of the input than that.
    pub begin: fn(R) -> D,
    /// Gives the input back.
    pub end: fn(D) -> R,
}

/// Unpacks members until the input ends.
#[derive(Debug)]
pub struct Members<R, D> {
    kind: Kind<R, D>,
    state: State<R, D>,
    /// Members in a row that held nothing.
    empty: u32,
}

#[derive(Debug)]
enum State<R, D> {
    /// Between two members, or before the first.
    Between(R),
    /// In one; whether anything has come out of it.
    Within(D, bool),
    Ended,
}

impl<R: BufRead, D: Read> Members<R, D> {
    /// Reads members of `kind` from `input`.
    pub fn new(input: R, kind: Kind<R, D>) -> Self {
        Self {
            kind,
            state: State::Between(input),
            empty: 0,
        }
    }

    /// What comes after a member: the next one, or the end.
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
                    self.empty = if has_data { 0 } else { self.empty + 1 };
                    if self.empty > EMPTY_MOST {
                        let why = format!("more than {EMPTY_MOST} members in a row hold nothing");
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
pub fn skip_zeros(input: &mut impl BufRead) -> io::Result<()> {
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

    /// What comes out, whatever the input is cut into.
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
    fn anything_else_behind_the_last_is_told_from_zeros() {
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
    fn members_that_hold_nothing_come_to_an_end() {
        let nothing = member(b"");
        let error = unpack(&nothing.repeat(1500)).unwrap_err();
        assert!(error.to_string().contains("members in a row"), "{error}");
        let mixed = [nothing.repeat(900), member(b"x")].concat();
        assert_eq!(unpack(&mixed.repeat(3)).unwrap(), b"xxx");
    }
}
