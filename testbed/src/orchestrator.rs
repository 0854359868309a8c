//! A small orchestrator: it decides by MAC address what a node boots, serves its request and receives its completion.
//!
//! | request | answer |
//! |---|---|
//! | `GET /boot?mac=M` | an iPXE script: boot the ramdisk until M is installed, its disk afterwards |
//! | `GET /request?mac=M` | M's `provision.json` |
//! | `POST /done?mac=M` | the completion: M is installed from now on |
//! | `POST /failed?mac=M` | the failure callback: recorded |
//! | `POST /alive?mac=M` | phone-home of cloud-init on the installed system: recorded |

use std::collections::HashMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Result, anyhow};
use tiny_http::{Method, Request, Response, Server};
use url::Url;

use crate::events::{Events, Source};

/// Parameter for kernels of nodes: without it a kernel panics if an emulated timer interrupt is late, as on a busy
/// machine.
pub(crate) const NO_TIMER_CHECK: &str = "no_timer_check";

/// What a node boots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NodeState {
    /// The ramdisk.
    #[default]
    Install,
    /// Its disk.
    Installed,
}

/// A node that the orchestrator knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// What it boots.
    pub(crate) state: NodeState,
    /// Its `provision.json`; `None` where the request is pushed.
    pub(crate) request: Option<String>,
    /// Kernel parameters of its ramdisk.
    pub(crate) parameters: String,
    /// How many completions are refused with status 503 before one is accepted.
    pub(crate) refuse_completions: u32,
    /// The body of its last completion or failure callback.
    pub(crate) report: Option<String>,
    /// The body of the last phone-home of its installed system: a form with its host keys.
    pub(crate) host_keys: Option<String>,
}

/// The nodes by MAC address. Clones share them with the threads that answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orchestrator {
    nodes: Arc<Mutex<HashMap<String, Node>>>,
}

/// Status and body.
type Answer = (u16, String);

impl Orchestrator {
    /// Starts answering on `address`; the thread ends with the process.
    pub(crate) fn start(address: SocketAddr, files: &str, events: &Events) -> Result<Self> {
        let orchestrator = Self::default();
        orchestrator.listen(address, files, events)?;
        Ok(orchestrator)
    }

    /// Answers on one more address, for the same nodes.
    pub(crate) fn listen(&self, address: SocketAddr, files: &str, events: &Events) -> Result<()> {
        let server = Server::http(address)
            .map_err(|error| anyhow!("cannot listen on {address}: {error}"))?;
        let (nodes, files, events) = (self.clone(), files.to_owned(), events.clone());
        thread::spawn(move || {
            for request in server.incoming_requests() {
                nodes.serve(request, &files, &events);
            }
        });
        Ok(())
    }

    /// Adds a node, or replaces it.
    pub(crate) fn set_node(&self, mac: &str, node: Node) {
        self.with(|nodes| nodes.insert(mac.to_owned(), node));
    }

    /// Refuses the next `times` completions of a node.
    pub(crate) fn refuse_completions(&self, mac: &str, times: u32) {
        self.with(|nodes| {
            if let Some(node) = nodes.get_mut(mac) {
                node.refuse_completions = times;
            }
        });
    }

    /// A copy of the node.
    pub(crate) fn node(&self, mac: &str) -> Option<Node> {
        self.with(|nodes| nodes.get(mac).cloned())
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Node>) -> T) -> T {
        act(&mut self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn serve(&self, mut request: Request, files: &str, events: &Events) {
        let mut body = String::new();
        // If the connection breaks the body is cut short, and the node repeats the request.
        let _ = request.as_reader().take(8 << 20).read_to_string(&mut body);
        let (method, target) = (request.method().clone(), request.url().to_owned());
        let (status, text) = self.answer(&method, &target, body, files);
        events.record(Source::Orchestrator, format!("{method} {target} {status}"));
        // An error means that the connection is gone: the node repeats the request.
        let _ = request.respond(Response::from_string(text).with_status_code(status));
    }

    fn answer(&self, method: &Method, target: &str, body: String, files: &str) -> Answer {
        let Ok(url) = Url::parse("http://orchestrator/").and_then(|base| base.join(target)) else {
            return (400, "not a valid URL\n".to_owned());
        };
        let mac = url
            .query_pairs()
            .find(|(key, _)| key == "mac")
            .map(|(_, mac)| mac.to_lowercase().replace('-', ":"));
        let Some(mac) = mac else {
            return (400, "the query parameter `mac` is missing\n".to_owned());
        };
        self.with(|nodes| {
            let Some(node) = nodes.get_mut(&mac) else {
                return (404, format!("unknown node {mac}\n"));
            };
            match (method, url.path()) {
                (Method::Get, "/boot") => (200, boot_script(node, files)),
                (Method::Get, "/request") => node
                    .request
                    .clone()
                    .map_or((404, "no request for this node\n".to_owned()), |text| {
                        (200, text)
                    }),
                (Method::Post, "/done") => completion(node, body),
                (Method::Post, "/failed") => {
                    node.report = Some(body);
                    (200, "recorded\n".to_owned())
                }
                (Method::Post, "/alive") => {
                    node.host_keys = Some(body);
                    (200, "recorded\n".to_owned())
                }
                _ => (404, "not found\n".to_owned()),
            }
        })
    }
}

fn completion(node: &mut Node, body: String) -> Answer {
    if node.refuse_completions > 0 {
        node.refuse_completions -= 1;
        return (503, "try again\n".to_owned());
    }
    node.state = NodeState::Installed;
    node.report = Some(body);
    (200, "accepted\n".to_owned())
}

fn boot_script(node: &Node, files: &str) -> String {
    match node.state {
        // `exit 1`: the firmware tries its next boot entry. After `exit 0` UEFI firmware stops at its menu.
        NodeState::Installed => {
            "#!ipxe\necho This node is installed: booting from its disk\nexit 1\n".to_owned()
        }
        NodeState::Install => format!(
            "#!ipxe\nkernel {files}/boot/vmlinuz initrd=ramdisk.img console=tty0 console=ttyS0,115200 \
             {NO_TIMER_CHECK} BOOTIF=01-${{netX/mac:hexhyp}} {}\n\
             initrd --name ramdisk.img {files}/boot/ramdisk.img\nboot\n",
            node.parameters
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "52:54:00:00:00:01";

    fn with_node(node: Node) -> Orchestrator {
        let orchestrator = Orchestrator::default();
        orchestrator.set_node(MAC, node);
        orchestrator
    }

    #[test]
    fn a_node_boots_the_ramdisk_until_its_completion() {
        let orchestrator = with_node(Node {
            parameters: "provision.x=y".to_owned(),
            ..Node::default()
        });
        let boot = |o: &Orchestrator| {
            o.answer(
                &Method::Get,
                "/boot?mac=52-54-00-00-00-01",
                String::new(),
                "http://f",
            )
            .1
        };
        let script = boot(&orchestrator);
        assert!(
            script.contains("kernel http://f/boot/vmlinuz") && script.contains("provision.x=y"),
            "{script}"
        );
        assert_eq!(
            orchestrator
                .answer(
                    &Method::Post,
                    &format!("/done?mac={MAC}"),
                    "{}".to_owned(),
                    ""
                )
                .0,
            200
        );
        assert!(
            boot(&orchestrator).ends_with("exit 1\n"),
            "UEFI stops after success"
        );
    }

    #[test]
    fn completions_are_refused_as_often_as_asked_for() {
        let orchestrator = with_node(Node::default());
        orchestrator.refuse_completions(MAC, 1);
        let done = || {
            orchestrator
                .answer(
                    &Method::Post,
                    &format!("/done?mac={MAC}"),
                    String::new(),
                    "",
                )
                .0
        };
        assert_eq!((done(), done()), (503, 200));
    }

    #[test]
    fn unknown_nodes_and_missing_requests_are_errors() {
        let orchestrator = with_node(Node::default());
        assert_eq!(
            orchestrator
                .answer(&Method::Get, "/boot?mac=1", String::new(), "")
                .0,
            404
        );
        assert_eq!(
            orchestrator
                .answer(&Method::Get, "/boot", String::new(), "")
                .0,
            400
        );
        assert_eq!(
            orchestrator
                .answer(
                    &Method::Get,
                    &format!("/request?mac={MAC}"),
                    String::new(),
                    ""
                )
                .0,
            404
        );
    }
}
