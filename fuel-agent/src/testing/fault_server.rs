//! A small HTTP server with scripted faults: for tests, here and in other crates (feature `fixtures`).
//!
//! One thread and one request per connection. Nothing is timed: a stalled reply waits until the client hangs up.

use std::fmt;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// A request that the server has received.
#[derive(Clone, Debug, Default)]
pub struct ReceivedRequest {
    /// Number of requests before it.
    pub number: usize,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl ReceivedRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// Start of the requested range, and its end (not included) if stated.
    pub fn range(&self) -> Option<(usize, Option<usize>)> {
        let (first, last) = self
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let end = last.parse::<usize>().ok().map(|last| last + 1);
        Some((first.parse().ok()?, end))
    }
}

/// How a reply fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    #[default]
    None,
    /// The connection is closed after this many bytes of the body.
    DropAt(usize),
    /// The connection is reset after this many bytes of the body.
    ResetAt(usize),
    /// Nothing is sent after this many bytes of the body.
    StallAt(usize),
    /// Nothing is sent after the middle of the headers.
    StallInHead,
}

/// A scripted reply.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers other than `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Value of `Content-Length`; by default the length of the body.
    pub length: Option<usize>,
    /// Whether `Content-Length` is omitted.
    pub without_length: bool,
    /// Bytes sent instead of head and body.
    pub garbage: Option<Vec<u8>>,
    /// How sending it fails.
    pub fault: Fault,
}

impl Reply {
    /// A reply without headers and body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// 200 with a body, whatever range was requested.
    pub fn whole(body: &[u8]) -> Self {
        Self {
            status: 200,
            body: body.to_vec(),
            ..Self::default()
        }
    }

    /// The reply of a correct server: ranges, `If-Range` and an entity tag.
    pub fn file(request: &ReceivedRequest, bytes: &[u8], etag: &str) -> Self {
        let tagged = |reply: Self| reply.header("ETag", etag).header("Accept-Ranges", "bytes");
        let same = request.header("if-range").is_none_or(|tag| tag == etag);
        let Some((start, end)) = request.range().filter(|_| same) else {
            return tagged(Self::whole(bytes));
        };
        let end = end.unwrap_or(bytes.len()).min(bytes.len());
        if start >= end {
            let range = format!("bytes */{}", bytes.len());
            return tagged(Self::status(416)).header("Content-Range", &range);
        }
        let range = format!("bytes {start}-{}/{}", end - 1, bytes.len());
        tagged(Self {
            status: 206,
            body: bytes[start..end].to_vec(),
            ..Self::default()
        })
        .header("Content-Range", &range)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets how sending it fails.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    fn head(&self) -> String {
        let mut text = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", self.status);
        if !self.without_length {
            let length = self.length.unwrap_or(self.body.len());
            let _ = write!(text, "Content-Length: {length}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text + "\r\n"
    }
}

/// A connection, with or without TLS.
pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

type Script = Arc<Mutex<dyn FnMut(&ReceivedRequest) -> Reply + Send>>;
type Wrap = Arc<dyn Fn(TcpStream) -> io::Result<Box<dyn Wire>> + Send + Sync>;

/// The server; it ends when dropped.
pub struct FaultServer {
    address: SocketAddr,
    log: Arc<Mutex<Vec<ReceivedRequest>>>,
    ending: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl FaultServer {
    /// Listens on the loopback interface and answers as `script` says.
    pub fn start(
        script: impl FnMut(&ReceivedRequest) -> Reply + Send + 'static,
    ) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_with(address, script, |stream| Ok(Box::new(stream)))
    }

    /// Listens on `address` and passes every connection through `wrap`, for TLS.
    pub fn start_with(
        address: SocketAddr,
        script: impl FnMut(&ReceivedRequest) -> Reply + Send + 'static,
        wrap: impl Fn(TcpStream) -> io::Result<Box<dyn Wire>> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let ending = Arc::new(AtomicBool::new(false));
        let script: Script = Arc::new(Mutex::new(script));
        let wrap: Wrap = Arc::new(wrap);
        let (log_of_thread, ending_of_thread) = (Arc::clone(&log), Arc::clone(&ending));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ending_of_thread.load(Ordering::SeqCst) {
                    return;
                }
                let (script, log) = (Arc::clone(&script), Arc::clone(&log_of_thread));
                let wrap = Arc::clone(&wrap);
                // many tests are about clients that hang up
                thread::spawn(move || drop(converse(stream, &wrap, &script, &log)));
            }
        });
        Ok(Self {
            address,
            log,
            ending,
            accepting: Some(accepting),
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An `http://` URL of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // wakes the thread that accepts
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl fmt::Debug for FaultServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn converse(
    stream: TcpStream,
    wrap: &Wrap,
    script: &Script,
    log: &Mutex<Vec<ReceivedRequest>>,
) -> io::Result<()> {
    let mut wire = wrap(stream)?;
    let (mut request, unread) = read_request(&mut *wire)?;
    let reply = {
        // under both locks: requests are numbered in the order of their answers
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        request.number = log.len();
        log.push(request.clone());
        script(&request)
    };
    answer(&mut *wire, &reply, unread)
}

/// Reads a request; returns whether one byte of it was left unread.
fn read_request(wire: &mut dyn Wire) -> io::Result<(ReceivedRequest, bool)> {
    let mut head = Vec::new();
    let mut byte = [0];
    // byte by byte, and the last line feed of the head is left unread: closing then resets the connection
    while !head.ends_with(b"\r\n\r") {
        wire.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let mut request = ReceivedRequest {
        method: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
        ..ReceivedRequest::default()
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        request
            .headers
            .push((name.to_lowercase(), value.trim().to_owned()));
    }
    let Some(length) = request.header("content-length") else {
        return Ok((request, true));
    };
    let length = length.parse::<usize>().map_err(io::Error::other)?;
    wire.read_exact(&mut byte)?;
    request.body = vec![0; length];
    wire.read_exact(&mut request.body)?;
    Ok((request, false))
}

fn answer(wire: &mut dyn Wire, reply: &Reply, unread: bool) -> io::Result<()> {
    if let Some(garbage) = &reply.garbage {
        wire.write_all(garbage)?;
        return hang_up(wire, unread);
    }
    let head = reply.head();
    if reply.fault == Fault::StallInHead {
        wire.write_all(&head.as_bytes()[..20])?;
        wire.flush()?;
        return wait_for_hang_up(wire);
    }
    wire.write_all(head.as_bytes())?;
    let length = reply.body.len();
    let cut = match reply.fault {
        Fault::None | Fault::StallInHead => length,
        Fault::DropAt(at) | Fault::ResetAt(at) | Fault::StallAt(at) => at.min(length),
    };
    wire.write_all(&reply.body[..cut])?;
    wire.flush()?;
    match reply.fault {
        Fault::StallAt(_) => wait_for_hang_up(wire),
        // the unread line feed makes it a reset
        Fault::ResetAt(_) => Ok(()),
        Fault::None | Fault::DropAt(_) | Fault::StallInHead => hang_up(wire, unread),
    }
}

/// Closes without a reset: everything that the client sent is read.
fn hang_up(wire: &mut dyn Wire, unread: bool) -> io::Result<()> {
    wire.flush()?;
    if unread {
        wire.read_exact(&mut [0])?;
    }
    Ok(())
}

fn wait_for_hang_up(wire: &mut dyn Wire) -> io::Result<()> {
    let mut rest = [0; 64];
    while wire.read(&mut rest)? > 0 {}
    Ok(())
}
