//! Round trips by the transport's own echo, where it has one: for whoever asks, and to keep a
//! connection alive.

use std::time::Duration;

use tokio::time::Instant;

use super::substreams::{Task, TaskEnd};
use crate::protocols::ping::PingError;
use crate::transport::mux::Control;

/// One round trip.
pub(super) async fn echo(transport: &Control, timeout: Duration) -> Result<Duration, PingError> {
    let sent = Instant::now();
    match tokio::time::timeout(timeout, transport.ping()).await {
        Ok(Ok(())) => Ok(sent.elapsed()),
        Ok(Err(error)) => Err(PingError::Io(error)),
        Err(_) => Err(PingError::TimedOut(timeout)),
    }
}

/// Pings the peer from time to time.
pub(super) fn keepalive(transport: Control, interval: Duration, timeout: Duration) -> Task {
    Box::pin(async move {
        loop {
            tokio::time::sleep(interval).await;
            match echo(&transport, timeout).await {
                Err(PingError::TimedOut(_)) => return TaskEnd::Silent,
                // The connection is over, and tells so itself.
                Err(_) => return TaskEnd::Done,
                Ok(_) => {}
            }
        }
    })
}
