//! What the orchestrator says: the request in each dialect, settings, templates.

use std::path::Path;

use fuel_agent::request::{self, Driver};
use fuel_agent::sequence::template::{self, Facts, Place};
use fuel_agent::settings::{cmdline, file, merge};

use crate::choice;

/// The first byte chooses the dialect.
pub(crate) fn request(input: &[u8]) {
    let Some((first, document)) = choice(input) else {
        return;
    };
    let _ = request::is_missing(document);
    let Ok(text) = request::utf8(document) else {
        return;
    };
    let driver = match first % 5 {
        0 => Driver::Auto,
        1 => Driver::Nailgun,
        2 => Driver::NailgunSimple,
        3 => Driver::Ironic,
        _ => Driver::Native,
    };
    match request::load(text, driver) {
        Ok(request) => assert_eq!(request.digest.len(), 64),
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                let shown = format!("{}{}{}", problem.path, problem.what, problem.hint);
                assert!(!shown.contains('\u{1b}'), "{shown:?}");
            }
        }
    }
}

/// A ready-made configdrive, in any of its wrappings.
pub(crate) fn configdrive(input: &[u8]) {
    let most = 1 << 20;
    if let Ok(ready) = configdrive::ready::unwrap(input.to_vec(), most) {
        assert!(ready.bytes.len() <= most, "more than there is room for");
    }
}

/// The kernel's command line, and the file of settings.
pub(crate) fn settings(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let kernel = cmdline::entries(text);
    let file = file::parse(text, Path::new("settings")).unwrap_or_default();
    if let Err(error) = merge(&[kernel, file]) {
        let _ = host::error::one_line(&error);
    }
}

/// Up to the first zero byte a value, then a template.
pub(crate) fn template(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let (value, template) = text.split_once('\0').unwrap_or((text, "{error}"));
    let facts = Facts::from([("error", value.to_owned()), ("mac", value.to_owned())]);
    for place in [Place::Url, Place::Header, Place::Json, Place::Text] {
        let _ = template::render(template, &facts, place);
    }
    let alone = |place| template::render("<{error}>", &facts, place).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "<>-._~:%".contains(c);
    assert!(alone(Place::Url).chars().all(plain));
    assert!(!alone(Place::Header).contains(char::is_control));
    let json = template::render(r#"{"e": "{error}"}"#, &facts, Place::Json).unwrap_or_default();
    let read: Option<serde_json::Value> = serde_json::from_str(&json).ok();
    let back = read.as_ref().and_then(|it| it.get("e")?.as_str());
    assert_eq!(back, Some(value), "{json}");
}
