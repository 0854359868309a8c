//! Failing disks, servers that break off, cancellation.

use host::fake::{Fault, What};

use super::*;
use crate::model::error::{Error, Kind};
use crate::source::policy::DeltaPolicy;
use crate::testing::fault_server::Fault as Mishap;

fn full() -> PackedPolicy {
    PackedPolicy {
        delta: DeltaPolicy::Never,
        ..PackedPolicy::default()
    }
}

#[test]
fn a_fault_at_every_write_and_every_flush_is_an_error_of_the_disk() {
    let published = Published::of(image(6 * MIB + 512));
    let (_folder, url) = published.on_files();
    let good = dirty(7 * MIB);
    install(&good, &url, &full()).outcome();
    let count = |is: fn(&What) -> bool| good.log().iter().filter(|done| is(&done.what)).count();
    let writes = count(|what| matches!(what, What::Write(_) | What::Zero(_)));
    let flushes = count(|what| matches!(what, What::Flush));
    assert!(writes > 6 && flushes == 3, "{writes} {flushes}");
    let faults = (0..writes)
        .flat_map(|n| [Fault::Write(n), Fault::HalfWrite(n)])
        .chain((0..flushes).map(Fault::Flush));
    for fault in faults {
        let devices = dirty(7 * MIB).failing(fault);
        let error = install(&devices, &url, &full()).result.unwrap_err();
        assert!(
            matches!(error, StreamError::Disk { .. }),
            "{fault:?}: {error}"
        );
        let error = Error::from(error);
        assert_eq!(
            (error.kind, error.device.as_deref()),
            (Kind::Disk, Some(DISK))
        );
    }
}

#[test]
fn a_connection_that_breaks_is_made_again_and_nothing_comes_twice_on_the_disk() {
    let published = Published::of(image(9 * MIB));
    let mishaps: [fn(usize) -> Mishap; 3] = [
        |_| Mishap::DropAt(0),
        |length| Mishap::DropAt(length / 2),
        |length| Mishap::ResetAt(length * 2 / 3),
    ];
    for (number, mishap) in mishaps.into_iter().enumerate() {
        let server = published.serve_data(move |_, reply, count| {
            let length = reply.body.len();
            if count < 3 {
                reply.fault(mishap(length))
            } else {
                reply
            }
        });
        let devices = dirty(9 * MIB);
        let done = install(&devices, &url(&server), &full());
        assert!(done.outcome().retries >= 1, "{number}");
        assert!(content(&devices, 0, 9 * MIB) == published.raw, "{number}");
    }
}

#[test]
fn retry_after_is_obeyed() {
    let published = Published::of(image(5 * MIB));
    let server = published.serve_data(|_, reply, count| {
        if count < 4 {
            Reply::status(503).header("Retry-After", "0")
        } else {
            reply
        }
    });
    let devices = dirty(5 * MIB);
    let done = install(&devices, &url(&server), &full());
    assert!(done.outcome().retries >= 2);
    assert!(content(&devices, 0, 5 * MIB) == published.raw);
}

#[test]
fn answers_with_another_range_are_requested_again() {
    let published = Published::of(image(5 * MIB));
    let total = published.data.len();
    let wrong: Vec<Box<dyn Fn(Reply) -> Reply + Send>> = vec![
        Box::new(move |reply| {
            let range = format!("bytes 0-{}/{total}", total - 1);
            Reply {
                headers: vec![("Content-Range".to_owned(), range)],
                ..reply
            }
        }),
        Box::new(|reply| Reply {
            headers: Vec::new(),
            ..reply
        }),
        Box::new(|reply| Reply {
            length: Some(reply.body.len() / 2),
            ..reply
        }),
        Box::new(|reply| Reply {
            body: [reply.body.clone(), reply.body].concat(),
            ..reply
        }),
    ];
    for (number, wrong) in wrong.into_iter().enumerate() {
        let server = published.serve_data(
            move |_, reply, count| {
                if count < 2 { wrong(reply) } else { reply }
            },
        );
        let devices = dirty(5 * MIB);
        install(&devices, &url(&server), &full()).outcome();
        assert!(content(&devices, 0, 5 * MIB) == published.raw, "{number}");
    }
}

#[test]
fn a_server_without_ranges_that_breaks_off_starts_over() {
    let published = Published::of(image(9 * MIB));
    let copy = published.clone();
    let mut count = 0;
    let server = FaultServer::start(move |request| {
        let request = ReceivedRequest {
            headers: Vec::new(),
            ..request.clone()
        };
        let reply = copy.answer(&request);
        if request.target != "/x.img.zst" {
            return reply;
        }
        count += 1;
        let length = reply.body.len();
        if (3..6).contains(&count) {
            reply.fault(Mishap::DropAt(length / 2))
        } else {
            reply
        }
    })
    .unwrap();
    let devices = dirty(9 * MIB);
    install(&devices, &url(&server), &full()).outcome();
    assert!(content(&devices, 0, 9 * MIB) == published.raw);
}

#[test]
fn a_cancellation_is_noticed() {
    let published = Published::of(image(9 * MIB));
    let server = published.serve_data(|_, reply, _| reply.fault(Mishap::StallAt(10)));
    let url = url(&server);
    let facts = facts(&url, &full());
    let cancel = Cancel::new();
    let client = Client::new(&settings(), cancel.clone()).unwrap();
    let devices = dirty(9 * MIB);
    let seen = devices.clone();
    let stopper = std::thread::spawn(move || {
        // the first write shows that the transfer is running
        while !seen
            .log()
            .iter()
            .any(|done| matches!(done.what, What::Zero(_)))
        {
            std::thread::yield_now();
        }
        cancel.cancel();
    });
    let done = write_known(&devices, &url, &full(), &facts, &client);
    stopper.join().unwrap();
    let error = Error::from(done.result.unwrap_err());
    assert_eq!(error.kind, Kind::Interrupted);
    assert!(content(&devices, 0, MIB).iter().all(|byte| *byte == 0));
}

#[test]
fn a_server_that_is_down_is_dropped_within_the_budget() {
    let published = Published::of(image(5 * MIB));
    let server = published.serve_data(|_, _, _| Reply::status(503));
    let url = url(&server);
    let facts = facts(&url, &full());
    let impatient = HttpSettings {
        retry_budget: Duration::from_millis(20),
        ..settings()
    };
    let client = Client::new(&impatient, Cancel::new()).unwrap();
    let done = write_known(&dirty(5 * MIB), &url, &full(), &facts, &client);
    let error = Error::from(done.result.unwrap_err());
    assert_eq!((error.kind, error.retryable), (Kind::Image, true));
}
