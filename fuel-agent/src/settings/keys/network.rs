//! How long is waited for servers and disks, and whom TLS trusts.

use super::{PLAIN, SWITCH};
use crate::settings::key::{Key, Layers};
use crate::settings::value::{list, time, yes};
use host::units::Bytes;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "notify.budget",
        value: "TIME",
        default: "5m",
        help: "How long a run repeats the completion call before it ends with status 9.",
        set: |settings, value| {
            settings.notify_budget = time(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "discover.wait",
        value: "TIME",
        default: "30s",
        help: "How long to wait for disks that the request names.",
        set: |settings, value| {
            settings.discover_wait = time(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "http.connect",
        value: "TIME",
        default: "10s",
        help: "How long connecting may take.",
        set: |settings, value| {
            settings.http.connect_timeout = time(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "http.stall",
        value: "TIME",
        default: "30s",
        help: "How long a connection may deliver nothing.",
        set: |settings, value| {
            settings.http.stall_timeout = time(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "http.total",
        value: "TIME",
        default: "0",
        help: "How long fetching one image may take in all; 0 means no limit.",
        set: |settings, value| {
            let limit = time(value)?;
            settings.http.total_timeout = (!limit.is_zero()).then_some(limit);
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "http.least_rate",
        value: "SIZE",
        default: "64 KiB",
        help: "How much an image's server has to deliver in a second, on average over 10 minutes; `0 B` means any \
              rate.",
        set: |settings, value| {
            let rate: Bytes = value.parse().map_err(|error| format!("{error}"))?;
            settings.http.least_rate = (rate > Bytes(0)).then_some(rate);
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "http.retry",
        value: "TIME",
        default: "2m",
        help: "How long retries of a transfer may go on without any new byte.",
        set: |settings, value| {
            settings.http.retry_budget = time(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "ca",
        value: "FILE[,FILE]",
        many: true,
        layers: Layers::United,
        closed_by: Some("ca_only"),
        help: "PEM files with certificate authorities that are trusted in addition to the public ones.",
        set: |settings, value| {
            let files = list(value).into_iter().map(Into::into);
            settings.http.authorities.extend(files);
            Ok(())
        },
        ..PLAIN
    },
    Key {
        name: "ca_only",
        layers: Layers::Strictest("yes"),
        help: "Trust no public authority, only those of `ca`. It holds if any layer sets it; stronger layers cannot \
              add to `ca` then.",
        set: |settings, value| {
            settings.http.only_given_authorities = yes(value)?;
            Ok(())
        },
        ..SWITCH
    },
];
