//! Histories come back as they were written, or are refused.

use std::{collections::BTreeMap, fs};

use proptest::prelude::*;

use crate::Histories;

fn write(path: &std::path::Path, users: &[(&str, Vec<u32>)]) -> crate::Result<()> {
    Histories::write(path, users.iter().map(|(id, items)| (*id, items.as_slice())))
}

#[test]
fn every_changed_byte_and_every_truncation_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [path, bad] = ["histories.bin", "bad"].map(|name| folder.path().join(name));
    write(&path, &[("1", vec![3, 1, 3]), ("é", vec![]), ("x", vec![u32::MAX])]).unwrap();
    let open = Histories::open(&path).unwrap();
    assert_eq!([0, 1, 2].map(|u| open.items(u)), [[3, 1, 3].as_slice(), &[], &[u32::MAX]]);
    assert_eq!((open.len(), open.find("é"), open.find("e"), open.id(2)), (3, Some(1), None, "x"));
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        fs::write(&bad, changed).unwrap();
        let error = Histories::open(&bad).unwrap_err().to_string();
        assert!(error.contains("bad: "), "{error}");
        fs::write(&bad, &whole[..at]).unwrap();
        assert!(Histories::open(&bad).is_err(), "{at} bytes");
    }
}

#[test]
fn two_users_of_one_id_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("histories.bin");
    let error = write(&path, &[("a", vec![]), ("b", vec![1]), ("a", vec![2])]).unwrap_err().to_string();
    assert!(error.contains("histories.bin: user \"a\" is given as row 0 and as row 2"), "{error}");
    assert!(!path.exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equals_a_naive_map(
        users in prop::collection::btree_map("\\PC{0,6}", prop::collection::vec(0u32..9, 0..6), 0..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("histories.bin");
        let naive: BTreeMap<String, Vec<u32>> = users;
        let rows: Vec<(&str, Vec<u32>)> = naive.iter().rev().map(|(id, items)| (id.as_str(), items.clone())).collect();
        write(&path, &rows).unwrap();
        let open = Histories::open(&path).unwrap();
        prop_assert_eq!((open.len(), open.is_empty()), (rows.len(), rows.is_empty()));
        for (row, (id, items)) in rows.iter().enumerate() {
            prop_assert_eq!((open.id(row as u32), open.items(row as u32)), (*id, &items[..]));
            prop_assert_eq!(open.find(id), Some(row as u32));
            let longer = format!("{id}0");
            prop_assert_eq!(open.find(&longer).is_some(), naive.contains_key(&longer));
        }
    }
}
