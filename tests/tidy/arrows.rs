//! Who may import whom. An arrow includes what lies below it; there is no other arrow and no circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::{CRATES, root};

/// The drawn arrows: a room and the rooms right below it.
const ARROWS: [(&str, &[&str]); 17] = [
    ("contract", &[]),
    ("kernels", &[]),
    ("telemetry", &[]),
    ("sections", &[]),
    ("crds", &["contract"]),
    ("catalog", &["contract", "sections"]),
    ("store", &["contract", "sections"]),
    ("data", &["contract"]),
    ("plan", &["crds"]),
    ("models", &["catalog", "kernels"]),
    ("evaluation", &["models", "data"]),
    ("learning", &["evaluation", "store"]),
    ("jobs", &["learning", "telemetry"]),
    ("pool", &["models", "store", "telemetry"]),
    ("wire", &["contract", "telemetry"]),
    ("gateway", &["wire"]),
    ("operator", &["plan", "telemetry"]),
];

fn below(room: &str, arrows: &BTreeMap<&str, &[&str]>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for next in arrows[room] {
        all.insert((*next).to_owned());
        all.extend(below(next, arrows));
    }
    all
}

#[test]
fn rooms_import_only_what_lies_below_them() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut seen = BTreeSet::new();
    for folder in CRATES {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let name = manifest
            .lines()
            .find_map(|line| line.strip_prefix("name = \"recmesh-"))
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or_else(|| panic!("{folder}/Cargo.toml has no name recmesh-…"));
        assert!(arrows.contains_key(name), "{folder}: room {name} is not drawn in tests/tidy/arrows.rs");
        seen.insert(name.to_owned());
        let allowed = below(name, &arrows);
        for line in manifest.lines().filter(|line| !line.trim_start().starts_with("name")) {
            let Some(rest) = line.trim_start().strip_prefix("recmesh-") else { continue };
            let used: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            assert!(allowed.contains(&used), "{folder}: {name} may not import {used}; allowed: {allowed:?}");
        }
    }
    assert_eq!(seen.len(), ARROWS.len(), "every drawn room exists");
}

#[test]
fn every_member_is_checked() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
    let members: BTreeSet<&str> = members.split('"').skip(1).step_by(2).collect();
    assert_eq!(members, CRATES.into_iter().collect(), "tests/tidy/mod.rs lists the workspace's members");
}
