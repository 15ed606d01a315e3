//! A request without an end: its caller holds it and does nothing more with it.

use futures::FutureExt;
use trunkline::Direction;
use trunkline::trace::TraceConfig;
use trunkline::trace::tools::stuck::Cause;

use super::{Folder, Told, addr_of, ask, undisturbed};
use crate::support::{self, Blob, GetBlob, Over, SILENCE};

#[tokio::test]
async fn a_request_that_is_never_polled_again_is_an_orphan_and_leaves_a_dump() {
    undisturbed(async || {
        let folder = Folder::new("orphan");
        let live = folder.0.join("live.jsonl");
        let server = support::start(support::config("/ip4/127.0.0.1/tcp/0")).await;
        let mut config = support::config("");
        let dump_dir = Some(folder.0.clone());
        config.trace = TraceConfig { file: Some(live.clone()), dump_dir, ..TraceConfig::default() };
        let client = support::start(config).await;
        let peer = client.dial(addr_of(&server)).await.expect("connects");
        let mut held = Box::pin(peer.ask::<Blob>(GetBlob(SILENCE, 0)));
        assert!(held.as_mut().now_or_never().is_none());
        // What was asked behind it has been answered, so it was taken up.
        assert!(ask(&peer, support::ECHO, 1).await.is_ok());
        client.shutdown().await;
        assert_eq!(client.trace().counts().open, 1);
        let told = Told::in_file(&live, 1000);
        assert_eq!(told.model.closed, Some(1), "orphans by the file's own count");
        let finding = told.only(Cause::Orphan);
        assert_eq!(finding.requests_total, 1);
        assert!(finding.sentence.contains("it had got to written"), "{}", finding.sentence);
        told.follows(told.life(Direction::Outbound, "open"), &finding);
        let dumps = client.trace().dumps();
        assert_eq!(dumps.iter().map(|(_, reason)| reason.as_str()).collect::<Vec<_>>(), ["orphan"]);
        let dump = std::fs::read_to_string(&dumps[0].0).expect("readable");
        assert!(dump.contains(r#""reason":"orphan""#) && dump.contains("req.created"), "{dump}");
        drop(held);
        assert_eq!(client.trace().counts().open, 0);
        server.over().await;
    })
    .await;
}
