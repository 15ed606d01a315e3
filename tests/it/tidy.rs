//! The shape of the source: what must be absent where, and that imports point down.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// Whether a file is only compiled for tests.
fn is_for_tests(path: &Path) -> bool {
    let name = path.to_string_lossy();
    ["tests.rs", "/tests/", "fixtures.rs", "session_pair.rs", "/testing/"]
        .iter()
        .any(|part| name.contains(part))
}

/// The part of a file that is not tests, without comments.
fn code(path: &Path, text: &str) -> String {
    if is_for_tests(path) {
        return String::new();
    }
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn absent(folder: &str, words: &[&str]) {
    for (path, text) in sources(folder) {
        let code = code(&path, &text);
        for word in words {
            assert!(!code.contains(word), "{} must not mention {word}", path.display());
        }
    }
}

#[test]
fn pure_folders_know_no_runtime_clock_socket_or_randomness() {
    for folder in ["wire", "machine"] {
        absent(
            folder,
            &["tokio", "actix", "Instant::now", "SystemTime", "rand::", "std::net", "std::thread"],
        );
    }
}

#[test]
fn imports_point_down() {
    let above = |floor: &str| -> Vec<String> {
        let floors = ["network", "manager", "session", "router", "transport", "protocols", "machine", "wire"];
        let index = floors.iter().position(|name| *name == floor).expect("a floor");
        let up = floors[..index].iter().map(|name| format!("crate::{name}::"));
        up.chain(floors[..index].iter().map(|name| format!("crate::{name};"))).collect()
    };
    for floor in ["manager", "session", "protocols", "machine", "wire"] {
        let words = above(floor);
        absent(floor, &words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    absent(
        "transport",
        &["crate::network", "crate::manager", "crate::session", "crate::router", "crate::sync"],
    );
    absent(
        "chain",
        &["crate::network", "crate::manager", "crate::session", "crate::transport", "crate::sync"],
    );
    absent("protocols", &["crate::sync", "PeerHandle"]);
    // Everybody may record; the trace knows nobody.
    let nobody =
        ["actor", "network", "manager", "session", "router", "transport", "protocols", "machine", "sync"];
    let nobody: Vec<String> = nobody.iter().map(|name| format!("crate::{name}")).collect();
    absent("trace", &nobody.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn nothing_bypasses_a_mailbox_but_a_request_and_its_cancel() {
    let calls: Vec<String> = sources("")
        .iter()
        .flat_map(|(path, text)| {
            let code = code(path, text);
            let count = code.matches(".do_send").count();
            std::iter::repeat_n(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), count)
        })
        .collect();
    // The first two are the address itself, passing them on to actix.
    assert_eq!(calls, ["address.rs", "address.rs", "open_request.rs", "open_request.rs"]);
}

#[test]
fn no_channel_is_unbounded() {
    absent("", &["unbounded_channel", "mpsc::unbounded", "UnboundedSender"]);
}

#[test]
fn no_file_grows_past_five_hundred_lines() {
    for (path, text) in sources("") {
        let lines = text.lines().count();
        let most = if is_for_tests(&path) { 700 } else { 500 };
        assert!(lines <= most, "{} has {lines} lines: split it by question", path.display());
    }
}
