//! The calls at the end of a run: `success` and `failure`, with the same six keys each.

use super::PLAIN;
use crate::settings::key::Key;
use crate::settings::value::{
    put_body, put_expect_body, put_expect_status, put_header, put_method, put_url,
};

/// The six keys of a callback.
macro_rules! callback {
    ($field:ident, $help:literal) => {
        &[
            Key {
                name: stringify!($field),
                value: "URL",
                help: $help,
                set: |settings, value| put_url(&mut settings.$field, value),
                ..PLAIN
            },
            Key {
                name: concat!(stringify!($field), ".method"),
                value: "METHOD",
                default: "POST",
                help: "The method of that call.",
                set: |settings, value| put_method(&mut settings.$field, value),
                ..PLAIN
            },
            Key {
                name: concat!(stringify!($field), ".header"),
                value: "NAME: VALUE",
                many: true,
                help: "A header of that call; may be given more than once.",
                set: |settings, value| put_header(&mut settings.$field, value),
                ..PLAIN
            },
            Key {
                name: concat!(stringify!($field), ".body"),
                value: "TEXT",
                default: "a JSON object, see below",
                help: "The body of that call.",
                set: |settings, value| put_body(&mut settings.$field, value),
                ..PLAIN
            },
            Key {
                name: concat!(stringify!($field), ".expect_status"),
                value: "STATUS[,STATUS]",
                default: "200 to 299",
                help: "Statuses that mean that the call was accepted.",
                set: |settings, value| put_expect_status(&mut settings.$field, value),
                ..PLAIN
            },
            Key {
                name: concat!(stringify!($field), ".expect_body"),
                value: "TEXT",
                help: "Expected body of the answer, apart from white space at its ends; by default any.",
                set: |settings, value| put_expect_body(&mut settings.$field, value),
                ..PLAIN
            },
        ]
    };
}

pub(super) static SUCCESS: &[Key] = callback!(
    success,
    "URL to call when the node is installed. Without it no call is made."
);

pub(super) static FAILURE: &[Key] = callback!(
    failure,
    "URL to call when a run has failed. Without it no call is made."
);
