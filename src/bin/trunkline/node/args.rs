//! The options of `node`, and the rules between them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use alloy_primitives::B256;
use trunkline::{Config, PeerAddr, PeerId};

use super::discovery::DiscoveryOptions;
use super::receipts::ReceiptsOption;
use super::trace::TraceOptions;
use crate::addr;
use crate::duration;
use crate::failure::Failure;

/// Serves and follows a chain, in memory.
///
/// Results go to stdout, with --json as one object per line (events listening, peer-up, peer-down,
/// progress, head, imported, error, end). Ctrl-C and SIGTERM end it within 5 s, a second one at once.
///
/// Exit code 0: done, or ended by a signal or --ttl. 1: --until-block was not reached. 2: unusable
/// options, files, addresses or ports; nothing was written.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// Genesis and forks: the development chain, mainnet, Sepolia, or a geth genesis.json.
    ///
    /// Blocks are held in memory: follow a public network from a recent --anchor, not from its genesis.
    #[arg(long, value_name = "dev|mainnet|sepolia|FILE", default_value = "dev")]
    pub(super) chain: String,
    /// Listens here; repeatable. Port 0 picks one. Default: the node does not listen.
    ///
    /// An address such as /ip4/0.0.0.0/tcp/30303 or /ip6/::/tcp/0 for libp2p, and with /rlpx behind it
    /// for devp2p: /ip4/0.0.0.0/tcp/30303/rlpx. Never host:port. Both wires may be listened on at once.
    #[arg(long, value_name = "ADDR", value_parser = addr::listened)]
    pub(super) listen: Vec<PeerAddr>,
    /// Stays connected to this peer; repeatable. It is redialled with backoff and takes no slot.
    ///
    /// An address such as /ip4/1.2.3.4/tcp/30303, with /p2p/ID behind it if it must be that peer; for
    /// devp2p an enode://KEY@IP:PORT or an ENR (enr:..).
    #[arg(long, value_name = "ADDR", value_parser = addr::dialled)]
    pub(super) connect: Vec<PeerAddr>,
    /// Serves the blocks of this file from the start: .rlp, .rlp.gz or .era1.
    ///
    /// Checked before it is served: links, hashes, transaction, ommer and withdrawal roots. A first
    /// block 0 or 1 must be, or link to, the chain's genesis; a higher one becomes the anchor.
    #[arg(long, value_name = "FILE")]
    pub(super) import: Option<PathBuf>,
    /// Trusted block to start from instead of the genesis; it is fetched by its hash.
    #[arg(long, value_name = "HASH")]
    pub(super) anchor: Option<B256>,
    /// Trusted head to sync to. Default: the highest one that a peer announces.
    #[arg(long, value_name = "HASH")]
    pub(super) head: Option<B256>,
    /// Ends with exit code 0 when the verified head is at least this block.
    #[arg(long, value_name = "N")]
    pub(super) until_block: Option<u64>,
    /// Whether receipts are fetched, and whether --until-block waits for them.
    ///
    /// auto: fetched as far as peers have them; at --until-block, those up to it are waited for while
    /// some connected peer gives them. required: --until-block waits until they are complete.
    #[arg(
        long,
        value_enum,
        value_name = "auto|none|required",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(super) receipts: ReceiptsOption,
    /// Ends with exit code 1 when --until-block was not reached in this time. Default: never.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, requires = "until_block")]
    pub(super) timeout: Option<Duration>,
    /// Writes the blocks held to this file at the end: concatenated RLP, whole or not at all.
    ///
    /// Without the genesis; with an anchor, from the anchor on. Its folder must exist.
    #[arg(long, value_name = "FILE")]
    pub(super) export: Option<PathBuf>,
    /// Versions of eth to speak, of 68, 69 and 70. Default: all; the highest that a peer has is spoken.
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(68..=70))]
    pub(super) eth_versions: Vec<u32>,
    /// Identity, as `trunkline key` makes it; created if missing. Default: a fresh one each time.
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// Ends after this time, such as 250ms, 5s or 2m. Default: never.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) ttl: Option<Duration>,
    /// Slots for peers, at most two thirds of them inbound. Default: 50.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) max_peers: Option<u32>,
    /// Serves metrics as Prometheus text at http://ADDR/metrics. Default: not at all.
    ///
    /// An address such as 127.0.0.1:9100 or [::1]:0; port 0 picks one, and the event metrics tells it.
    /// Anybody who can reach it can read it: use loopback unless the network is yours.
    #[arg(long, value_name = "IP:PORT")]
    pub(super) metrics: Option<SocketAddr>,
    #[command(flatten)]
    pub(super) discovery: DiscoveryOptions,
    #[command(flatten)]
    pub(super) trace: TraceOptions,
    /// Shows requests, actors and peers as a table on the terminal until q is pressed; q ends the node.
    ///
    /// Needs a terminal and does not go with --json. Logs go nowhere meanwhile, unless stderr is
    /// redirected (2>FILE).
    #[arg(long)]
    pub(super) trace_ui: bool,
    /// Prints every limit in force with its source (default or option) and ends.
    #[arg(long)]
    pub(super) print_limits: bool,
}

impl NodeArgs {
    /// Whether the terminal belongs to a table for as long as the node runs.
    pub(crate) fn takes_terminal(&self) -> bool {
        self.trace_ui && !self.print_limits
    }

    /// What the library needs to know. Static peers are added later, once everything else stands.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        let builder = self.listen.iter().cloned().fold(Config::builder(), |all, addr| all.listen(addr));
        let builder = builder.trace(self.trace.config());
        let builder = match self.max_peers {
            Some(peers) => builder.max_peers(peers as usize),
            None => builder,
        };
        builder.build().map_err(Failure::unusable)
    }

    /// Whether this version of eth is to be spoken.
    pub(super) fn speaks(&self, version: u32) -> bool {
        self.eth_versions.is_empty() || self.eth_versions.contains(&version)
    }

    /// A listen address may name an identity, but only ours.
    pub(super) fn check_listen(&self, us: PeerId) -> Result<(), Failure> {
        match self.listen.iter().find(|addr| addr.peer.is_some_and(|peer| peer != us)) {
            Some(addr) => Err(Failure::unusable(format!("{addr}: names another identity than ours, {us}"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        node: NodeArgs,
    }

    fn parse(options: &str) -> Result<NodeArgs, String> {
        let args = std::iter::once("node").chain(options.split_whitespace());
        Cli::try_parse_from(args).map(|cli| cli.node).map_err(|error| crate::failure::one_line(&error))
    }

    #[test]
    fn options_have_their_defaults_and_may_repeat() {
        let args = parse("").unwrap();
        assert_eq!((args.chain.as_str(), args.until_block, args.ttl), ("dev", None, None));
        assert_eq!(args.receipts, ReceiptsOption::Auto);
        assert!(args.config().unwrap().listen.is_empty());
        let args = parse("--listen /ip4/127.0.0.1/tcp/0 --listen /ip6/::1/tcp/1 --max-peers 9").unwrap();
        let config = args.config().unwrap();
        assert_eq!((config.listen.len(), config.slots.peers_max), (2, 9));
        let args = parse("--until-block 5 --timeout 250ms --ttl 2m").unwrap();
        assert_eq!(args.timeout, Some(Duration::from_millis(250)));
        assert_eq!(args.ttl, Some(Duration::from_secs(120)));
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
            "--listen /ip4/300.0.0.1/tcp/1",
            "--listen /memory/1",
            "--connect /ip4/127.0.0.1/tcp/1/p2p/notapeerid",
            "--connect enode://00@127.0.0.1:1",
            "--connect /ip4/127.0.0.1/tcp/1/rlpx",
            "--discovery 127.0.0.1:1",
            "--bootnode enr:-x --discovery /ip4/127.0.0.1/udp/0",
            "--metrics 9100",
            "--metrics localhost:9100",
            "--metrics /ip4/127.0.0.1/tcp/9100",
            "--trace-budget many --trace-file x",
            "--trace x --trace-file y",
            "--no-trace --trace x",
            "--no-trace --trace-ui",
            "--eth-versions 67",
            "--eth-versions 68,71",
            "--receipts some",
            "--anchor 0x1234",
            "--head head",
        ] {
            let line = parse(options).expect_err(options);
            assert!(!line.is_empty() && !line.contains('\n') && !line.contains("Usage"), "{line:?}");
        }
    }

    #[test]
    fn a_listen_address_may_name_us_and_nobody_else() {
        let peer = trunkline::Keypair::generate_secp256k1().public().to_peer_id();
        let other = trunkline::Keypair::generate_secp256k1().public().to_peer_id();
        let args = parse(&format!("--listen /ip4/127.0.0.1/tcp/0/p2p/{peer}")).unwrap();
        assert!(args.check_listen(peer).is_ok());
        assert_eq!(args.check_listen(other).map_err(|failure| failure.exit_code()), Err(2));
    }
}
