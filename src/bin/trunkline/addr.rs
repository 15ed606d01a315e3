//! Addresses on the command line.

use trunkline::PeerAddr;
use trunkline::transport::addr::Endpoint;
use trunkline::transport::rlpx::NodeId;

/// An address that another process can have.
pub(crate) fn listened(text: &str) -> Result<PeerAddr, String> {
    let addr: PeerAddr = text.parse().map_err(|error| format!("{error}"))?;
    match addr.endpoint {
        Endpoint::Memory(_) => Err("a memory address has no meaning outside its process".to_owned()),
        _ => Ok(addr),
    }
}

/// An address that can be dialled from here.
pub(crate) fn dialled(text: &str) -> Result<PeerAddr, String> {
    let addr = listened(text)?;
    let knows_key = addr.peer.as_ref().and_then(NodeId::of_peer).is_some();
    if matches!(addr.endpoint, Endpoint::Rlpx(_)) && !knows_key {
        return Err(
            "devp2p needs the node's secp256k1 key: an enode, an ENR, or /p2p/ID behind it".to_owned()
        );
    }
    Ok(addr)
}
