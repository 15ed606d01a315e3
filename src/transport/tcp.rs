//! TCP sockets: connect and listen, with `TCP_NODELAY` always on.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::TransportLimits;

/// Connects within the connect deadline.
pub(crate) async fn connect(addr: SocketAddr, limits: &TransportLimits) -> io::Result<Compat<TcpStream>> {
    let connecting = TcpStream::connect(addr);
    let stream = tokio::time::timeout(limits.connect_timeout, connecting)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connecting timed out"))??;
    // Small requests must not wait for the acknowledgement of earlier ones.
    stream.set_nodelay(true)?;
    Ok(stream.compat())
}

/// Listens; port 0 picks a free one.
pub(crate) async fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(addr).await
}

/// An accepted socket whose first byte has arrived: a silent one does not get further than this.
pub(crate) async fn first_byte(stream: TcpStream, limits: &TransportLimits) -> io::Result<Compat<TcpStream>> {
    stream.set_nodelay(true)?;
    let waiting = stream.readable();
    tokio::time::timeout(limits.first_byte_timeout, waiting)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "silent socket"))??;
    Ok(stream.compat())
}
