//! Callbacks at the end of a run: their URLs and bodies, and which answers count as accepted.

use serde::{Deserialize, Serialize};

use super::template::{Facts, Place, UnknownName, render};
use crate::http::Notice;
use crate::model::error::{Error, Kind};
use crate::model::url::RedactedUrl;
use crate::settings::{Callback, End};

/// A call with everything filled in: it can be kept and made later.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// HTTP method.
    pub method: String,
    /// URL, filled in.
    #[serde(serialize_with = "RedactedUrl::serialize_revealed")]
    pub url: RedactedUrl,
    /// HTTP headers, name and value.
    pub headers: Vec<(String, String)>,
    /// Body of the request.
    pub body: String,
    /// Statuses that mean "accepted"; empty: 200 to 299.
    pub expect_status: Vec<u16>,
    /// What the answer has to be, white space at its ends taken off.
    pub expect_body: Option<String>,
}

impl Call {
    /// As the network room has it.
    pub fn notice(&self) -> Notice<'_> {
        Notice {
            method: &self.method,
            url: self.url.reveal(),
            headers: &self.headers,
            body: &self.body,
            expect_status: &self.expect_status,
            expect_body: self.expect_body.as_deref(),
        }
    }
}

impl std::fmt::Debug for Call {
    /// Without what may be a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// What is still owed to the orchestrator: kept in the run folder until it is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingCompletion {
    /// The HTTP call.
    pub call: Call,
    /// Identity of the request that was carried out.
    pub request_digest: String,
    /// What the run would have done at its end.
    pub end: End,
}

/// The names that templates may use, and what they stand for.
pub const NAMES: &[(&str, &str)] = &[
    (
        "result",
        "the report's `result`, like `installed` or `already-installed`",
    ),
    ("exit_status", "the exit status of the run"),
    ("hostname", "the node's host name, as in the request"),
    (
        "name",
        "Cobbler's system: `slave_name` of the request, else `name`",
    ),
    (
        "mac",
        "address of the managed interface, else of the one that booted",
    ),
    ("uuid", "the machine's UUID, as its firmware says"),
    (
        "serial",
        "the machine's serial number, as its firmware says",
    ),
    (
        "host_key",
        "fingerprint of the ramdisk's ssh host key, like `SHA256:…`",
    ),
    (
        "instance_id",
        "identifier of this installation, as cloud-init sees it",
    ),
    ("request_digest", "sha256 of the request"),
    ("generation", "the request's `generation`, if it has one"),
    ("stage", "the stage that failed"),
    ("error", "what failed, with its causes"),
    ("hint", "what to try"),
    ("device", "the disk or partition concerned"),
    (
        "retryable",
        "`true` where the same request may well succeed next time",
    ),
    ("touched", "`true` where a disk has been written to"),
    ("report", "the whole report, as JSON"),
];

/// The call that a callback's settings and the facts give; `None` where no callback is set.
pub fn call(callback: &Callback, facts: &Facts) -> Result<Option<Call>, Error> {
    let Some(template) = &callback.url else {
        return Ok(None);
    };
    let unknown = |what: &str| {
        let what = format!("cannot fill in the {what} of a callback");
        move |error: UnknownName| {
            let hint = match error.0.as_str() {
                "name" => {
                    "the request has neither `slave_name` nor `name`: add one, or use `{hostname}`"
                }
                _ => "docs/commands.md lists the names that can be used",
            };
            Error::new(Kind::Usage, what).because(error).hint(hint)
        }
    };
    let url = render(template.reveal(), facts, Place::Url).map_err(unknown("URL"))?;
    let url = RedactedUrl::from(url);
    checked(&url)?;
    let mut headers = Vec::new();
    for (name, value) in &callback.headers {
        let value = render(value, facts, Place::Header).map_err(unknown("headers"))?;
        headers.push((name.clone(), value));
    }
    let kind = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .map(|(_, value)| value.to_ascii_lowercase());
    let place = callback
        .body
        .as_deref()
        .map_or(Place::Json, |body| place_of_body(body, kind.as_deref()));
    let body = match &callback.body {
        Some(body) => render(body, facts, place).map_err(unknown("body"))?,
        None => own_body(facts),
    };
    if kind.is_none() && place == Place::Json {
        let header = ("Content-Type".to_owned(), "application/json".to_owned());
        headers.push(header);
    }
    Ok(Some(Call {
        method: callback.method.clone().unwrap_or_else(|| "POST".to_owned()),
        url,
        headers,
        body,
        expect_status: callback.expect_status.clone(),
        expect_body: callback.expect_body.clone(),
    }))
}

/// Whether a URL can be called at all.
fn checked(url: &RedactedUrl) -> Result<(), Error> {
    let wrong = |why: &str| {
        Error::new(Kind::Usage, format!("cannot call `{url}`"))
            .because(why)
            .hint("a callback is a URL like `http://host/path`")
    };
    let parsed = url::Url::parse(url.reveal()).map_err(|error| wrong(&error.to_string()))?;
    match parsed.scheme() {
        "http" | "https" if parsed.host().is_some() => Ok(()),
        _ => Err(wrong("it is neither http nor https")),
    }
}

/// How values in a body are escaped: by its content type, else by what it begins with.
fn place_of_body(body: &str, content_type: Option<&str>) -> Place {
    match content_type {
        Some(kind) if kind.contains("json") => Place::Json,
        Some(kind) if kind.starts_with("application/x-www-form-urlencoded") => Place::Url,
        Some(_) => Place::Text,
        None => match body.trim_start().as_bytes() {
            // `{name}` at its beginning is a name to fill in, `{"name"` is JSON.
            [b'{', second, ..] if !second.is_ascii_lowercase() => Place::Json,
            [b'[', ..] => Place::Json,
            _ => Place::Text,
        },
    }
}

/// The body where the settings give none: everything that is known but the report.
fn own_body(facts: &Facts) -> String {
    let mut body = serde_json::Map::new();
    for (name, _) in NAMES.iter().filter(|(name, _)| *name != "report") {
        let value = facts.get(name).map_or("", String::as_str);
        let value = match (*name, value) {
            (_, "") => continue,
            (_, "true") => true.into(),
            (_, "false") => false.into(),
            ("exit_status", number) => number.parse().unwrap_or(0_u8).into(),
            (_, text) => text.into(),
        };
        body.insert((*name).to_owned(), value);
    }
    serde_json::Value::Object(body).to_string()
}

/// Facts as they might be: what `validate` fills templates with.
pub fn sample() -> Facts {
    NAMES
        .iter()
        .map(|(name, _)| match *name {
            "exit_status" => (*name, "0".to_owned()),
            "report" => (*name, "{}".to_owned()),
            _ => (*name, "x".to_owned()),
        })
        .collect()
}

/// Whether both callbacks can be made: every name known, every URL well formed; `named`: whether the request has the
/// orchestrator's name for the node. Gives their URLs, filled in with what might be, the one of the completion first.
pub fn check(
    success: &Callback,
    failure: &Callback,
    named: bool,
) -> Result<Vec<RedactedUrl>, Error> {
    let mut facts = sample();
    if !named {
        facts.remove("name");
    }
    let calls = [call(success, &facts)?, call(failure, &facts)?];
    Ok(calls.into_iter().flatten().map(|call| call.url).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let mut facts = sample();
        facts.insert("hostname", "node-7".to_owned());
        facts.insert("error", "it \"broke\"".to_owned());
        facts.insert("touched", "true".to_owned());
        facts.insert("hint", String::new());
        facts
    }

    fn callback(url: &str) -> Callback {
        Callback {
            url: Some(url.into()),
            ..Callback::default()
        }
    }

    #[test]
    fn nobody_is_told_without_a_url() {
        assert_eq!(call(&Callback::default(), &facts()).unwrap(), None);
    }

    #[test]
    fn our_own_body_says_what_is_known() {
        let call = call(&callback("http://h/built"), &facts())
            .unwrap()
            .unwrap();
        assert_eq!(call.method, "POST");
        insta::assert_snapshot!(call.body, @r#"{"result":"x","exit_status":0,"hostname":"node-7","name":"x","mac":"x","uuid":"x","serial":"x","host_key":"x","instance_id":"x","request_digest":"x","generation":"x","stage":"x","error":"it \"broke\"","device":"x","retryable":"x","touched":true}"#);
        assert_eq!(call.headers[0].1, "application/json");
    }

    #[test]
    fn values_are_escaped_as_the_body_needs_it() {
        for (header, body, text) in [
            (None, r#"{"e":"{error}"}"#, r#"{"e":"it \"broke\""}"#),
            (None, "{error}", r#"it "broke""#),
            (
                Some("application/x-www-form-urlencoded"),
                "e={error}",
                "e=it%20%22broke%22",
            ),
            (Some("text/plain"), "{\"{error}", r#"{"it "broke""#),
        ] {
            let callback = Callback {
                headers: header
                    .map(|kind| ("Content-Type".to_owned(), kind.to_owned()))
                    .into_iter()
                    .collect(),
                body: Some(body.to_owned()),
                ..callback("http://h/")
            };
            assert_eq!(call(&callback, &facts()).unwrap().unwrap().body, text);
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused_before_anything_is_done() {
        for url in [
            "",
            "built",
            "ftp://h/",
            "http://",
            "http://h/{nme}",
            "file:///x",
        ] {
            let error = check(&callback(url), &Callback::default(), true).unwrap_err();
            assert_eq!(error.kind, Kind::Usage, "{url}");
            let error = check(&Callback::default(), &callback(url), true).unwrap_err();
            assert_eq!(error.kind, Kind::Usage, "{url}");
        }
        check(
            &callback("https://h/{hostname}?m={mac}"),
            &Callback::default(),
            false,
        )
        .unwrap();
    }

    #[test]
    fn the_orchestrators_name_is_missed_before_anything_is_done() {
        for url in ["http://h/{name}", "http://h/%7Bname%7D"] {
            let urls = check(&callback(url), &Callback::default(), true).unwrap();
            assert_eq!(urls[0].reveal(), "http://h/x");
            let error = check(&callback(url), &Callback::default(), false).unwrap_err();
            assert_eq!(error.kind, Kind::Usage);
            assert_eq!(error.causes(), ["`{name}` stands for nothing"]);
            assert_eq!(
                error.hint.as_deref(),
                Some(
                    "the request has neither `slave_name` nor `name`: add one, or use `{hostname}`"
                )
            );
        }
    }

    #[test]
    fn a_call_does_not_print_its_secrets() {
        let call = call(&callback("http://h/?token=t0p"), &facts())
            .unwrap()
            .unwrap();
        assert!(!format!("{call:?}").contains("t0p"));
    }
}
