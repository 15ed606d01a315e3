//! Causes within the node that is asked: handlers, limits, panics.

use trunkline::trace::tools::stuck::Cause;
use trunkline::trace::{Kind, TraceConfig};
use trunkline::{Direction, RequestError};

use super::{Folder, SOON, Told, addr_of, ask, keep_talking, lasted, ms, names_session, undisturbed};
use crate::support::{self, BLOCK, Blob, GetBlob, LATER, Over, PANIC, SILENCE, within};
use crate::trace_lines::recorded;

#[tokio::test]
async fn a_handler_that_keeps_its_thread_is_named_with_its_actor() {
    undisturbed(async || {
        let (server, client, peer) = support::two_nodes("/ip4/127.0.0.1/tcp/0").await;
        // The one that comes behind waits for the same thread.
        let (first, second) = tokio::join!(ask(&peer, BLOCK, 200), ask(&peer, support::ECHO, 5));
        assert!(first.is_ok() && second.is_ok());
        let told = Told::by(&server, 150).await;
        let finding = told.only(Cause::Handler);
        lasted(&finding, 200);
        names_session(&told, &finding);
        assert!(finding.message.is_some() && !finding.now, "{finding:#?}");
        assert!(finding.requests_total >= 1, "{}", told.text());
        let slow = told.lives(Direction::Inbound, "ok").into_iter().max_by_key(|life| life.took(u64::MAX));
        let text = told.follows(slow.expect("served"), &finding);
        assert!(text.contains("PeerSession") && text.contains("GetBlob"), "{text}");
        client.over().await;
        server.over().await;
    })
    .await;
}

/// K8.
#[tokio::test]
async fn a_blocked_thread_is_told_of_while_it_lasts_and_others_go_on() {
    undisturbed(async || {
        let folder = Folder::new("k8");
        let mut config = support::config("/ip4/127.0.0.1/tcp/0");
        config.network_threads = 2;
        config.trace = TraceConfig { file: Some(folder.0.join("live.jsonl")), ..TraceConfig::default() };
        let server = support::start(config).await;
        let client = support::start(support::config("")).await;
        let other = support::start(support::config("")).await;
        let blocked = client.dial(addr_of(&server)).await.expect("connects");
        let free = other.dial(addr_of(&server)).await.expect("connects");
        let asking = tokio::spawn(async move { ask(&blocked, BLOCK, 700).await });
        let begun = std::time::Instant::now();
        let stalled = async {
            while !recorded(&server).iter().any(|record| record.kind == Kind::Stalled && record.actor != 0) {
                keep_talking(&free, ms(5)).await;
            }
        };
        within(SOON, "the stall is told", stalled).await;
        assert!(begun.elapsed() < ms(650), "only when it was over: {:?}", begun.elapsed());
        assert!(!asking.is_finished());
        let told = Told::by(&server, 200).await;
        let finding = told.only(Cause::Handler);
        names_session(&told, &finding);
        lasted(&finding, 250);
        assert!(finding.now, "{finding:#?}");
        let stall = recorded(&server).into_iter().find(|record| record.kind == Kind::Stalled);
        assert_eq!(stall.map(|record| record.actor), finding.actor.map(|who| who.actor));
        assert!(within(SOON, "the answer", asking).await.expect("no panic").is_ok());
        let told = Told::by(&server, 200).await;
        let finding = told.only(Cause::Handler);
        lasted(&finding, 700);
        names_session(&told, &finding);
        // The other peer, on the other thread, has not noticed.
        let slowest = other.trace().snapshot().await;
        let slowest = slowest.lives.values().map(|life| life.took(slowest.span.1)).max().expect("it asked");
        assert!(slowest < 300_000_000, "{slowest} ns");
        for node in [&client, &other, &server] {
            node.over().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_protocol_that_takes_long_is_named_while_it_does_and_afterwards() {
    undisturbed(async || {
        let (server, client, peer) = support::two_nodes("/ip4/127.0.0.1/tcp/0").await;
        let asking = tokio::spawn({
            let peer = peer.clone();
            async move { ask(&peer, LATER, 600).await }
        });
        keep_talking(&peer, ms(300)).await;
        let told = Told::by(&server, 200).await;
        let finding = told.only(Cause::NobodyServing);
        lasted(&finding, 200);
        let life = told.life(Direction::Inbound, "open");
        assert_eq!(finding.requests, [life.key.to_string()]);
        told.follows(life, &finding);
        keep_talking(&peer, ms(250)).await;
        assert!(within(SOON, "an answer", asking).await.expect("no panic").is_ok());
        let told = Told::by(&server, 300).await;
        let finding = told.only(Cause::SlowServing);
        lasted(&finding, 600);
        let asked = finding.request.as_ref().expect("a request");
        assert_eq!((asked.proto.as_deref(), asked.kind.as_deref()), (Some("/test/blob/1"), Some("GetBlob")));
        let life = told.model.lives.values().find(|life| life.key.to_string() == asked.id).expect("known");
        assert!(told.follows(life, &finding).contains("the protocol took"));
        client.over().await;
        server.over().await;
    })
    .await;
}

#[tokio::test]
async fn the_fifth_request_waits_for_a_place() {
    undisturbed(async || {
        let (server, client, peer) = support::two_nodes("/ip4/127.0.0.1/tcp/0").await;
        let asking: Vec<_> = (0..5)
            .map(|_| {
                let peer = peer.clone();
                tokio::spawn(async move { ask(&peer, SILENCE, 0).await })
            })
            .collect();
        let five = async {
            while server.trace().counts().open < 5 {
                tokio::task::yield_now().await;
            }
        };
        within(SOON, "five requests", five).await;
        tokio::time::sleep(ms(300)).await;
        let told = Told::by(&server, 200).await;
        // The four that nobody answers are what it waits for.
        let four = told.one(Cause::NobodyServing);
        assert_eq!((four.requests_total, told.findings().len()), (4, 2), "{}", told.text());
        let fifth = told.one(Cause::Limiter);
        lasted(&fifth, 300);
        assert_eq!(fifth.requests_total, 1);
        assert!(fifth.sentence.contains("as many as may be are being served"), "{}", fifth.sentence);
        let life = told.model.lives.values().find(|life| life.key.to_string() == fifth.requests[0]);
        let life = life.expect("known");
        assert_eq!(life.queued_for.as_deref(), Some("serving"));
        told.follows(life, &fifth);
        asking.iter().for_each(|task| task.abort());
        futures::future::join_all(asking).await;
        client.over().await;
        server.over().await;
    })
    .await;
}

#[tokio::test]
async fn a_request_beyond_our_own_bound_is_busy() {
    undisturbed(async || {
        let server = support::start(support::config("/ip4/127.0.0.1/tcp/0")).await;
        let mut config = support::config("");
        config.pending_requests_max = 1;
        let client = support::start(config).await;
        let peer = client.dial(addr_of(&server)).await.expect("connects");
        let silent = peer.ask::<Blob>(GetBlob(SILENCE, 0));
        let (silent, busy) =
            tokio::join!(tokio::time::timeout(ms(100), silent), ask(&peer, support::ECHO, 1));
        assert!(silent.is_err() && matches!(busy, Err(RequestError::Busy)), "{busy:?}");
        let told = Told::by(&client, 1000).await;
        let finding = told.only(Cause::Limiter);
        assert!(finding.sentence.contains("all places for requests were taken"), "{}", finding.sentence);
        told.follows(told.life(Direction::Outbound, "busy"), &finding);
        client.over().await;
        server.over().await;
    })
    .await;
}

#[tokio::test]
async fn a_panic_names_its_actor_and_leaves_a_dump() {
    undisturbed(async || {
        let folder = Folder::new("panic");
        let mut config = support::config("/ip4/127.0.0.1/tcp/0");
        config.trace = TraceConfig { dump_dir: Some(folder.0.clone()), ..TraceConfig::default() };
        let server = support::start(config).await;
        let client = support::start(support::config("")).await;
        let peer = client.dial(addr_of(&server)).await.expect("connects");
        assert!(ask(&peer, support::ECHO, 5).await.is_ok());
        let result = ask(&peer, PANIC, 0).await;
        assert!(matches!(result, Err(RequestError::Disconnected(_))), "{result:?}");
        let dumped = async {
            while server.trace().dumps().is_empty() {
                tokio::time::sleep(ms(5)).await;
            }
        };
        within(SOON, "a dump", dumped).await;
        assert_eq!(server.trace().dumps()[0].1, "panic");
        let dumps = folder.dumps();
        assert_eq!(dumps.len(), 1, "{dumps:?}");
        let dump = std::fs::read_to_string(&dumps[0]).expect("readable");
        assert!(dump.contains(r#""reason":"panic""#) && dump.contains("actor.panicked"), "{dump}");
        let told = Told::by(&server, 1000).await;
        told.only(Cause::Panic);
        let finding = told.findings().into_iter().find(|finding| finding.actor.is_some()).expect("an actor");
        names_session(&told, &finding);
        assert!(finding.message.is_some(), "{finding:#?}");
        let life = told.life(Direction::Inbound, "panicked");
        let (followed, text) = told.follow(life);
        assert_eq!(followed.findings.len(), 1, "{text}");
        assert_eq!(
            followed.findings[0].actor, finding.actor,
            "the request does not lead to the actor: {text}"
        );
        client.over().await;
        server.over().await;
    })
    .await;
}
