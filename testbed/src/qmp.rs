//! QEMU's control socket (QMP: one JSON object a line, docs/interop/qmp-spec in QEMU's source): disks are removed from
//! a running VM and put into it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The longest wait for an answer or an event. A guest that is emulated takes its time to let a device go.
const TIMEOUT: Duration = Duration::from_mins(2);

/// A connection, ready for commands.
#[derive(Debug)]
pub(crate) struct Qmp {
    lines: BufReader<UnixStream>,
    /// Events that came while an answer was waited for.
    events: Vec<Value>,
}

impl Qmp {
    /// Connects to the socket of a running QEMU. It takes one connection at a time.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut qmp = Self {
            lines: BufReader::new(stream),
            events: Vec::new(),
        };
        qmp.read().context("QEMU did not greet")?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command; what it returns.
    pub(crate) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let line = json!({"execute": command, "arguments": arguments});
        self.lines
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())?;
        loop {
            let mut answer = self.read()?;
            if answer.get("event").is_some() {
                self.events.push(answer);
            } else if let Some(error) = answer.get("error") {
                bail!("QEMU refused `{command}`: {error}");
            } else {
                return Ok(answer["return"].take());
            }
        }
    }

    /// Waits for the event `name` about `device`.
    pub(crate) fn wait_for(&mut self, name: &str, device: &str) -> Result<()> {
        let is_it = |it: &Value| it["event"] == name && it["data"]["device"] == device;
        if self.events.iter().any(is_it) {
            return Ok(());
        }
        loop {
            let found = self
                .read()
                .with_context(|| format!("no event {name} of {device}"))?;
            if is_it(&found) {
                return Ok(());
            }
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            bail!("QEMU has closed its control socket");
        }
        Ok(serde_json::from_str(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": []}}"#;

    /// Greets one client and answers each of its lines with the next of `answers`; the commands that came.
    fn qemu(socket: &Path, answers: &[&str]) -> thread::JoinHandle<Vec<Value>> {
        let listener = UnixListener::bind(socket).unwrap();
        let answers: Vec<String> = answers.iter().map(|it| format!("{it}\n")).collect();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            stream
                .write_all(format!("{GREETING}\n").as_bytes())
                .unwrap();
            // in this order: after the last answer no further line is waited for
            let commands = answers.into_iter().zip(lines).map(|(answer, line)| {
                stream.write_all(answer.as_bytes()).unwrap();
                serde_json::from_str(&line.unwrap()).unwrap()
            });
            commands.collect()
        })
    }

    #[test]
    fn an_event_before_the_answer_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("qmp");
        let deleted = r#"{"event": "DEVICE_DELETED", "data": {"device": "A"}}
{"return": {}}"#;
        let server = qemu(&socket, &[r#"{"return": {}}"#, deleted]);
        let mut qmp = Qmp::connect(&socket).unwrap();
        qmp.execute("device_del", &json!({"id": "A"})).unwrap();
        qmp.wait_for("DEVICE_DELETED", "A").unwrap();
        let commands = server.join().unwrap();
        assert_eq!(
            commands[1],
            json!({"execute": "device_del", "arguments": {"id": "A"}})
        );
    }

    #[test]
    fn a_refusal_and_an_end_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("qmp");
        let refusal = r#"{"error": {"class": "DeviceNotFound", "desc": "Device 'B' not found"}}"#;
        let server = qemu(&socket, &[r#"{"return": {}}"#, refusal]);
        let mut qmp = Qmp::connect(&socket).unwrap();
        let error = qmp.execute("device_del", &json!({"id": "B"})).unwrap_err();
        assert!(error.to_string().contains("Device 'B' not found"));
        server.join().unwrap();
        let error = qmp.wait_for("DEVICE_DELETED", "B").unwrap_err();
        assert!(format!("{error:#}").contains("has closed its control socket"));
    }
}
