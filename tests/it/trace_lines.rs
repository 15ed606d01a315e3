//! The life lines of requests: complete, in order, ended once, on both sides.

use std::collections::HashMap;
use std::time::Duration;

use trunkline::trace::tools::read::Reader;
use trunkline::trace::{EventId, Kind, Line, Record, TraceConfig};
use trunkline::{Direction, Network};

use crate::support::Over;
use crate::support::{self, ECHO, GetBlob, SILENCE, within};

const SOON: Duration = Duration::from_secs(10);

/// The events of what a network's flight recorder holds.
pub(crate) fn recorded(network: &Network) -> Vec<Record> {
    let mut file = Vec::new();
    network.trace().write_to(&mut file, "test").expect("memory takes it");
    events(&file)
}

/// The events of a trace file.
pub(crate) fn events(file: &[u8]) -> Vec<Record> {
    let lines = Reader::new(file).map(|line| line.expect("our own trace is readable"));
    lines
        .filter_map(|line| match line {
            Line::Event(record) => Some(record),
            _ => None,
        })
        .collect()
}

/// The kinds of each request's events, in their order, by key.
pub(crate) fn lives(records: &[Record], dir: Direction) -> HashMap<EventId, Vec<&Record>> {
    let mut lives: HashMap<EventId, Vec<&Record>> = HashMap::new();
    for record in records.iter().filter(|record| record.kind.is_request() && record.dir == Some(dir)) {
        lives.entry(record.key.expect("requests have keys")).or_default().push(record);
    }
    lives
}

fn kinds(life: &[&Record]) -> Vec<Kind> {
    life.iter().map(|record| record.kind).collect()
}

const OURS: [Kind; 9] = [
    Kind::ReqCreated,
    Kind::ReqQueued,
    Kind::ReqEncoded,
    Kind::ReqWritten,
    Kind::ReqFirstByte,
    Kind::ReqReceived,
    Kind::ReqDelivered,
    Kind::ReqDecoded,
    Kind::ReqEnded,
];
const THEIRS: [Kind; 5] =
    [Kind::ReqReceived, Kind::ReqDelivered, Kind::ReqEncoded, Kind::ReqWritten, Kind::ReqEnded];

#[tokio::test]
async fn a_request_leaves_a_whole_life_line_on_both_sides() {
    for listen in ["/memory/0", "/ip4/127.0.0.1/tcp/0"] {
        let (server, client, peer) = support::two_nodes(listen).await;
        for size in [5, 100_000] {
            within(SOON, "an answer", peer.ask::<support::Blob>(GetBlob(ECHO, size)))
                .await
                .expect("an answer");
        }
        let ours = recorded(&client);
        let lives_of_ours = lives(&ours, Direction::Outbound);
        assert_eq!(lives_of_ours.len(), 2);
        for life in lives_of_ours.values() {
            // Each step once: also where the answer's first part was told before the whole.
            assert_eq!(kinds(life), OURS, "{listen}");
            assert_eq!(life[8].proto.as_deref(), Some("/test/blob/1"));
            assert!(life.iter().all(|record| record.conn == life[0].conn && record.conn > 0));
        }
        client.over().await;
        server.over().await;
        let theirs = recorded(&server);
        let served = lives(&theirs, Direction::Inbound);
        assert_eq!(served.len(), 2);
        for life in served.values() {
            assert_eq!(kinds(life), THEIRS, "{listen}");
            assert_eq!(life[4].how.as_deref(), Some("ok"));
        }
        for node in [&client, &server] {
            assert_eq!(node.trace().counts().open, 0, "{listen}");
        }
    }
}

#[tokio::test]
async fn a_live_file_ends_with_its_counts_and_holds_every_terminal() {
    let file = std::env::temp_dir().join(format!("trunkline-live-{}.jsonl", std::process::id()));
    let server = support::start(support::config("/ip4/127.0.0.1/tcp/0")).await;
    let mut config = support::config("");
    config.trace = TraceConfig { file: Some(file.clone()), ..TraceConfig::default() };
    let client = support::start(config).await;
    let to = server.listening()[0].clone();
    let peer = client.dial(to).await.expect("connects");
    let silent = peer.ask::<support::Blob>(GetBlob(SILENCE, 0));
    let (answer, silent) = tokio::join!(peer.ask::<support::Blob>(GetBlob(ECHO, 9)), async {
        tokio::time::timeout(Duration::from_millis(50), silent).await
    });
    assert!(answer.is_ok() && silent.is_err());
    client.over().await;
    server.over().await;
    let bytes = std::fs::read(&file).expect("the live file");
    std::fs::remove_file(&file).expect("the live file is ours");
    let lines: Vec<Line> = Reader::new(&bytes[..]).map(|line| line.expect("readable")).collect();
    assert!(matches!(lines[0], Line::Header(_)), "{:?}", lines[0]);
    let Some(Line::End { events: written, orphans: 0 }) = lines.last() else { panic!("{:?}", lines.last()) };
    assert_eq!(*written, lines.len() as u64 - 2);
    let records = events(&bytes);
    let ends: Vec<&str> =
        records.iter().filter(|r| r.kind == Kind::ReqEnded).map(|r| r.how.as_deref().unwrap_or("")).collect();
    assert_eq!(ends, ["ok", "cancelled"]);
    let text = String::from_utf8(bytes).expect("a trace is UTF-8");
    for expected in
        ["conn.dialing", "conn.step", "substream.agreed", "session.settled", "msg.started", "socket.read"]
    {
        assert!(text.contains(expected), "no {expected} in\n{text}");
    }
}
