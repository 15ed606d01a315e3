//! `--metrics ADDR`: Prometheus text over HTTP/1.1, and nothing else.
//!
//! One answer per connection, `GET` and `HEAD` of `/metrics`. Whoever reaches the address can read
//! the numbers, so it belongs on loopback; the option says so. Bounds: 8 connections at once (more
//! wait in the socket's backlog), 8 KiB of request, 5 s from accept to the last byte.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{interval, timeout};

/// Connections at once.
const CONNECTIONS_MAX: usize = 8;
/// Request line and headers, in bytes.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// From accept to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// The exporter keeps samples until they are put into buckets: on a scrape, and this often.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// A pause after an accept that failed: without file descriptors it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Upper bounds of the histogram's buckets, in seconds.
const BUCKETS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

/// A bound address that does not answer yet.
pub(crate) struct MetricsServer {
    listener: TcpListener,
}

impl MetricsServer {
    /// Binds. Nothing is published before [`MetricsServer::serve`].
    pub(crate) async fn bind(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(addr).await? })
    }

    /// Where it listens, with the real port.
    pub(crate) fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes over the process's metrics and answers from now on, until the runtime ends.
    pub(crate) fn serve(self) -> Result<(), String> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
            .map_err(|error| error.to_string())?;
        let handle = builder.install_recorder().map_err(|error| error.to_string())?;
        tokio::spawn(accept(self.listener, handle.clone()));
        tokio::spawn(async move {
            let mut upkeep = interval(UPKEEP_EVERY);
            loop {
                upkeep.tick().await;
                handle.run_upkeep();
            }
        });
        Ok(())
    }
}

async fn accept(listener: TcpListener, handle: PrometheusHandle) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed: this loop ends with the runtime.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let handle = handle.clone();
        tokio::spawn(async move {
            // Whether the scraper got everything is its business.
            drop(timeout(DEADLINE, answer(socket, || handle.render())).await);
            drop(place);
        });
    }
}

/// Reads one request and answers it.
async fn answer(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    metrics: impl Fn() -> String,
) -> io::Result<()> {
    let reply = match read_request(&mut socket).await? {
        Some(head) => reply_to(&head, metrics),
        None => Reply::refusal("431 Request Header Fields Too Large", ""),
    };
    socket.write_all(&reply.bytes()).await?;
    socket.shutdown().await?;
    // What the client still sends is read and dropped, so that the answer is not lost in a reset.
    let mut rest = [0; 1024];
    let mut dropped = 0;
    while dropped < REQUEST_BYTES_MAX {
        match socket.read(&mut rest).await? {
            0 => break,
            read => dropped += read,
        }
    }
    Ok(())
}

/// The bytes up to the empty line; `None`: too many.
async fn read_request(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::with_capacity(1024);
    let mut some = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > REQUEST_BYTES_MAX {
            return Ok(None);
        }
        match socket.read(&mut some).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => head.extend_from_slice(&some[..read]),
        }
    }
    Ok(Some(head))
}

/// What is asked for decides; the headers do not matter.
fn reply_to(head: &[u8], metrics: impl Fn() -> String) -> Reply {
    Reply { head_only: head.starts_with(b"HEAD "), ..full_reply_to(head, metrics) }
}

fn full_reply_to(head: &[u8], metrics: impl Fn() -> String) -> Reply {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Reply::refusal("400 Bad Request", "");
    };
    if !version.starts_with(b"HTTP/1.") {
        return Reply::refusal("400 Bad Request", "");
    }
    if target.split(|byte| *byte == b'?').next() != Some(b"/metrics") {
        return Reply::refusal("404 Not Found", "");
    }
    match method {
        b"GET" | b"HEAD" => Reply {
            status: "200 OK",
            kind: "text/plain; version=0.0.4; charset=utf-8",
            extra: "",
            body: metrics(),
            head_only: false,
        },
        _ => Reply::refusal("405 Method Not Allowed", "Allow: GET, HEAD\r\n"),
    }
}

struct Reply {
    status: &'static str,
    kind: &'static str,
    extra: &'static str,
    body: String,
    head_only: bool,
}

impl Reply {
    fn refusal(status: &'static str, extra: &'static str) -> Self {
        let body = format!("{status}; metrics are at /metrics\n");
        Self { status, kind: "text/plain; charset=utf-8", extra, body, head_only: false }
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { status, kind, extra, body, head_only } = self;
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{extra}Connection: close\r\n\r\n"
        );
        let body = if *head_only { "" } else { body };
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What a client gets that sends this and then waits for the end.
    async fn ask(request: &[u8]) -> String {
        let (mut client, server) = duplex(64 << 10);
        let served = tokio::spawn(answer(server, || "a_total 1\n".to_owned()));
        client.write_all(request).await.unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).await.unwrap();
        drop(client);
        served.await.unwrap().unwrap();
        reply
    }

    #[tokio::test]
    async fn metrics_are_given_to_get_and_their_length_to_head() {
        let reply = ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.contains("version=0.0.4"), "{reply}");
        assert!(
            reply.ends_with("\r\n\r\na_total 1\n") && reply.contains("Content-Length: 10\r\n"),
            "{reply}"
        );
        let reply = ask(b"HEAD /metrics?x=1 HTTP/1.0\r\n\r\n").await;
        assert!(reply.ends_with("\r\n\r\n") && reply.contains("Content-Length: 10\r\n"), "{reply}");
    }

    #[tokio::test]
    async fn everything_else_is_refused_with_its_code() {
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(REQUEST_BYTES_MAX));
        for (request, code) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("GET /metricsx HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("GET /metrics\r\n\r\n", "400"),
            ("\u{1}\u{2}\r\n\r\n", "400"),
            ("GET /metrics HTTP/2\r\n\r\n", "400"),
            (long.as_str(), "431"),
        ] {
            let reply = ask(request.as_bytes()).await;
            assert!(reply.starts_with(&format!("HTTP/1.1 {code} ")), "{request:.40?}: {reply}");
            assert!(!reply.contains("a_total"), "{reply}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_dropped_in_time() {
        let (client, server) = duplex(64);
        let served = timeout(DEADLINE, answer(server, String::new));
        assert!(served.await.is_err());
        drop(client);
    }
}
