//! What the commands of `trunkline trace` do, from the library: each prints its command and answer.

use std::path::Path;
use std::time::Duration;

use trunkline::trace::Trace;
use trunkline::trace::tools::follow::{self, Chain, Which};
use trunkline::trace::tools::merge::{self, Joined};
use trunkline::trace::tools::model::{Keep, Model};
use trunkline::trace::tools::read::{ReadError, Reader};
use trunkline::trace::tools::stuck::{self, Options};
use trunkline::trace::tools::{Filter, Node, Picture};

/// Waits until a file tells how every request ended. It is written behind, by some 25 ms.
pub(crate) async fn caught_up(file: &Path) -> Result<(), ReadError> {
    for _ in 0..200 {
        let model = Model::read(Reader::open(file)?, Keep::All)?;
        if model.lives.values().all(|life| life.end.is_some()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Ok(())
}

/// `trunkline trace stuck FILE...`
pub(crate) fn stuck(files: &[&Path]) -> Result<(), ReadError> {
    let (picture, _) = picture(files)?;
    command("stuck", files, "");
    for (index, node) in picture.nodes.iter().enumerate() {
        let mut findings = stuck::find(&node.model, Options::default());
        stuck::explain_by_other_side(&picture, index, &mut findings);
        if files.len() > 1 {
            println!("== {}", files[index].display());
        }
        println!("{}", stuck::text(&node.model, &findings).trim_end());
    }
    println!();
    Ok(())
}

/// `trunkline trace follow slowest FILE`, without the last part.
pub(crate) fn follow_slowest(file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::read(Reader::open(file)?, Keep::All)?;
    let life = follow::choose(&model, &Which::Slowest, &Filter::default())?;
    // Who caused whom is found in a second reading, what these events say in a third one.
    let mut chain = Chain::new(&model, life);
    Reader::open(file)?.try_for_each(|line| line.map(|line| chain.link(&line)))?;
    chain.linked();
    Reader::open(file)?.try_for_each(|line| line.map(|line| chain.collect(&line)))?;
    // Whoever follows a request wants to know what held it up, however short that was.
    let long = life.took(model.span.1) / 4;
    let options = Options { over_ns: long.clamp(1, 1_000_000_000), now_ns: long.clamp(1, 100_000_000) };
    let followed = follow::follow(&model, life, &chain, options);
    command("follow slowest", &[file], "");
    let text = follow::text(&followed);
    let (life_line, _) = text.split_once("what caused what:").unwrap_or((&text, ""));
    println!("{life_line}[and its chain of causes: {} events]\n", followed.chain.len());
    Ok(())
}

/// What `trunkline node --trace-ui` shows of a running node, and SIGUSR1 dumps.
pub(crate) async fn live(node: &str, trace: &Trace) {
    let model = trace.snapshot().await;
    println!("\n  network_{node}.trace().snapshot()\n");
    println!("{}", stuck::text(&model, &stuck::find(&model, Options::default())));
}

/// `trunkline trace merge A B 'wait>100ms'`
pub(crate) fn merge_slow(a: &Path, b: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let (picture, joined) = picture(&[a, b])?;
    let filter: Filter = "wait>100ms".parse()?;
    command("merge", &[a, b], " 'wait>100ms'");
    println!("{}", merge::text(&joined, &merge::splits(&picture, &filter), 40));
    Ok(())
}

fn picture(files: &[&Path]) -> Result<(Picture, Joined), ReadError> {
    let mut picture = Picture::default();
    for file in files {
        let model = Model::read(Reader::open(file)?, Keep::All)?;
        picture.nodes.push(Node { model, ..Node::default() });
    }
    let joined = merge::join(&mut picture);
    Ok((picture, joined))
}

fn command(command: &str, files: &[&Path], filter: &str) {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    println!("\n$ trunkline trace {command} {}{filter}\n", files.join(" "));
}
