//! What speaks against images: their facts, their digests, and what they are trusted by.

use host::units::Bytes;

use crate::model::digest::{Algorithm, StatedDigest};
use crate::model::error::Kind;
use crate::model::inventory::Inventory;
use crate::model::plan::RefusedBy;
use crate::model::request::Container;
use crate::model::sources::{SourceFacts, Sources};
use crate::model::trust::ImagePolicy;
use crate::plan::{CountedIds, Options, plan};
use crate::testing::sample_request::{URL, empty_disk, known, lvm_request, mib, node, plan_of};

fn machine() -> Inventory {
    node(vec![empty_disk("/dev/sda", 20480)])
}

fn only(refused: Vec<(RefusedBy, Kind, String)>) -> (RefusedBy, Kind, String) {
    assert_eq!(refused.len(), 1, "{refused:?}");
    refused.into_iter().next().unwrap()
}

fn with_facts(change: impl FnOnce(&mut SourceFacts)) -> Vec<(RefusedBy, Kind, String)> {
    let mut sources = known();
    change(sources.images.get_mut(URL).unwrap());
    let plan = plan(
        &lvm_request(),
        &machine(),
        &sources,
        &Options::default(),
        &mut CountedIds::default(),
    )
    .unwrap();
    plan.refusals
        .into_iter()
        .map(|refusal| (refusal.by, refusal.kind, refusal.what))
        .collect()
}

#[test]
fn images_are_refused_for_what_they_are() {
    type Change = fn(&mut SourceFacts);
    let table: [(Change, RefusedBy, &str); 5] = [
        (
            |facts| facts.raw_md5 = None,
            RefusedBy::Run,
            "comes without a digest, so its transfer cannot be verified",
        ),
        (
            |facts| facts.problem = Some("not found".to_owned()),
            RefusedBy::Run,
            "cannot be used: not found",
        ),
        (
            |facts| facts.problem = Some(format!("{URL} holds qcow2")),
            RefusedBy::Run,
            "holds qcow2",
        ),
        (
            |facts| facts.container = Some(Container::Zstd),
            RefusedBy::Run,
            "is zstd, but the request says gzip",
        ),
        (
            |facts| facts.raw_size_bytes = Some(Bytes(mib(4096).0 + 1)),
            RefusedBy::Plan,
            "unpacks to 4294967297 B, but /dev/mapper/os-root has 4 GiB",
        ),
    ];
    for (change, by, what) in table {
        let refused = only(with_facts(change));
        assert_eq!(refused, (by, Kind::Image, format!("{URL} {what}")));
    }
}

#[test]
fn a_digest_of_the_request_that_the_server_contradicts_is_refused_and_both_are_named() {
    let refused = |sha256: &str, md5: &str| {
        let mut request = lvm_request();
        request.images[0].digests.sha256 = Some(sha256.repeat(64));
        request.images[0].digests.md5 = Some(md5.to_owned());
        let plan = plan_of(&request, &machine()).unwrap();
        let refused: Vec<String> = plan.refusals.iter().map(|it| it.what.clone()).collect();
        (plan.images[0].facts.clone(), refused)
    };
    let known = "5d41402abc4b2a76b9719d911017c592";
    let (facts, refusals) = refused("a", known);
    assert_eq!(refusals, [""; 0]);
    let [stated] = facts.stated.as_slice() else {
        panic!("{:?}", facts.stated)
    };
    let of_request = StatedDigest::new(Algorithm::Sha256, &"a".repeat(64), "the request");
    assert_eq!(*stated, of_request.requested());
    let (_, refusals) = refused("a", &"0".repeat(32));
    let zeros = "0".repeat(32);
    assert_eq!(
        refusals,
        [format!(
            "{URL} has two digests: its metadata says md5 {known}, the request says {zeros}"
        )]
    );
}

#[test]
fn a_strict_node_refuses_what_others_are_warned_of() {
    type Change = fn(&mut SourceFacts);
    let planned = |strict: bool, change: fn(&mut SourceFacts)| {
        let mut sources = known();
        change(sources.images.get_mut(URL).unwrap());
        let images = ImagePolicy {
            strict,
            ..ImagePolicy::default()
        };
        let options = Options {
            images,
            allow_unverified: true,
            ..Options::default()
        };
        let ids = &mut CountedIds::default();
        plan(&lvm_request(), &machine(), &sources, &options, ids).unwrap()
    };
    let http = "comes by plain http, and so does its digest: anything between server and node can replace both";
    let md5 = "is vouched for by an md5 alone, of which forgeries can be made";
    let table: [(Change, &[&str]); 4] = [
        (|_| (), &[http, md5]),
        (|facts| facts.raw_sha256 = Some("a".repeat(64)), &[http]),
        (|facts| facts.raw_md5 = None, &["comes without a digest"]),
        (|facts| facts.signed_by = Some("57DD".to_owned()), &[md5]),
    ];
    for (change, doubts) in table {
        let warned = |doubt: &&str| format!("{URL} {doubt}");
        let plan = planned(false, change);
        assert_eq!(plan.refusals, []);
        assert_eq!(plan.warnings, doubts.iter().map(warned).collect::<Vec<_>>());
        let plan = planned(true, change);
        let refused = plan.refusals.iter().map(|it| (it.kind, it.what.clone()));
        let expected = doubts
            .iter()
            .map(|doubt| (Kind::Refused, warned(doubt) + "; `trust=strict` is set"));
        assert_eq!(refused.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_digest_of_the_request_stands_in_for_a_server_that_was_not_asked() {
    let mut request = lvm_request();
    request.images[0].digests.blake3 = Some("b".repeat(64));
    let nothing = Sources::default();
    let options = Options::default();
    let plan = plan(
        &request,
        &machine(),
        &nothing,
        &options,
        &mut CountedIds::default(),
    )
    .unwrap();
    let facts = &plan.images[0].facts;
    assert!(facts.has_digest() && facts.is_unknown());
    assert_eq!(facts.stated[0].algorithm, Algorithm::Blake3);
}

#[test]
fn an_image_that_was_not_looked_up_is_only_warned_of() {
    let plan = plan(
        &lvm_request(),
        &machine(),
        &Sources::default(),
        &Options::default(),
        &mut CountedIds::default(),
    )
    .unwrap();
    assert_eq!(plan.refusals, []);
    assert_eq!(
        plan.warnings,
        [format!("{URL} was not checked (`--offline`)")]
    );
}
