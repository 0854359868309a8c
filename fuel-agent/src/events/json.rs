//! `--dialect json`: one object per line, the contract of docs/commands.md. Nothing else goes to standard output.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};

use super::sink::Sink;
use super::{Event, Events, clock};
use crate::model::stage::Stage;

/// Shortest interval between two progress events of one transfer; the last byte is always reported.
const PROGRESS: Duration = Duration::from_millis(500);

/// Prints events as JSON lines.
#[derive(Debug)]
pub struct Json {
    sink: Sink,
    /// Time of the last progress event of each transfer in this stage.
    last_reported: Mutex<Vec<(Stage, String, Instant)>>,
}

impl Json {
    /// Writes to `sink`.
    pub fn new(sink: Sink) -> Self {
        Self {
            sink,
            last_reported: Mutex::default(),
        }
    }

    /// Whether this event has to be printed now.
    fn due(&self, event: &Event) -> bool {
        let Event::Progress {
            stage,
            what,
            done_bytes,
            total_bytes,
        } = event
        else {
            return true;
        };
        let mut last_reported = self
            .last_reported
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last_reported.retain(|(last, _, _)| last == stage);
        let now = Instant::now();
        let Some((_, _, at)) = last_reported.iter_mut().find(|(_, last, _)| last == what) else {
            last_reported.push((*stage, what.clone(), now));
            return true;
        };
        let is_due = now.duration_since(*at) >= PROGRESS || *total_bytes == Some(*done_bytes);
        if is_due {
            *at = now;
        }
        is_due
    }
}

impl Events for Json {
    fn emit(&self, event: &Event) {
        self.emit_at(event, SystemTime::now());
    }

    fn emit_at(&self, event: &Event, time: SystemTime) {
        if let Some(object) = object(event)
            && self.due(event)
        {
            let mut line = Map::new();
            line.insert("time".to_owned(), Value::String(clock::rfc3339(time)));
            line.extend(object);
            self.sink.line(&Value::Object(line).to_string());
        }
    }
}

/// The event's object without its time; `None` if it is not part of the contract.
fn object(event: &Event) -> Option<Map<String, Value>> {
    let value = match event {
        Event::StageStart { stage } => json!({"event": "stage-start", "stage": stage}),
        Event::StageEnd { stage, took, ok } => {
            json!({"event": "stage-end", "stage": stage, "ok": ok, "took_ms": millis(*took)})
        }
        Event::Step { .. } => return None,
        Event::Progress {
            stage,
            what,
            done_bytes,
            total_bytes,
        } => json!({"event": "progress", "stage": stage, "what": what,
            "done_bytes": done_bytes, "total_bytes": total_bytes}),
        Event::Note { stage, message } => {
            json!({"event": "note", "stage": stage, "message": message})
        }
        Event::Warning { stage, message } => {
            json!({"event": "warning", "stage": stage, "message": message})
        }
        Event::Error {
            stage,
            message,
            device,
            hint,
            retryable,
            touched,
        } => json!({"event": "error", "stage": stage, "message": message, "device": device,
            "hint": hint, "retryable": retryable, "touched": touched}),
        Event::Report { report, path } => {
            json!({"event": "report", "path": path.as_deref().map(std::path::Path::display)
                .map(|path| path.to_string()), "report": report})
        }
    };
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// Milliseconds as a JSON number.
pub(crate) fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::sink::Shared;
    use super::*;

    fn printed(events: &[Event]) -> String {
        let stream = Shared::default();
        let json = Json::new(Sink::new(stream.clone()));
        for event in events {
            json.emit(event);
        }
        stream.text()
    }

    fn without_time(text: &str) -> String {
        text.lines()
            .map(|line| {
                let mut value: Value = serde_json::from_str(line).unwrap();
                let time = value.as_object_mut().unwrap().shift_remove("time").unwrap();
                assert!(time.as_str().unwrap().ends_with('Z'));
                value.to_string() + "\n"
            })
            .collect()
    }

    #[test]
    fn every_event_of_the_contract_has_its_object() {
        let stage = Stage::Image;
        let text = printed(&[
            Event::StageStart { stage },
            Event::Step {
                stage,
                number: 1,
                of: 2,
                what: "for people".to_owned(),
            },
            Event::Progress {
                stage,
                what: "root".to_owned(),
                done_bytes: 1,
                total_bytes: None,
            },
            Event::Warning {
                stage: None,
                message: "disk full".to_owned(),
            },
            Event::Error {
                stage,
                message: "digest differs".to_owned(),
                device: Some("/dev/sda2".to_owned()),
                hint: Some("build it again".to_owned()),
                retryable: true,
                touched: true,
            },
            Event::StageEnd {
                stage,
                took: Duration::from_millis(12),
                ok: false,
            },
            Event::Report {
                report: json!({"result": "failed"}),
                path: None,
            },
        ]);
        insta::assert_snapshot!(without_time(&text), @r#"
        {"event":"stage-start","stage":"image"}
        {"event":"progress","stage":"image","what":"root","done_bytes":1,"total_bytes":null}
        {"event":"warning","stage":null,"message":"disk full"}
        {"event":"error","stage":"image","message":"digest differs","device":"/dev/sda2","hint":"build it again","retryable":true,"touched":true}
        {"event":"stage-end","stage":"image","ok":false,"took_ms":12}
        {"event":"report","path":null,"report":{"result":"failed"}}
        "#);
    }

    #[test]
    fn progress_comes_seldom_but_its_end_always() {
        let stage = Stage::Image;
        let moved = |what: &str, done_bytes| Event::Progress {
            stage,
            what: what.to_owned(),
            done_bytes,
            total_bytes: Some(3),
        };
        // two transfers at the same time do not suppress each other's progress
        let text = printed(&[
            moved("a", 1),
            moved("b", 0),
            moved("a", 2),
            moved("b", 1),
            moved("a", 3),
            moved("b", 3),
        ]);
        let done: Vec<(String, Value)> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|it| (it["what"].to_string(), it["done_bytes"].clone()))
            .collect();
        let expected = [("a", 1), ("b", 0), ("a", 3), ("b", 3)];
        assert_eq!(
            done,
            expected.map(|(what, done)| (format!("\"{what}\""), json!(done)))
        );
    }
}
