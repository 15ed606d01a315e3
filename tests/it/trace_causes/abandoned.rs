//! Messages whose sender waits no longer when they reach their actor.

use trunkline::trace::Kind;
use trunkline::trace::tools::stuck::Cause;

use super::{SOON, Told, addr_of, ask, lasted, ms, undisturbed};
use crate::support::{self, BLOCK, Over, within};
use crate::trace_lines::recorded;

/// The thread of the manager is held up by a handler; meanwhile somebody who wanted to dial goes.
#[tokio::test]
async fn an_abandoned_dial_names_its_message_and_actor() {
    undisturbed(async || {
        let mut config = support::config("/ip4/127.0.0.1/tcp/0");
        config.network_threads = 1;
        let server = support::start(config).await;
        let client = support::start(support::config("")).await;
        let peer = client.dial(addr_of(&server)).await.expect("connects");
        let asking = tokio::spawn(async move { ask(&peer, BLOCK, 700).await });
        let begun = async {
            while server.trace().counts().open == 0 {
                tokio::task::yield_now().await;
            }
        };
        within(SOON, "the request", begun).await;
        let dialling = tokio::time::timeout(ms(50), server.dial(support::addr("/memory/1"))).await;
        assert!(dialling.is_err(), "{dialling:?}");
        assert!(within(SOON, "the answer", asking).await.expect("no panic").is_ok());
        let abandoned = async {
            loop {
                let records = recorded(&server);
                if let Some(record) = records.into_iter().find(|record| record.kind == Kind::MsgAbandoned) {
                    return record;
                }
                tokio::task::yield_now().await;
            }
        };
        let record = within(SOON, "msg.abandoned", abandoned).await;
        assert_eq!(record.name.as_deref(), Some("Dial"));
        let told = Told::by(&server, 300).await;
        let mut causes: Vec<Cause> = told.findings().iter().map(|finding| finding.cause).collect();
        causes.sort();
        assert_eq!(causes, [Cause::Handler, Cause::Caller], "{}", told.text());
        let finding = told.one(Cause::Caller);
        lasted(&finding, 500);
        let who = finding.actor.as_ref().expect("an actor");
        assert_eq!((who.actor, who.name.as_deref()), (record.actor, Some("ConnectionManager")));
        assert_eq!(finding.message.as_deref(), Some("Dial"));
        assert!(finding.sentence.contains("when its caller had gone"), "{}", finding.sentence);
        client.over().await;
        server.over().await;
    })
    .await;
}
