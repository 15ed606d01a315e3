//! What the commands of `trunkline trace` do, from the library: each prints its command and answer.

use std::path::Path;

use trunkline::trace::Trace;
use trunkline::trace::tools::follow::{self, Chain, Which};
use trunkline::trace::tools::model::{Keep, Model};
use trunkline::trace::tools::read::{ReadError, Reader};
use trunkline::trace::tools::stuck::{self, Options};
use trunkline::trace::tools::{Filter, Node, Picture, merge};

/// `trunkline trace stuck FILE...`
pub(crate) fn stuck(files: &[&Path]) -> Result<(), ReadError> {
    let picture = picture(files)?;
    command("stuck", files);
    for (index, node) in picture.nodes.iter().enumerate() {
        let mut findings = stuck::find(&node.model, Options::default());
        stuck::explain_by_other_side(&picture, index, &mut findings);
        if files.len() > 1 {
            println!("== {}", files[index].display());
        }
        println!("{}", stuck::text(&node.model, &findings));
    }
    Ok(())
}

/// `trunkline trace follow slowest FILE`
pub(crate) fn follow_slowest(file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::read(Reader::open(file)?, Keep::All)?;
    let life = follow::choose(&model, &Which::Slowest, &Filter::default())?;
    // Who caused whom is found in a second reading, what these events say in a third one.
    let mut chain = Chain::new(&model, life);
    Reader::open(file)?.try_for_each(|line| line.map(|line| chain.link(&line)))?;
    chain.linked();
    Reader::open(file)?.try_for_each(|line| line.map(|line| chain.collect(&line)))?;
    command("follow slowest", &[file]);
    println!("{}", follow::text(&follow::follow(&model, life, &chain, Options::default())));
    Ok(())
}

/// What `trunkline node --trace-ui` shows of a running node, and SIGUSR1 dumps.
pub(crate) async fn live(node: &str, trace: &Trace) {
    let model = trace.snapshot().await;
    println!("\n  network_{node}.trace().snapshot()\n");
    println!("{}", stuck::text(&model, &stuck::find(&model, Options::default())));
}

/// `trunkline trace merge A B`
pub(crate) fn merge(a: &Path, b: &Path) -> Result<(), ReadError> {
    let mut picture = picture(&[a, b])?;
    let joined = merge::join(&mut picture);
    command("merge", &[a, b]);
    println!("{}", merge::text(&joined, &merge::splits(&picture, &Filter::default()), 40));
    Ok(())
}

fn picture(files: &[&Path]) -> Result<Picture, ReadError> {
    let mut picture = Picture::default();
    for file in files {
        let model = Model::read(Reader::open(file)?, Keep::All)?;
        picture.nodes.push(Node { model, ..Node::default() });
    }
    merge::join(&mut picture);
    Ok(picture)
}

fn command(command: &str, files: &[&Path]) {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    println!("\n$ trunkline trace {command} {}\n", files.join(" "));
}
