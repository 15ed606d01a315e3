//! `trunkline discover`: which nodes are out there?

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::Instant;
use trunkline::discovery::{
    Bootnode, Discovery, DiscoveryConfig, DiscoveryError, ForkEntry, Found, Node, NodeSource, Via, record,
};
use trunkline::transport::rlpx::NodeKey;
use trunkline::{Keypair, Multiaddr};

use crate::duration;
use crate::escape::escape;
use crate::failure::Failure;
use crate::signals::Stop;
use trunkline::keyfile;

/// More nodes than this are not listed.
const NODES_MAX: usize = 100_000;

/// Crawls from the bootnodes over discv4 and discv5 and prints the nodes found.
///
/// Exit code 0: at least one node answered. 1: none did. 2: unusable options; nothing was sent.
/// Ctrl-C ends it early and prints what was found until then.
#[derive(Debug, clap::Args)]
pub(crate) struct DiscoverArgs {
    /// A node to start from; repeatable: enode://ID@IP:PORT[?discport=PORT] or enr:...
    #[arg(long = "bootnode", value_name = "ENODE|ENR", required = true)]
    bootnodes: Vec<Bootnode>,
    /// How long to look, such as 250ms, 5s or 2m.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "10s")]
    timeout: Duration,
    /// The UDP address to ask from, such as /ip4/0.0.0.0/udp/0. Port 0 picks one.
    ///
    /// Default: any port of loopback if all bootnodes are there, else of every address.
    #[arg(long, value_name = "ADDR", value_parser = udp)]
    listen: Option<SocketAddr>,
    /// Identity, as `trunkline key` makes it (secp256k1). Default: a fresh one.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Only discv4, unless --v5 is given as well. Default: both.
    #[arg(long)]
    v4: bool,
    /// Only discv5, unless --v4 is given as well; it needs a bootnode with a record (enr:...).
    #[arg(long)]
    v5: bool,
}

/// Does what was asked.
pub(crate) async fn run(args: DiscoverArgs, json: bool) -> Result<(), Failure> {
    let mut stop = Stop::listen().map_err(Failure::failed)?;
    let key = args.key()?;
    let config = args.config()?;
    let discovery = Discovery::start(config, key).await.map_err(refused)?;
    let mut finds = discovery.finds();
    let mut crawl = Crawl::default();
    let end = Instant::now() + args.timeout;
    loop {
        tokio::select! {
            biased;
            () = stop.asked() => break,
            () = tokio::time::sleep_until(end) => break,
            found = finds.next() => match found {
                Some(found) => crawl.add(found),
                None => break,
            },
        }
    }
    drop(finds);
    discovery.shutdown().await;
    crawl.print(json).map_err(Failure::failed)?;
    match crawl.answered() {
        0 => Err(Failure::failed(format!("no node answered within {}", duration::format(args.timeout)))),
        _ => Ok(()),
    }
}

fn refused(error: DiscoveryError) -> Failure {
    match error {
        DiscoveryError::Bind { .. } => Failure::unusable(error),
        error => Failure::failed(error),
    }
}

/// Reads `/ip4/../udp/..` or `/ip6/../udp/..`.
pub(crate) fn udp(text: &str) -> Result<SocketAddr, String> {
    use trunkline::multiaddr::Protocol;
    let wrong = || "not a UDP address such as /ip4/127.0.0.1/udp/30303".to_owned();
    let addr: Multiaddr = text.parse().map_err(|_| wrong())?;
    let parts: Vec<Protocol<'_>> = addr.iter().collect();
    match parts[..] {
        [Protocol::Ip4(ip), Protocol::Udp(port)] => Ok(SocketAddr::new(ip.into(), port)),
        [Protocol::Ip6(ip), Protocol::Udp(port)] => Ok(SocketAddr::new(ip.into(), port)),
        _ => Err(wrong()),
    }
}

impl DiscoverArgs {
    fn key(&self) -> Result<NodeKey, Failure> {
        let Some(path) = &self.key else {
            let fresh = NodeKey::of(&Keypair::generate_secp256k1());
            return fresh.ok_or_else(|| Failure::failed("no key could be made"));
        };
        let unusable = |why: &dyn std::fmt::Display| Failure::unusable(format!("{}: {why}", path.display()));
        let keypair = keyfile::read(path).map_err(|error| unusable(&error))?;
        NodeKey::of(&keypair).ok_or_else(|| unusable(&"discovery needs a secp256k1 key"))
    }

    fn config(&self) -> Result<DiscoveryConfig, Failure> {
        let (v4, v5) = if self.v4 == self.v5 { (true, true) } else { (self.v4, self.v5) };
        let has_record = self.bootnodes.iter().any(|node| matches!(node, Bootnode::Record(_)));
        if !v4 && !has_record {
            return Err(Failure::unusable("discv5 alone needs a bootnode with a record (enr:...)"));
        }
        let mut config = DiscoveryConfig::new(self.listen.unwrap_or_else(|| self.default_listen()));
        config.bootnodes.clone_from(&self.bootnodes);
        (config.v4, config.v5) = (v4, v5);
        Ok(config.crawling())
    }

    fn default_listen(&self) -> SocketAddr {
        let ips: Vec<IpAddr> = self.bootnodes.iter().filter_map(Bootnode::node).map(|node| node.ip).collect();
        let is_loopback = ips.iter().all(IpAddr::is_loopback);
        let ip: IpAddr = match (ips.iter().all(IpAddr::is_ipv6), is_loopback) {
            (false, true) => Ipv4Addr::LOCALHOST.into(),
            (false, false) => Ipv4Addr::UNSPECIFIED.into(),
            (true, true) => Ipv6Addr::LOCALHOST.into(),
            (true, false) => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(ip, 0)
    }
}

/// What is known of one node.
struct Row {
    node: Node,
    v4: bool,
    v5: bool,
    fork: Option<ForkEntry>,
    client: Option<String>,
    record: Option<String>,
    seq: u64,
    /// UNIX seconds.
    last_seen: Option<u64>,
}

/// The nodes found so far, by their hash.
#[derive(Default)]
struct Crawl {
    rows: BTreeMap<[u8; 32], Row>,
}

impl Crawl {
    fn add(&mut self, found: Found) {
        let is_full = self.rows.len() >= NODES_MAX;
        let node = found.node;
        let row = match self.rows.entry(node.id.hash()) {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(_) if is_full => return,
            Entry::Vacant(free) => free.insert(Row {
                node,
                v4: false,
                v5: false,
                fork: None,
                client: None,
                record: None,
                seq: 0,
                last_seen: None,
            }),
        };
        if found.is_alive {
            row.v4 |= found.via == Via::V4;
            row.v5 |= found.via == Via::V5;
            row.last_seen = Some(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
            row.node = Node { tcp: if node.tcp == 0 { row.node.tcp } else { node.tcp }, ..node };
        }
        if let Some(told) = found.record
            && (row.record.is_none() || told.seq() > row.seq)
        {
            row.seq = told.seq();
            row.fork = ForkEntry::of(&told);
            row.client = record::client_of(&told);
            row.record = Some(told.to_base64());
        }
    }

    fn answered(&self) -> usize {
        self.rows.values().filter(|row| row.last_seen.is_some()).count()
    }

    fn print(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            for row in self.rows.values() {
                writeln!(out, "{}", row.json())?;
            }
            let end = json!({"event": "end", "nodes": self.rows.len(), "answered": self.answered()});
            return writeln!(out, "{end}");
        }
        if !self.rows.is_empty() {
            let [id, ip, tcp, udp, via, fork, client, seen] =
                ["node", "ip", "tcp", "udp", "over", "fork id", "client", "last seen"];
            writeln!(
                out,
                "{id:<12}  {ip:<15}  {tcp:>5}  {udp:>5}  {via:<5}  {fork:<21}  {seen:<9}  {client}"
            )?;
        }
        for row in self.rows.values() {
            writeln!(out, "{}", row.text())?;
        }
        writeln!(out, "nodes found: {}, answered: {}", self.rows.len(), self.answered())
    }
}

impl Row {
    fn json(&self) -> Value {
        let fork = self.fork.map(|fork| json!({"hash": hash(fork), "next": fork.next}));
        json!({
            "event": "node", "id": self.node.id.to_string(), "enode": self.node.to_string(),
            "ip": self.node.ip.to_string(), "tcp": self.node.tcp, "udp": self.node.udp,
            "v4": self.v4, "v5": self.v5, "eth": fork, "client": self.client.as_deref().map(escape),
            "enr": self.record, "last_seen": self.last_seen,
        })
    }

    fn text(&self) -> String {
        let Node { id, ip, udp, tcp } = self.node;
        let over = match (self.v4, self.v5) {
            (true, true) => "v4 v5",
            (true, false) => "v4",
            (false, true) => "v5",
            (false, false) => "-",
        };
        let fork = self.fork.map_or("-".to_owned(), |fork| match fork.next {
            0 => hash(fork),
            next => format!("{} {next}", hash(fork)),
        });
        let client = self.client.as_deref().map_or("-".to_owned(), escape);
        let seen = self.last_seen.map_or("never".to_owned(), time_of_day);
        let (id, ip) = (id.to_string(), ip.to_string());
        let id = id.get(..12).unwrap_or(&id);
        format!("{id:<12}  {ip:<15}  {tcp:>5}  {udp:>5}  {over:<5}  {fork:<21}  {seen:<9}  {client}")
    }
}

fn hash(fork: ForkEntry) -> String {
    fork.hash.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The time of day in UTC.
fn time_of_day(unix_s: u64) -> String {
    let s = unix_s % 86_400;
    format!("{:02}:{:02}:{:02}Z", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        discover: DiscoverArgs,
    }

    const ENODE: &str = "enode://ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd3138\
                         7574077f301b421bc84df7266c44e9e6d569fc56be00812904767bf5ccd1fc7f@127.0.0.1:30303";

    fn parse(options: &str) -> Result<DiscoverArgs, String> {
        let args = std::iter::once("discover").chain(options.split_whitespace());
        Cli::try_parse_from(args).map(|cli| cli.discover).map_err(|error| crate::failure::one_line(&error))
    }

    #[test]
    fn both_protocols_are_spoken_unless_one_is_chosen() {
        for (options, v4, v5) in [("", true, true), ("--v4", true, false), ("--v4 --v5", true, true)] {
            let config = parse(&format!("--bootnode {ENODE} {options}")).unwrap().config().unwrap();
            assert_eq!((config.v4, config.v5, config.listen), (v4, v5, "127.0.0.1:0".parse().unwrap()));
        }
        // An enode says nothing that discv5 could start from.
        let refused = parse(&format!("--bootnode {ENODE} --v5")).unwrap().config().unwrap_err();
        assert_eq!(refused.exit_code(), 2);
    }

    #[test]
    fn unusable_options_are_refused_in_one_line() {
        for options in [
            String::new(),
            "--bootnode nonsense".to_owned(),
            "--bootnode enr:-nonsense".to_owned(),
            format!("--bootnode {ENODE} --listen 127.0.0.1:1"),
            format!("--bootnode {ENODE} --listen /ip4/127.0.0.1/tcp/1"),
            format!("--bootnode {ENODE} --timeout soon"),
        ] {
            let line = parse(&options).expect_err(&options);
            assert!(!line.is_empty() && !line.contains('\n') && !line.contains("Usage"), "{line:?}");
        }
    }

    #[test]
    fn what_a_node_says_of_itself_is_escaped() {
        let Bootnode::Enode(node) = ENODE.parse().unwrap() else { panic!() };
        let mut crawl = Crawl::default();
        crawl.add(Found { node, record: None, via: Via::V4, is_alive: false });
        assert_eq!(crawl.answered(), 0);
        crawl.add(Found { node, record: None, via: Via::V4, is_alive: true });
        assert_eq!((crawl.rows.len(), crawl.answered()), (1, 1));
        let row = crawl.rows.values_mut().next().unwrap();
        row.client = Some("a\x1b[2Jb\n".to_owned());
        row.fork = Some(ForkEntry { hash: [1, 2, 3, 4], next: 60 });
        for line in [row.text(), row.json().to_string()] {
            assert!(!line.contains('\x1b') && !line.contains('\n'), "{line:?}");
            assert!(line.contains("0x01020304"), "{line}");
        }
    }
}
