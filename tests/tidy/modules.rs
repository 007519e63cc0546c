//! Every source file is compiled: reached by a `mod` from a crate's root.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{CRATES, root, sources};

/// Adds a file and everything its `mod name;` lines lead to, also where a `#[path = "…"]` above one says where.
fn reach(file: &Path, children: &Path, reached: &mut BTreeSet<PathBuf>) {
    reached.insert(file.to_owned());
    let mut told = None;
    for line in fs::read_to_string(file).unwrap().lines() {
        if let Some(path) = line.trim().strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            told = Some(children.join(path).canonicalize().unwrap());
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = match words.as_slice() {
            ["mod", name] => name,
            [first, "mod", name] if first.starts_with("pub") => name,
            _ => continue,
        };
        let Some(name) = name.strip_suffix(';') else { continue };
        if let Some(path) = told.take() {
            reach(&path, &path.with_extension(""), reached);
            continue;
        }
        let flat = children.join(format!("{name}.rs"));
        let nested = children.join(name).join("mod.rs");
        let (path, folder) = if flat.exists() { (flat, children.join(name)) } else { (nested, children.join(name)) };
        assert!(path.exists(), "{}: mod {name} leads nowhere", file.display());
        reach(&path, &folder, reached);
    }
}

#[test]
fn every_source_file_is_compiled() {
    let root = root();
    let mut reached = BTreeSet::new();
    reach(&root.join("cli/main.rs"), &root.join("cli"), &mut reached);
    let mut all: BTreeSet<PathBuf> = sources(&root.join("cli")).into_iter().collect();
    for folder in CRATES {
        let source = root.join(folder).join("src");
        reach(&source.join("lib.rs"), &source, &mut reached);
        all.extend(sources(&source));
        for kind in ["tests", "benches", "examples"] {
            for file in sources(&root.join(folder).join(kind)) {
                // Cargo's roots: `<kind>/<name>.rs` and `<kind>/<name>/main.rs`.
                let parent = file.parent().unwrap();
                let folder = if file.ends_with("main.rs") { parent.parent().unwrap() } else { parent };
                if folder.ends_with(kind) {
                    reach(&file, parent, &mut reached);
                }
                all.insert(file);
            }
        }
    }
    for kind in ["tests", "benches"] {
        for file in sources(&root.join(kind)) {
            // Cargo's roots: `<kind>/<name>.rs` and `<kind>/<name>/main.rs`.
            let parent = file.parent().unwrap();
            if parent == root.join(kind) || file.ends_with("main.rs") {
                reach(&file, parent, &mut reached);
            }
            all.insert(file);
        }
    }
    let orphans: Vec<_> = all.difference(&reached).collect();
    assert!(orphans.is_empty(), "compiled by nobody: {orphans:?}");
}
