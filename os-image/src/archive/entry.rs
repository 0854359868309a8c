//! Combines a header with the extended headers before it into an entry, and locates its data.

use std::io::BufRead;

use super::extended::Extended;
use super::header::{Header, more_sparse};
use super::name;
use super::sparse::{self, Line, Map, PIECES_MOST, Piece};
use super::walk::{BLOCK_LENGTH, Before, padding};
use super::{Archive, ArchiveError, Entry, Kind, Name, Time};

impl<R: BufRead> Archive<R> {
    pub(super) fn entry(&mut self, header: &Header, before: Before) -> Result<Entry, ArchiveError> {
        let Before {
            mut extended,
            long_name,
            long_link,
            ..
        } = before;
        let mut names = [extended.sparse.name.take(), extended.path.take(), long_name].into_iter();
        let text = names.find_map(|name| name).unwrap_or_else(|| header.name());
        let shown = name::shown(&text);
        self.current = Some(shown.clone());
        let failed = |why: String| ArchiveError::Entry {
            entry: shown.clone(),
            why,
        };
        let plain = |why: &str| failed(why.to_owned());
        let name = Name::parse(&text).map_err(plain)?;
        let is_folder = text.ends_with(b"/") && matches!(header.kind(), b'0' | 0);
        let kind = self.kind(header, &mut extended, long_link, is_folder);
        let kind = kind.map_err(|why| match why {
            Unreadable::Entry(why) => failed(why),
            Unreadable::Archive(error) => error,
        })?;
        if name.is_root() && kind != Kind::Folder {
            return Err(plain("would replace the root"));
        }
        let modified = match extended.modified {
            Some(time) => time,
            None => Time {
                seconds: header.modified().map_err(plain)?,
                nanoseconds: 0,
            },
        };
        Ok(Entry {
            name,
            kind,
            mode: header.mode().map_err(plain)?,
            user: owner(extended.user, || header.user()).map_err(plain)?,
            group: owner(extended.group, || header.group()).map_err(plain)?,
            modified,
            attributes: extended.all_attributes().map_err(failed)?,
        })
    }

    /// The kind of the entry; for a regular file its data is located too.
    fn kind(
        &mut self,
        header: &Header,
        extended: &mut Extended,
        link: Option<Vec<u8>>,
        is_folder: bool,
    ) -> Result<Kind, Unreadable> {
        let size = extended.size.map_or_else(|| header.size(), Ok)?;
        if i64::try_from(size).is_err() {
            return Err(format!("has {size} bytes, more than a file can have").into());
        }
        let map = std::mem::take(&mut extended.sparse).map()?;
        match header.kind() {
            b'S' | b'0' | b'7' | 0 if !is_folder => self.file(header, map, size),
            _ if map != Map::Dense => Err("is sparse, but not a regular file".into()),
            _ if size > 0 => Err(format!("has {size} bytes of data, but its type has none").into()),
            b'5' | b'0' | 0 => Ok(Kind::Folder),
            other => {
                let link = extended.link.take().or(link);
                let link = link.unwrap_or_else(|| header.link().to_vec());
                Ok(special(other, header, link)?)
            }
        }
    }

    /// Locates the data segments of a file, and the next header.
    fn file(&mut self, header: &Header, map: Map, stored: u64) -> Result<Kind, Unreadable> {
        let (size, pieces, stored_data) = match (map, header.kind()) {
            (Map::Dense, b'S') => {
                let (size, pieces) = self.old_sparse(header)?;
                (size, pieces, stored)
            }
            (_, b'S') => return Err("is sparse in two formats at once".into()),
            (Map::Dense, _) => {
                let (offset, length) = (0, stored);
                (stored, vec![Piece { offset, length }], stored)
            }
            (Map::Known { size, pieces }, _) => (size, pieces, stored),
            (Map::InFront { size }, _) => {
                let (pieces, length) = self.map_in_front(stored)?;
                (size, pieces, stored.saturating_sub(length))
            }
        };
        if i64::try_from(size).is_err() {
            return Err(format!("has {size} bytes, more than a file can have").into());
        }
        self.pieces = sparse::checked(pieces, size, stored_data)?;
        self.pieces.reverse();
        self.padding = padding(stored);
        Ok(Kind::File { size })
    }

    /// GNU's old format: the map is in the header, and in blocks after it that do not count as data.
    fn old_sparse(&mut self, header: &Header) -> Result<(u64, Vec<Piece>), Unreadable> {
        let (fields, size) = header.sparse()?;
        let mut pieces = Vec::new();
        sparse::from_fields(&fields, &mut pieces)?;
        let mut is_extended = fields.is_extended;
        while is_extended {
            let block = self.block()?;
            let fields = more_sparse(&block);
            let before = pieces.len();
            sparse::from_fields(&fields, &mut pieces)?;
            is_extended = fields.is_extended;
            if is_extended && pieces.len() == before {
                return Err("has an empty block in its list of pieces".into());
            }
        }
        Ok((size, pieces))
    }

    /// Format 1.0: lines of decimal numbers in whole blocks before the data. Returns the segments and the length of
    /// those blocks in bytes.
    fn map_in_front(&mut self, stored: u64) -> Result<(Vec<Piece>, u64), Unreadable> {
        let (mut length, mut line) = (0_u64, Line::default());
        let (mut count, mut offset, mut pieces) = (None, None, Vec::new());
        loop {
            length = length.saturating_add(BLOCK_LENGTH);
            if length > stored {
                return Err("has a list of pieces that is longer than its data".into());
            }
            for byte in self.block()? {
                let Some(number) = line.push(byte)? else {
                    continue;
                };
                let Some(expected) = count else {
                    let most = usize::try_from(number).ok().filter(|it| *it <= PIECES_MOST);
                    let most = most.ok_or_else(|| {
                        format!("is in {number} pieces, but at most {PIECES_MOST} are supported")
                    })?;
                    count = Some(most);
                    if most == 0 {
                        return Ok((Vec::new(), length));
                    }
                    continue;
                };
                let Some(offset) = offset.take() else {
                    offset = Some(number);
                    continue;
                };
                pieces.push(Piece {
                    offset,
                    length: number,
                });
                if pieces.len() == expected {
                    return Ok((pieces, length));
                }
            }
        }
    }
}

/// Why the data of a file cannot be found.
enum Unreadable {
    /// The entry is invalid.
    Entry(String),
    /// The archive is invalid or cannot be read.
    Archive(ArchiveError),
}

impl From<String> for Unreadable {
    fn from(why: String) -> Self {
        Self::Entry(why)
    }
}

impl From<&str> for Unreadable {
    fn from(why: &str) -> Self {
        Self::Entry(why.to_owned())
    }
}

impl From<ArchiveError> for Unreadable {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// The kinds without data.
fn special(kind: u8, header: &Header, link: Vec<u8>) -> Result<Kind, String> {
    Ok(match kind {
        b'1' => Kind::HardLink {
            to: Name::parse(&link).map_err(|why| format!("is a link whose target {why}"))?,
        },
        b'2' if link.is_empty() || link.contains(&0) => {
            return Err("is a symbolic link without a target".to_owned());
        }
        b'2' => Kind::Symlink { to: link },
        b'3' => {
            let (major, minor) = header.device()?;
            Kind::Character { major, minor }
        }
        b'4' => {
            let (major, minor) = header.device()?;
            Kind::Block { major, minor }
        }
        b'6' => Kind::Pipe,
        b'D' => return Err("is part of an incremental archive".to_owned()),
        b'M' => return Err("continues a file of another volume".to_owned()),
        other => {
            let kind = char::from(other).escape_default();
            return Err(format!("has the unknown type `{kind}`"));
        }
    })
}

fn owner(
    extended: Option<u64>,
    header: impl FnOnce() -> Result<u64, &'static str>,
) -> Result<u32, &'static str> {
    let number = extended.map_or_else(header, Ok)?;
    // 2^32 - 1 means "no id"
    u32::try_from(number)
        .ok()
        .filter(|number| *number != u32::MAX)
        .ok_or("has an owner or group id that is too large")
}
