//! The page of an export in a real browser: it opens from a file, works, and lets nothing in.
//!
//! Skips, loudly, where no Chromium is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use std::time::Duration;

use trunkline::Network;
use trunkline::trace::Line;
use trunkline::trace::tools::export::lifeline::{Cause, Lifelines};
use trunkline::trace::tools::export::{Format, fixtures, write};
use trunkline::trace::tools::merge::join;
use trunkline::trace::tools::model::Keep;
use trunkline::trace::tools::read::Reader;
use trunkline::trace::tools::{Model, Node, Picture};

use crate::support::{self, Blob, ECHO, GetBlob, Over, SILENCE};

/// A folder of its own under the build's, gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn chromium() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        quiet(Command::new(name).arg("--version")).is_ok_and(|status| status.success())
    })
}

/// What the document is after the page has run; `None` without a browser.
fn opened(name: &str, picture: &Picture, hash: &str) -> Option<String> {
    let Some(browser) = chromium() else {
        eprintln!("SKIPPED {name}: no chromium on this machine, the page was not opened");
        return None;
    };
    let folder = Folder::new(name);
    let page = folder.0.join("trace.html");
    let mut file = fs::File::create(&page).expect("a file");
    write(Format::Html, picture, &mut file).expect("a page");
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"])
        .args(["--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.0.join("profile").display()))
        .arg(format!("file://{}{hash}", page.display()))
        .output()
        .expect("chromium runs");
    Some(String::from_utf8(output.stdout).expect("text"))
}

fn passes(name: &str, picture: &Picture) {
    let Some(document) = opened(name, picture, "#selftest") else { return };
    let (_, result) = document.split_once("<pre id=\"selftest\"").expect("a place for the result");
    let (result, _) = result.split_once("</pre>").expect("its end");
    println!("{result}");
    assert!(result.contains("selftest: passed") && !result.contains("FAILED"), "{result}");
    assert!(result.matches("\nok ").count() > 20, "{result}");
}

/// What a network has recorded, as tools read it.
fn node(network: &Network) -> Node {
    let mut file = Vec::new();
    network.trace().write_to(&mut file, "test").expect("memory takes it");
    let mut node = Node { model: Model::keeping(Keep::All), ..Node::default() };
    for line in Reader::new(&file[..]) {
        let line = line.expect("our own trace is readable");
        node.model.on(&line);
        if let Line::Event(record) = line {
            node.records.push(record);
        }
    }
    node
}

#[tokio::test]
async fn a_page_of_what_two_networks_recorded_works_in_a_browser() {
    let (server, client, peer) = support::two_nodes("/ip4/127.0.0.1/tcp/0").await;
    for size in [5, 100_000, 1_000_000, 64, 30_000] {
        peer.ask::<Blob>(GetBlob(ECHO, size)).await.expect("an answer");
    }
    let silent = peer.ask::<Blob>(GetBlob(SILENCE, 0));
    assert!(tokio::time::timeout(Duration::from_millis(80), silent).await.is_err());
    let mut picture = Picture { nodes: vec![node(&client), node(&server)], ..Picture::default() };
    client.over().await;
    server.over().await;
    join(&mut picture);
    assert_eq!(picture.pairs.len(), 6);
    let lines = Lifelines::of(&picture);
    let silent = lines.iter().find(|line| line.state() == "cancelled").expect("the one given up");
    assert_eq!(silent.longest().map(|wait| (wait.cause, wait.node)), Some((Cause::Handler, 1)));
    for format in Format::ALL {
        let mut out = Vec::new();
        write(format, &picture, &mut out).expect("memory takes it");
        assert!(out.len() > 200, "{format}");
    }
    passes("recorded", &picture);
}

#[test]
fn a_page_of_twenty_requests_works_in_a_browser() {
    passes("twenty", &fixtures::two_nodes(20));
}

#[test]
fn a_page_of_five_thousand_requests_works_in_a_browser() {
    passes("thousands", &fixtures::two_nodes(5_000));
}

#[test]
fn hostile_words_do_nothing_in_a_browser() {
    let words =
        "</script><img src=x onerror=\"document.title='owned'\"><b id=in>\u{1b}[31m\n\u{202e}\u{2028}\"'&lt;";
    let picture = fixtures::with_words(20, words);
    passes("hostile", &picture);
    let Some(document) = opened("hostile-plain", &picture, "") else { return };
    let (before, _) = document.split_once("<script").expect("the page's own scripts");
    for element in ["<img", "<b id", "\u{1b}", "\u{202e}", "\u{2028}", "owned</title>"] {
        assert!(!before.contains(element), "{element:?} stands in the document");
    }
    assert!(before.contains("\\u{1b}[31m"), "the words are shown, spelled out");
}
