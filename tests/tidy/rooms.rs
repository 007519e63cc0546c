//! Words that stay in their room: the actor library, unsafe code, the process environment, status codes.

use std::{fs, path::PathBuf};

use super::{root, sources};

/// Source lines (comments left out) of the product that contain `word`, outside `rooms`.
fn strays(word: &str, rooms: &[&str]) -> Vec<String> {
    let root = root();
    let folders = ["cli", "crds", "gateway", "operator", "workers"].map(|folder| root.join(folder));
    let mut found = Vec::new();
    for path in folders.iter().flat_map(|folder| sources(folder)) {
        let short: PathBuf = path.strip_prefix(&root).unwrap().to_owned();
        if rooms.iter().any(|room| short.starts_with(room)) || short.to_string_lossy().contains("tests") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            if !line.trim_start().starts_with("//") && line.contains(word) {
                found.push(format!("{}:{}: {}", short.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn only_the_pool_names_the_actor_library() {
    assert_eq!(strays("actix", &["workers/pool"]), Vec::<String>::new());
}

#[test]
fn unsafe_code_stays_with_kernels_and_mapped_files() {
    let rooms = ["workers/kernels", "workers/sections"];
    assert_eq!(strays("unsafe ", &rooms), Vec::<String>::new());
}

#[test]
fn only_main_reads_the_environment() {
    assert_eq!(strays("env::var", &["cli"]), Vec::<String>::new());
}

#[test]
fn only_the_reply_knows_status_codes() {
    let rooms = ["gateway/src/reply.rs"];
    let outside: Vec<String> =
        strays("StatusCode::", &rooms).into_iter().filter(|line| line.starts_with("gateway")).collect();
    assert_eq!(outside, Vec::<String>::new());
}
