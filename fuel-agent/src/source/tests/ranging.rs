//! Ranges of a file, or an error that says what is wrong with the answer.

use host::cancel::Cancel;

use crate::http::pace::Pace;
use crate::http::tests::{client, content, scripted, settings};
use crate::http::{Client, HttpError};
use crate::pool::Pool;
use crate::source::range::{Answer, ByteRange, RangeFile, RangeOptions};
use crate::testing::fault_server::{FaultServer, Reply};

fn wanted(start: u64, lengths: &[u32]) -> ByteRange {
    ByteRange {
        start,
        lengths: lengths.to_vec(),
    }
}

/// Context of a request; it has to outlive the pieces.
struct Asker(Client, Pool, Cancel);

impl Asker {
    fn new() -> Self {
        Self(client(&settings()), Pool::new(4, 5000), Cancel::new())
    }

    fn ask(
        &self,
        url: &str,
        length: u64,
        wanted: &ByteRange,
        whole: bool,
    ) -> Result<Answer, HttpError> {
        let options = RangeOptions {
            client: &self.0,
            pool: &self.1,
            stop: &self.2,
            deadline: None,
            pace: &Pace::new(1),
        };
        RangeFile::new(url, length)?.ask(options, wanted, whole)
    }
}

fn pieces(answer: Result<Answer, HttpError>) -> Result<Vec<Vec<u8>>, HttpError> {
    let Answer::Pieces(mut pieces) = answer? else {
        panic!("no pieces");
    };
    let mut all = Vec::new();
    while let Some(piece) = pieces.advance()? {
        all.push(piece.to_vec());
    }
    Ok(all)
}

#[test]
fn pieces_have_the_lengths_that_were_asked_for() {
    let asker = Asker::new();
    let bytes = content(20_000);
    let server = scripted(&bytes, vec![]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, &bytes).unwrap();
    for url in [server.url("/x"), format!("file://{}", path.display())] {
        let parts = wanted(700, &[1, 4999, 5000, 3]);
        let found = pieces(asker.ask(&url, 20_000, &parts, false)).unwrap();
        let expected = [
            &bytes[700..701],
            &bytes[701..5700],
            &bytes[5700..10_700],
            &bytes[10_700..10_703],
        ];
        assert!(found == expected, "{url}");
    }
    assert_eq!(
        server.requests()[0].header("range"),
        Some("bytes=700-10702")
    );
}

#[test]
fn all_of_it_is_cut_up_too() {
    let asker = Asker::new();
    let bytes = content(9000);
    let server = FaultServer::start(move |_| Reply::whole(&content(9000))).unwrap();
    let parts = wanted(0, &[4000, 5000]);
    assert!(matches!(
        asker.ask(&server.url("/x"), 9000, &parts, false),
        Ok(Answer::NoRanges)
    ));
    let found = pieces(asker.ask(&server.url("/x"), 9000, &parts, true)).unwrap();
    assert!(found.concat() == bytes && found.len() == 2);
}

#[test]
fn a_file_of_another_length_is_another_file() {
    let asker = Asker::new();
    let server = scripted(&content(9000), vec![]);
    let url = server.url("/x");
    for (start, whole, found) in [
        (0, false, Some(9000)),
        (0, true, Some(9000)),
        (9500, false, None),
    ] {
        let answer = asker.ask(&url, 10_000, &wanted(start, &[100]), whole);
        assert!(
            matches!(answer, Ok(Answer::OtherLength(length)) if length == found),
            "{start} {whole}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, [1, 2, 3]).unwrap();
    let answer = asker.ask(
        &format!("file://{}", path.display()),
        4,
        &wanted(0, &[1]),
        false,
    );
    assert!(matches!(answer, Ok(Answer::OtherLength(Some(3)))));
}

#[test]
fn answers_that_are_not_the_part_are_errors_that_may_pass() {
    let asker = Asker::new();
    let bytes = content(9000);
    let part = |range: &str| Reply {
        status: 206,
        ..Reply::whole(&bytes[100..200]).header("Content-Range", range)
    };
    for (what, reply) in [
        ("it sends bytes 0 to 100", part("bytes 0-99/9000")),
        ("it sends bytes 100 to 300", part("bytes 100-299/9000")),
        ("does not say which", part("items 100-199/9000")),
        (
            "ends in the middle",
            Reply {
                body: bytes[100..150].to_vec(),
                ..part("bytes 100-199/9000")
            },
        ),
        (
            "more than was requested",
            Reply {
                body: bytes[100..250].to_vec(),
                ..part("bytes 100-199/9000")
            },
        ),
        ("503", Reply::status(503)),
    ] {
        let server = scripted(&bytes, vec![reply]);
        let result = pieces(asker.ask(&server.url("/x"), 9000, &wanted(100, &[60, 40]), false));
        match result {
            Err(error) => {
                assert!(error.is_transient(), "{what}: {error}");
                assert!(error.to_string().contains(what), "{what}: {error}");
            }
            // the pieces are complete before the surplus is noticed, and nothing reads on
            Ok(found) => {
                assert_eq!(what, "more than was requested");
                assert!(found.concat() == bytes[100..200]);
            }
        }
    }
}
