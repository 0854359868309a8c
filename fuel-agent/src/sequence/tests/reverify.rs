//! The setting `reverify` in whole runs: what becomes of a node whose stamp is right and whose disks may not be.

use host::units::Bytes;

use super::world::{BUILT, FAILED, World, run, settings};
use crate::model::error::{Error, Kind};
use crate::model::report::{ComparedChunks, ReverifiedImage};
use crate::settings::{Reverify, Settings};

/// A comparison that found so many of 46 chunks to differ, of an image that an installation leaves alone or not.
fn compared(differing_chunks: usize, left_as_written: bool) -> (ReverifiedImage, Option<Error>) {
    let image = ReverifiedImage {
        url: "http://h/usr.img.zst".to_owned(),
        place: "/usr".to_owned(),
        left_as_written,
        compared: Some(ComparedChunks {
            chunks: 46,
            differing_chunks,
            bytes: Bytes(46 << 20),
            differing_bytes: Bytes(0),
        }),
        not_compared: None,
    };
    (image, None)
}

#[test]
fn a_node_that_was_changed_is_reported_installed_or_refused_as_the_setting_says() {
    use Reverify::{Fail, No, Reinstall, Report};
    // policy, chunks that differ, whether an installation leaves the image alone; exit status, installs, warns
    for (reverify, differing, left_alone, status, installs, warns) in [
        (No, 3, true, 0, false, 0),
        (Report, 3, true, 0, false, 1),
        (Report, 0, true, 0, false, 0),
        (Report, 3, false, 0, false, 0),
        (Reinstall, 3, true, 0, true, 1),
        (Reinstall, 0, true, 0, false, 0),
        (Reinstall, 3, false, 0, false, 1),
        (Fail, 3, true, 5, false, 1),
        (Fail, 0, true, 0, false, 0),
        (Fail, 3, false, 0, false, 1),
    ] {
        let case = format!("{reverify:?} {differing} {left_alone}");
        let world = World::with(|script| {
            script.installed = Some("i-7".to_owned());
            script.reverified = vec![compared(differing, left_alone)];
        });
        let settings = Settings {
            reverify,
            ..settings()
        };
        let left = run(&world, &settings, true);
        assert_eq!(left.exit_status(), status, "{case}");
        assert_eq!(left.did("step"), installs, "{case}");
        assert_eq!(left.did("compare the images"), reverify != No, "{case}");
        assert_eq!(left.did(&format!("call {BUILT}")), status == 0, "{case}");
        assert_eq!(left.did(&format!("call {FAILED}")), status != 0, "{case}");
        let warnings = left.report["warnings"].as_array().unwrap().iter();
        let ours = warnings.filter(|it| {
            it.as_str().unwrap().contains("/usr") || it.as_str().unwrap().contains("`reverify`")
        });
        assert_eq!(ours.count(), warns, "{case}");
        let installed = status == 0 && !installs;
        assert_eq!(left.report["already_installed"], installed, "{case}");
        let found = &left.report["reverified"];
        if reverify == No {
            assert!(found.is_null(), "{case}");
        } else {
            assert_eq!(found[0]["differing_chunks"], differing, "{case}");
            assert_eq!(found[0]["left_as_written"], left_alone, "{case}");
        }
    }
}

#[test]
fn what_keeps_an_image_from_being_compared_is_reported_and_fails_where_it_would_have_decided() {
    for (reverify, status) in [
        (Reverify::Report, 0),
        (Reverify::Reinstall, 6),
        (Reverify::Fail, 6),
    ] {
        let world = World::with(|script| {
            script.installed = Some("i-7".to_owned());
            let (mut image, _) = compared(0, true);
            image.compared = None;
            image.not_compared = Some("no answer".to_owned());
            let error = Error::new(Kind::Image, "no answer");
            script.reverified = vec![(image, Some(error))];
        });
        let settings = Settings {
            reverify,
            ..settings()
        };
        let left = run(&world, &settings, true);
        assert_eq!(left.exit_status(), status, "{reverify:?}");
        assert!(!left.did("step"), "{reverify:?}");
        let warning = "/usr was not compared with http://h/usr.img.zst: no answer";
        let warnings = left.report["warnings"].as_array().unwrap();
        assert!(warnings.contains(&warning.into()), "{warnings:?}");
    }
}
