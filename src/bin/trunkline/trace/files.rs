//! Which files are meant, and what is in them.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use trunkline::trace::Line;
use trunkline::trace::tools::merge::{self, Joined};
use trunkline::trace::tools::model::{Keep, Model};
use trunkline::trace::tools::read::Reader;
use trunkline::trace::tools::{Node, Picture};

use crate::escape::escape;
use crate::failure::Failure;

/// More files than this are a mistake.
const FILES_MAX: usize = 256;
/// More events than this are not drawn: they are held in memory.
const RECORDS_MAX: usize = 4_000_000;

/// Trace files, in the order in which they were named.
#[derive(Debug)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
}

impl Files {
    /// Takes files as they are, and from folders what ends in `.jsonl`, by name.
    pub(super) fn find(named: impl Iterator<Item = PathBuf>) -> Result<Self, Failure> {
        let mut paths = Vec::new();
        for path in named {
            if !path.is_dir() {
                paths.push(path);
                continue;
            }
            let entries = std::fs::read_dir(&path).map_err(|error| unusable(&path, &error))?;
            let entries = entries.flatten().map(|entry| entry.path());
            let mut found: Vec<_> =
                entries.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")).collect();
            if found.is_empty() {
                return Err(unusable(&path, &"there is no *.jsonl in this folder"));
            }
            found.sort();
            paths.extend(found);
        }
        match paths.len() {
            0 => Err(Failure::unusable("which trace? Name a file, or a folder with *.jsonl files")),
            1..=FILES_MAX => Ok(Self { paths }),
            n => Err(Failure::Unusable(format!("{n} files; at most {FILES_MAX} at once"))),
        }
    }

    /// Whether answers have to say which file they are about.
    pub(super) fn are_several(&self) -> bool {
        self.paths.len() > 1
    }

    /// The files.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The only file there is.
    pub(super) fn only(&self) -> Result<&Path, Failure> {
        match self.paths.as_slice() {
            [path] => Ok(path),
            paths => Err(Failure::Unusable(format!("{} files where one is meant", paths.len()))),
        }
    }

    /// All files side by side, joined; with their events, if they are wanted.
    pub(super) fn picture(&self, records: bool) -> Result<(Picture, Joined), Failure> {
        let mut picture = Picture::default();
        for path in &self.paths {
            let node = match records {
                true => with_records(path)?,
                false => Node { model: read(path, Keep::All)?, ..Node::default() },
            };
            picture.nodes.push(node);
        }
        let joined = merge::join(&mut picture);
        Ok((picture, joined))
    }

    /// What each of them says, under its name. Nothing is answered before all could be read.
    pub(super) fn models(&self, keep: Keep) -> Result<Vec<(String, Model)>, Failure> {
        let model = |path: &PathBuf| Ok((name(path), read(path, keep)?));
        self.paths.iter().map(model).collect()
    }
}

/// What a file says.
pub(super) fn read(path: &Path, keep: Keep) -> Result<Model, Failure> {
    let reader = Reader::open(path).map_err(|error| unusable(path, &error))?;
    Model::read(reader, keep).map_err(|error| unusable(path, &error))
}

fn with_records(path: &Path) -> Result<Node, Failure> {
    let mut reader = Reader::open(path).map_err(|error| unusable(path, &error))?;
    let mut node = Node::default();
    for line in &mut reader {
        let line = line.map_err(|error| unusable(path, &error))?;
        node.model.on(&line);
        if let Line::Event(record) = line {
            if node.records.len() >= RECORDS_MAX {
                let why = format!("has more than {RECORDS_MAX} events, too many for a picture");
                return Err(unusable(path, &why));
            }
            node.records.push(record);
        }
    }
    node.model.unknown = reader.unknown();
    node.model.cut = reader.cut();
    Ok(node)
}

/// Hands every line of a file to somebody.
pub(super) fn lines(path: &Path, mut each: impl FnMut(&Line)) -> Result<(), Failure> {
    for line in Reader::open(path).map_err(|error| unusable(path, &error))? {
        each(&line.map_err(|error| unusable(path, &error))?);
    }
    Ok(())
}

/// The name of a file, fit for a terminal.
pub(super) fn name(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

pub(super) fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::Unusable(format!("{}: {}", name(path), escape(&why.to_string())))
}

/// A new file for results, which must not be one of those that are read.
pub(super) fn create(to: &Path, read: &[PathBuf]) -> Result<BufWriter<File>, Failure> {
    let real = std::fs::canonicalize(to).ok();
    if real.is_some() && read.iter().any(|path| std::fs::canonicalize(path).ok() == real) {
        return Err(unusable(to, &"is one of the traces"));
    }
    File::create(to).map(BufWriter::new).map_err(|error| unusable(to, &error))
}

/// It could be opened, and then it could not be written.
pub(super) fn failed(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::Failed(format!("{}: {}", name(path), escape(&why.to_string())))
}
