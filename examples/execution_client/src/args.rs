//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use alloy_primitives::B256;
use clap::Parser;
use trunkline::PeerAddr;
use trunkline::discovery::Bootnode;
use trunkline::transport::addr::Endpoint;
use trunkline::transport::rlpx::NodeId;

/// A small execution client: fetches a chain from its peers, executes every block, keeps what it
/// has in one folder, and serves it to others over libp2p and devp2p.
///
/// Each block's gas, receipts, logs bloom, withdrawals, requests and state root are computed and
/// compared with its header. Results go to stdout, with --json as one object per line. Ctrl-C and
/// SIGTERM end it within 5 s, a second one at once.
///
/// Exit code 0: done, or ended by a signal or --ttl. 1: --until-block was not reached, or what was
/// asked cannot come about. 2: unusable options, files, folders, addresses or ports.
#[derive(Debug, Clone, Parser)]
#[command(name = "execution_client", version)]
pub struct Args {
    /// The chain: geth's genesis.json with its allocation, or the development chain.
    #[arg(long, value_name = "FILE|dev")]
    pub genesis: PathBuf,
    /// Keeps everything in this folder; made if it is missing. One process at a time.
    #[arg(long, value_name = "DIR")]
    pub datadir: PathBuf,
    /// Stays connected to this peer; repeatable. With --discovery a node to start from as well.
    ///
    /// An enode://KEY@IP:PORT or an ENR (enr:..) for devp2p; for libp2p an address such as
    /// /ip4/1.2.3.4/tcp/30303, with /p2p/ID behind it if it must be that peer.
    #[arg(long = "bootnode", value_name = "ENODE|ADDR", value_parser = known)]
    pub bootnodes: Vec<KnownNode>,
    /// Listens here; repeatable. Port 0 picks one. Default: not at all.
    ///
    /// An address such as /ip4/0.0.0.0/tcp/30303 for libp2p, and with /rlpx behind it for devp2p.
    #[arg(long, value_name = "ADDR", value_parser = listened)]
    pub listen: Vec<PeerAddr>,
    /// Trusted head to sync to; nothing above it is fetched. It goes on serving afterwards.
    #[arg(long, value_name = "HASH", conflicts_with = "follow")]
    pub head: Option<B256>,
    /// Follows the highest head that a peer announces (on the development chain: the heaviest). The
    /// default without --head.
    #[arg(long)]
    pub follow: bool,
    /// Ends with exit code 0 when a block with at least this number is executed.
    #[arg(long, value_name = "N")]
    pub until_block: Option<u64>,
    /// Ends with exit code 1 when --until-block was not reached in this time. Default: never.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, requires = "until_block")]
    pub timeout: Option<Duration>,
    /// Ends after this time, such as 250ms, 5s or 2m. Default: never.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub ttl: Option<Duration>,
    /// Whether receipts are fetched. Execution makes those that are missing in any case.
    ///
    /// auto: fetched as far as peers have them. required: a block is executed when its receipts are
    /// here. none: never.
    #[arg(
        long,
        value_enum,
        value_name = "auto|none|required",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub receipts: ReceiptsOption,
    /// Submits the transactions of this file once the head is reached.
    ///
    /// One signed transaction a line, 0x and hex, as eth_sendRawTransaction takes it; blob
    /// transactions with their blobs. # begins a comment.
    #[arg(long, value_name = "FILE")]
    pub tx_file: Option<PathBuf>,
    /// Makes a block of what is in the pool in this interval; only on the development chain.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub produce: Option<Duration>,
    /// Signs so many transfers for each block made; with --produce. Default: none.
    #[arg(long, value_name = "N", requires = "produce", default_value_t = 0)]
    pub transfers: u32,
    /// Makes no block above this number, and goes on serving; with --produce. Default: no end.
    #[arg(long, value_name = "N", requires = "produce")]
    pub produce_to: Option<u64>,
    /// Identity: 64 hex digits; made if missing. Default: `key` in the data folder.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Finds peers over discv4 and discv5 from this UDP address, such as 0.0.0.0:30303. Default: not.
    #[arg(long, value_name = "IP:PORT")]
    pub discovery: Option<SocketAddr>,
    /// Slots for peers, at most two thirds of them inbound.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_peers: u32,
    /// Writes the actor trace into this folder; made if it is missing. Read it with `trunkline trace`.
    #[arg(long, value_name = "DIR")]
    pub trace: Option<PathBuf>,
    /// Serves metrics as Prometheus text at http://ADDR/metrics. Default: not at all.
    #[arg(long, value_name = "IP:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Prints one JSON object per line on stdout, and nothing else there.
    #[arg(long)]
    pub json: bool,
    /// Logs more to stderr: -v what happens, -vv how, -vvv everything. RUST_LOG goes before it.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Whether receipts are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReceiptsOption {
    Auto,
    None,
    Required,
}

/// A node named on the command line.
#[derive(Debug, Clone)]
pub struct KnownNode {
    /// Where it is dialled.
    pub addr: PeerAddr,
    /// What discovery can start from, if it can: an enode with a UDP port, or a record.
    pub node: Option<Bootnode>,
}

fn listened(text: &str) -> Result<PeerAddr, String> {
    let addr: PeerAddr = text.parse().map_err(|error| format!("{error}"))?;
    match addr.endpoint {
        Endpoint::Memory(_) => Err("a memory address has no meaning outside its process".to_owned()),
        _ => Ok(addr),
    }
}

fn known(text: &str) -> Result<KnownNode, String> {
    let addr = listened(text)?;
    let knows_key = addr.peer.as_ref().and_then(NodeId::of_peer).is_some();
    if matches!(addr.endpoint, Endpoint::Rlpx(_)) && !knows_key {
        return Err("devp2p needs the node's key: an enode, an ENR, or /p2p/ID behind it".to_owned());
    }
    Ok(KnownNode { addr, node: text.parse().ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &str) -> Result<Args, String> {
        let always = ["execution_client", "--genesis", "dev", "--datadir", "d"];
        let args = always.into_iter().chain(options.split_whitespace());
        Args::try_parse_from(args).map_err(|error| crate::failure::one_line(&error))
    }

    #[test]
    fn options_have_their_defaults_and_may_repeat() {
        let args = parse("").unwrap();
        assert_eq!((args.max_peers, args.receipts, args.follow), (50, ReceiptsOption::Auto, false));
        let args =
            parse("--listen /ip4/127.0.0.1/tcp/0 --listen /ip4/127.0.0.1/tcp/0/rlpx --ttl 5s").unwrap();
        assert_eq!((args.listen.len(), args.ttl), (2, Some(Duration::from_secs(5))));
        let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
                   483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
        let args = parse(&format!("--bootnode enode://{key}@127.0.0.1:30303")).unwrap();
        assert!(args.bootnodes[0].node.is_some());
        let args = parse(&format!("--bootnode enode://{key}@127.0.0.1:30303?discport=0")).unwrap();
        assert!(args.bootnodes[0].node.is_none(), "it answers to no discovery");
    }

    #[test]
    fn unusable_options_are_refused_in_one_line() {
        for options in [
            "--frobnicate",
            "--timeout 5s",
            "--until-block -5",
            "--until-block 5 --timeout soon",
            "--ttl 5",
            "--max-peers 0",
            "--listen 127.0.0.1:1",
            "--listen /memory/1",
            "--bootnode /ip4/127.0.0.1/tcp/1/rlpx",
            "--bootnode enode://00@127.0.0.1:1",
            "--discovery /ip4/127.0.0.1/udp/0",
            "--metrics 9100",
            "--receipts some",
            "--transfers 5",
            "--head 0x1234",
            "--follow --head 0x0101010101010101010101010101010101010101010101010101010101010101",
        ] {
            let line = parse(options).expect_err(options);
            assert!(!line.is_empty() && !line.contains('\n') && !line.contains("Usage"), "{line:?}");
        }
    }
}
