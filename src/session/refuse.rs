//! Telling an authenticated peer why it gets no session, where that needs no waiting.
//!
//! A listener that is full accepts the exchange's substream once, sends a Disconnect as its only
//! message, and closes (eth-stream section 3: it may come before Status).

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::future::{self, Either};
use futures::io::AsyncWriteExt;

use super::rules::disconnect_payload;
use crate::disconnect::DisconnectReason;
use crate::ids::{Direction, ProtocolId};
use crate::router::{Route, Router};
use crate::transport::{Connection, TransportLimits, negotiate};
use crate::wire::segment;

/// How long a refused peer gets to open its substream.
const PATIENCE: Duration = Duration::from_secs(1);

/// Closes a connection, with the reason if the peer is the one that opens substreams.
pub(crate) async fn refuse(
    connection: Connection,
    reason: DisconnectReason,
    router: Arc<Router>,
    limits: TransportLimits,
) {
    let mut mux = connection.mux;
    let control = mux.control.clone();
    let telling = async {
        if connection.direction == Direction::Inbound {
            let _ = tokio::time::timeout(PATIENCE, tell(&mut mux.inbound, reason, &router, &limits)).await;
        }
        control.close(reason);
        future::pending::<()>().await;
    };
    // The driver ends once it was told to close.
    if let Either::Right(((), _)) = future::select(mux.driver, Box::pin(telling)).await {}
}

async fn tell(
    inbound: &mut tokio::sync::mpsc::Receiver<crate::transport::mux::Substream>,
    reason: DisconnectReason,
    router: &Router,
    limits: &TransportLimits,
) -> Option<()> {
    let ids: Vec<ProtocolId> =
        router.exchanges().iter().flat_map(|e| e.ids().iter().map(|(id, _)| id.clone())).collect();
    loop {
        // Anything but an exchange (identify, ping) is refused by the negotiation and dropped.
        let substream = inbound.recv().await?;
        let Ok((id, mut io)) = negotiate::listen(substream, &ids, limits).await else { continue };
        let Some(Route::Exchange { index, .. }) = router.route(&id) else { continue };
        let message = disconnect_payload(router.exchanges()[index].encoding(), reason);
        let mut out = BytesMut::new();
        segment::encode_segment(0, false, Some(message.code), &message.body, &mut out);
        io.write_all(&out).await.ok()?;
        io.close().await.ok()?;
        // The dialer closes when it has read it.
        let mut rest = [0; 256];
        while futures::io::AsyncReadExt::read(&mut io, &mut rest).await.is_ok_and(|read| read > 0) {}
        return Some(());
    }
}
