//! Real chains for tests. They lie beside the project, not in it.

use std::path::{Path, PathBuf};

/// The path of a file in `shared/data`, which lies beside the project or further up.
///
/// `None`, said aloud, when it is not there: the test that asked for it passes without testing.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found =
        here.ancestors().skip(1).map(|up| up.join("shared/data").join(name)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no ../shared/data/{name} beside the project");
    }
    found
}

/// The content of such a file.
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    std::fs::read(path(name)?).ok()
}
