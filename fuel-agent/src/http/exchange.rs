//! The asynchronous side: connections, redirects, limits, and bodies on their way into the queue.

use std::future::Future;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use host::cancel::Cancel;
use reqwest::{Method, StatusCode, header};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use super::client::{Body, Command, HttpContext, PART_COUNT, Part, Request, Response};
use super::error::{Cause, HttpError};
use super::head::Head;
use super::local::Scope;
use super::pace::Pace;
use super::trust;
use crate::model::url::redacted;

/// Most redirects of one request.
const REDIRECTS: usize = 10;

/// Fewer bytes than this within the stall timeout count as a stall.
const MIN_BYTES_PER_STALL: usize = 1024;

/// Interval at which cancellation flags are polled.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Executes commands until the last client is dropped.
pub(super) async fn serve(
    mut commands: mpsc::UnboundedReceiver<Command>,
    context: Arc<HttpContext>,
) {
    while let Some(command) = commands.recv().await {
        let context = Arc::clone(&context);
        tokio::spawn(async move {
            match command {
                Command::Send { request, reply } => {
                    let stop = request.stop.clone();
                    let answer =
                        until_cancelled(&context.cancel, &stop, send(&context, &request)).await;
                    match answer {
                        Ok((url, response)) => {
                            let (parts, body) = mpsc::channel(PART_COUNT);
                            let mut head = Head::read(&response);
                            head.via = context.proxies.via(&url);
                            let body = Body {
                                parts: body,
                                ended: false,
                            };
                            // the caller may be gone: then the body is not needed
                            if reply.send(Ok(Response { head, body })).is_ok() {
                                deliver(&context, &request, &url, response, parts).await;
                            }
                        }
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
                Command::Pause {
                    duration,
                    stop,
                    reply,
                } => {
                    let pause = async {
                        sleep(duration).await;
                        Ok(())
                    };
                    drop(reply.send(until_cancelled(&context.cancel, &stop, pause).await));
                }
            }
        });
    }
}

/// Runs `work` until one of the flags is set.
async fn until_cancelled<T>(
    cancel: &Cancel,
    stop: &Cancel,
    work: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    let cancelled = async {
        while !cancel.is_cancelled() && !stop.is_cancelled() {
            sleep(POLL_INTERVAL).await;
        }
    };
    tokio::select! {
        biased;
        () = cancelled => Err(HttpError::Cancelled),
        result = work => result,
    }
}

/// Sends the request and follows redirects; returns the final URL and the response.
async fn send(
    context: &HttpContext,
    request: &Request,
) -> Result<(Url, reqwest::Response), HttpError> {
    let mut url = request.url.clone();
    for _ in 0..=REDIRECTS {
        let response = send_once(context, request, &url).await?;
        match redirect(request, &url, &response)? {
            Some(next) => {
                check_scope(context, &url, &next).await?;
                url = next;
            }
            None => return Ok((url, response)),
        }
    }
    Err(HttpError::Redirect {
        url: redacted(request.url.as_str()),
        why: format!("it was the {}th in a row", REDIRECTS + 1),
    })
}

async fn send_once(
    context: &HttpContext,
    request: &Request,
    url: &Url,
) -> Result<reqwest::Response, HttpError> {
    let settings = &context.settings;
    let time_limit = settings
        .connect_timeout
        .saturating_add(settings.stall_timeout);
    let mut builder = context
        .http
        .request(request.method.clone(), url.clone())
        .headers(request.headers.clone())
        // digests are of the file as it is: no content encoding, which proxies may add
        .header(header::ACCEPT_ENCODING, "identity");
    if request.method != Method::GET && request.method != Method::HEAD {
        builder = builder.body(request.body.clone());
    }
    let until = limit(deadline(time_limit), request);
    match timeout_at(until, builder.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(failure(context, url, &error)),
        Err(_) => Err(out_of_time(context, request, url, time_limit)),
    }
}

/// The earlier of `until` and the deadline of the request.
fn limit(until: Instant, request: &Request) -> Instant {
    match request.deadline {
        Some(deadline) => until.min(deadline.into()),
        None => until,
    }
}

fn out_of_time(context: &HttpContext, request: &Request, url: &Url, after: Duration) -> HttpError {
    let via = context.proxies.via(url);
    let url = redacted(url.as_str());
    let over = request
        .deadline
        .is_some_and(|deadline| Instant::from(deadline) <= Instant::now());
    match request.limit.or(context.settings.total_timeout) {
        Some(limit) if over => HttpError::TooSlow { url, limit },
        _ => HttpError::Stalled { url, after, via },
    }
}

fn failure(context: &HttpContext, url: &Url, error: &reqwest::Error) -> HttpError {
    let via = context.proxies.via(url);
    let url = redacted(url.as_str());
    if let Some(why) = trust::certificate_problem(error) {
        return HttpError::Certificate { url, why, via };
    }
    HttpError::Connection {
        url,
        source: Cause::of(error),
        via,
    }
}

/// The target of a redirect, or `None` if the response is not one; an error if it must not be followed.
fn redirect(
    request: &Request,
    url: &Url,
    response: &reqwest::Response,
) -> Result<Option<Url>, HttpError> {
    let status = response.status();
    let moved = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = response.headers().get(header::LOCATION).filter(|_| moved) else {
        return Ok(None);
    };
    let refused = |why: String| HttpError::Redirect {
        url: redacted(url.as_str()),
        why,
    };
    let location = location
        .to_str()
        .map_err(|_| refused("its target is not a valid URL".to_owned()))?;
    let mut next = url
        .join(location)
        .map_err(|_| refused("its target is not a valid URL".to_owned()))?;
    let target = redacted(next.as_str());
    if !matches!(next.scheme(), "http" | "https") || next.host_str().is_none() {
        return Err(refused(format!("{target} is not HTTP")));
    }
    if url.scheme() == "https" && next.scheme() == "http" {
        return Err(refused(format!("{target} is without TLS")));
    }
    if request.private && next.origin() != url.origin() {
        return Err(refused(format!("{target} is another server")));
    }
    let keeps_method = matches!(
        status,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    );
    if request.method != Method::GET && !keeps_method {
        return Err(refused(format!(
            "{target} would be asked by GET, not by {}",
            request.method
        )));
    }
    keep_credentials(url, &mut next);
    Ok(Some(next))
}

/// Refuses a redirect to this machine or its links that comes from further away. A proxy looks names up by itself, and
/// reaches its own machine, not this one.
async fn check_scope(context: &HttpContext, url: &Url, next: &Url) -> Result<(), HttpError> {
    if context.proxies.via(next).is_some() || url.host() == next.host() {
        return Ok(());
    }
    let lookup = async |name: &str| -> Vec<IpAddr> {
        // a failure is that of the connection, which comes next
        let found = tokio::net::lookup_host((name, 0)).await;
        found.map_or_else(|_| Vec::new(), |found| found.map(|it| it.ip()).collect())
    };
    let to = Scope::of(next, lookup).await;
    if to == Scope::Elsewhere || to == Scope::of(url, lookup).await {
        return Ok(());
    }
    Err(HttpError::Redirect {
        url: redacted(url.as_str()),
        why: format!(
            "{} is an address of this node or of its links",
            redacted(next.as_str())
        ),
    })
}

/// Credentials in the URL are carried to a redirect within the same origin only.
fn keep_credentials(url: &Url, next: &mut Url) {
    if next.origin() == url.origin() && next.username().is_empty() && next.password().is_none() {
        // Neither can fail: both URLs have a host.
        let _ = next.set_username(url.username());
        let _ = next.set_password(url.password());
    }
}

/// Sends the body into the queue, followed by its end or the error.
async fn deliver(
    context: &HttpContext,
    request: &Request,
    url: &Url,
    response: reqwest::Response,
    parts: mpsc::Sender<Part>,
) {
    let work = async {
        tokio::select! {
            biased;
            () = parts.closed() => Err(HttpError::Cancelled),
            result = pump(context, request, url, response, &parts) => result,
        }
    };
    let last = match until_cancelled(&context.cancel, &request.stop, work).await {
        Ok(()) => Part::End,
        Err(error) => Part::Failed(error),
    };
    // the receiver may be gone: nothing is left to do
    let _ = parts.send(last).await;
}

/// The moment `limit` from now, by the runtime's clock.
fn deadline(limit: Duration) -> Instant {
    host::wait::deadline(limit).into()
}

async fn pump(
    context: &HttpContext,
    request: &Request,
    url: &Url,
    mut response: reqwest::Response,
    parts: &mpsc::Sender<Part>,
) -> Result<(), HttpError> {
    let stall = context.settings.stall_timeout;
    let body_end = request.body_limit.map(deadline);
    let mut buffer_lengths = BufferLengths::of(request);
    let mut filling = match buffer_lengths.advance() {
        Some(goal) => Some((request.pool.take_async().await, goal)),
        None => None,
    };
    let (mut until, mut received) = (deadline(stall), 0_usize);
    loop {
        let soonest = limit(until, request);
        let soonest = body_end.map_or(soonest, |end| soonest.min(end));
        let chunk = match next_chunk(context, request, url, &mut response, soonest).await {
            Ok(Some(chunk)) => chunk,
            ended => {
                // what was received is passed on before the error, so that the next attempt continues behind it
                if let Some((buffer, _)) = filling.filter(|(buffer, _)| !buffer.is_empty()) {
                    let _ = parts.send(Part::Bytes(buffer)).await;
                }
                return ended.map(|_| ());
            }
        };
        received = received.saturating_add(chunk.len());
        if received >= MIN_BYTES_PER_STALL {
            (until, received) = (deadline(stall), 0);
        }
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let Some((mut buffer, goal)) = filling.take() else {
                return Err(HttpError::Answer {
                    url: redacted(url.as_str()),
                    why: "it sends more than was requested".to_owned(),
                });
            };
            let wanted = goal.saturating_sub(buffer.len());
            let count = buffer.push(rest.get(..wanted).unwrap_or(rest));
            rest = rest.get(count..).unwrap_or_default();
            if buffer.len() < goal && !buffer.is_full() {
                filling = Some((buffer, goal));
                continue;
            }
            if parts.send(Part::Bytes(buffer)).await.is_err() {
                return Err(HttpError::Cancelled);
            }
            if let Some(goal) = buffer_lengths.advance() {
                filling = Some((request.pool.take_async().await, goal));
            }
            // time spent waiting for a buffer is not the server's
            until = deadline(stall);
        }
    }
}

/// Waits for the next bytes of a body, until `until`; `None` at its end.
async fn next_chunk(
    context: &HttpContext,
    request: &Request,
    url: &Url,
    response: &mut reqwest::Response,
    until: Instant,
) -> Result<Option<impl Deref<Target = [u8]> + use<>>, HttpError> {
    let settings = &context.settings;
    loop {
        let asked = Instant::now();
        let left = request.pace.as_ref().and_then(|pace| pace.left(settings));
        let judged = left
            .and_then(|left| asked.checked_add(left))
            .map_or(until, |end| until.min(end));
        let next = timeout_at(judged, response.chunk()).await;
        let length = match &next {
            Ok(Ok(Some(chunk))) => chunk.len(),
            _ => 0,
        };
        let is_slow = |pace: &Pace| pace.is_too_slow(settings, asked.elapsed(), length);
        if request.pace.as_ref().is_some_and(is_slow) {
            return Err(too_little(context, url));
        }
        match next {
            Ok(Ok(chunk)) => return Ok(chunk),
            Ok(Err(error)) => return Err(failure(context, url, &error)),
            // a window is over, and was fast enough
            Err(_) if judged < until => {}
            Err(_) => return Err(out_of_time(context, request, url, settings.stall_timeout)),
        }
    }
}

fn too_little(context: &HttpContext, url: &Url) -> HttpError {
    HttpError::TooLittle {
        url: redacted(url.as_str()),
        rate: context.settings.least_rate.unwrap_or_default(),
        over: context.settings.rate_window,
    }
}

/// Number of bytes per buffer.
enum BufferLengths {
    /// Full buffers.
    Full,
    /// The given lengths.
    Given(std::vec::IntoIter<u32>),
}

impl BufferLengths {
    fn of(request: &Request) -> Self {
        match &request.buffer_lengths {
            None => Self::Full,
            Some(lengths) => Self::Given(lengths.clone().into_iter()),
        }
    }

    /// Length of the next buffer; `None` after the last one.
    fn advance(&mut self) -> Option<usize> {
        match self {
            Self::Full => Some(usize::MAX),
            Self::Given(lengths) => lengths
                .next()
                .map(|length| usize::try_from(length).unwrap_or(usize::MAX)),
        }
    }
}
