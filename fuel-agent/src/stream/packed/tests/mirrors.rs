//! Several servers: slow, wrong, or down.

use super::*;
use crate::source::policy::DeltaPolicy;

fn with(mirrors: &[&FaultServer]) -> PackedPolicy {
    PackedPolicy {
        mirrors: mirrors
            .iter()
            .map(|server| server.url("/").into())
            .collect(),
        delta: DeltaPolicy::Never,
        ..PackedPolicy::default()
    }
}

fn corrupt_server(published: &Published) -> FaultServer {
    let mut other = published.clone();
    for byte in &mut other.data {
        *byte ^= 0x10;
    }
    let manifest = published.text();
    FaultServer::start(move |request| match request.target.as_str() {
        "/x.img.zst" => Reply::file(request, &other.data, "\"b\""),
        "/x.manifest.json" => Reply::file(request, &manifest, "\"m\""),
        _ => Reply::status(404),
    })
    .unwrap()
}

#[test]
fn a_mirror_with_other_bytes_is_dropped_and_named_and_no_wrong_byte_is_written() {
    let published = Published::of(image(12 * MIB));
    let (good, bad) = (published.serve(), corrupt_server(&published));
    let devices = dirty(12 * MIB);
    let done = install(&devices, &url(&good), &with(&[&bad]));
    done.outcome();
    assert!(content(&devices, 0, 12 * MIB) == published.raw);
    let mirrors = &done.packed().mirrors;
    let of = |server: &FaultServer| {
        let name = url(server);
        mirrors.iter().find(|it| it.url == name).unwrap()
    };
    assert_eq!(of(&good).dropped, None);
    let why = of(&bad).dropped.clone();
    if of(&bad).fetched_bytes > Bytes::ZERO {
        assert!(
            why.unwrap().contains("does not match the manifest"),
            "{mirrors:?}"
        );
    }
}

#[test]
fn random_bit_errors_do_not_drop_the_only_server() {
    let published = Published::of(image(12 * MIB));
    // each of the first two answers has one wrong bit in a different chunk: no chunk is wrong three times
    let server = published.serve_data(|_, mut reply, count| {
        if count < 2 {
            let middle = reply.body.len() / 2;
            reply.body[middle] ^= 1;
        }
        reply
    });
    let devices = dirty(12 * MIB);
    install(&devices, &url(&server), &with(&[])).outcome();
    assert!(content(&devices, 0, 12 * MIB) == published.raw);
}

#[test]
fn the_only_server_is_dropped_if_a_chunk_stays_wrong() {
    let published = Published::of(image(12 * MIB));
    let server = published.serve_data(|_, mut reply, _| {
        reply.body[0] ^= 1;
        reply
    });
    let devices = dirty(12 * MIB);
    let error = install(&devices, &url(&server), &with(&[]))
        .result
        .unwrap_err();
    assert!(
        error.to_string().contains("does not match the manifest"),
        "{error}"
    );
}

#[test]
fn mirrors_that_are_down_or_have_another_file_do_not_matter() {
    let published = Published::of(image(12 * MIB));
    let other = Published::of(image(3 * MIB));
    let good = published.serve();
    let (empty, another) = (serving(BTreeMap::new()), other.serve());
    let devices = dirty(12 * MIB);
    let done = install(&devices, &url(&good), &with(&[&empty, &another]));
    done.outcome();
    assert!(content(&devices, 0, 12 * MIB) == published.raw);
    for mirror in &done.packed().mirrors {
        // the transfer may have ended before the others were used
        let is_good = mirror.url == url(&good);
        assert!(!is_good || mirror.dropped.is_none(), "{mirror:?}");
        assert!(is_good || mirror.fetched_bytes == Bytes::ZERO, "{mirror:?}");
    }
}

#[test]
fn a_mirror_stands_in_for_a_server_that_is_down() {
    let published = Published::of(image(5 * MIB));
    let mirror = published.serve();
    let down = FaultServer::start(|_| Reply::status(404)).unwrap();
    let devices = dirty(5 * MIB);
    let rules = with(&[&mirror]);
    // a missing manifest is a fact, not a failure: the server has to be down
    let address = url(&down);
    drop(down);
    let impatient = HttpSettings {
        retry_budget: Duration::from_millis(20),
        ..settings()
    };
    let client = Client::new(&impatient, Cancel::new()).unwrap();
    let probe_options = ProbeOptions {
        mirrors: &rules.mirrors,
        ..ProbeOptions::default()
    };
    let facts = probe_images(&client, &[spec(&address)], probe_options)
        .unwrap()
        .images[address.as_str()]
    .clone();
    write_known(&devices, &address, &rules, &facts, &client).outcome();
    assert!(content(&devices, 0, 5 * MIB) == published.raw);
}

#[test]
fn when_all_servers_are_dropped_all_are_named() {
    let published = Published::of(image(5 * MIB));
    let bad = corrupt_server(&published);
    let gone = published.serve_data(|_, _, _| Reply::status(403));
    let devices = dirty(5 * MIB);
    let done = install(&devices, &url(&gone), &with(&[&bad]));
    let error = done.result.unwrap_err().to_string();
    assert!(
        error.contains("403") && error.contains("does not match the manifest"),
        "{error}"
    );
    assert!(content(&devices, 0, MIB).iter().all(|byte| *byte == 0));
}

#[test]
fn a_mirror_that_stalls_does_not_hold_up_the_end() {
    let published = Published::of(image(12 * MIB));
    let good = published.serve();
    let slow = published
        .serve_data(|_, reply, _| reply.fault(crate::testing::fault_server::Fault::StallAt(3)));
    let devices = dirty(12 * MIB);
    // the mirror's own stall timeout is 30 s; the test would time out rather than fail
    install(&devices, &url(&good), &with(&[&slow])).outcome();
    assert!(content(&devices, 0, 12 * MIB) == published.raw);
}
