//! Which files are meant, and what is in them.

use std::path::{Path, PathBuf};

use trunkline::trace::tools::model::{Keep, Model};
use trunkline::trace::tools::read::Reader;

use crate::escape::escape;
use crate::failure::Failure;

/// More files than this are a mistake.
const FILES_MAX: usize = 256;

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

/// The name of a file, fit for a terminal.
pub(super) fn name(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

pub(super) fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::Unusable(format!("{}: {}", name(path), escape(&why.to_string())))
}
