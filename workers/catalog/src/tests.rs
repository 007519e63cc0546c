//! A catalog answers what a naive map over the same items answers; a file that is not whole is refused.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    thread,
};

use proptest::prelude::*;
use recmesh_contract::{ItemIndex, Mask};
use sha2::{Digest, Sha256};

use super::*;

fn item(id: &str, codes: &[u32]) -> CatalogItem {
    CatalogItem { id: id.into(), codes: codes.to_vec(), ..CatalogItem::default() }
}

/// Three items, two of which share a leaf.
fn small() -> Vec<CatalogItem> {
    let genres = |values: &[&str]| ("genre".to_owned(), values.iter().map(|&v| v.to_owned()).collect());
    vec![
        CatalogItem { title: Some("Héat".into()), popularity: 2, ..item("27", &[1, 0]) },
        CatalogItem { attributes: vec![genres(&["war", "drama", "war"])], popularity: 9, ..item("a/ü", &[1, 0]) },
        CatalogItem {
            title: Some(String::new()),
            attributes: vec![genres(&["drama"]), ("empty".into(), vec![]), genres(&["art"])],
            ..item("☃", &[0, 4])
        },
    ]
}

fn written(path: &Path) -> Catalog {
    let digest = write(path, &[3, 5], &small()).unwrap();
    let catalog = Catalog::open(path).unwrap();
    assert_eq!(catalog.digest(), digest);
    catalog
}

#[test]
fn answers_about_items() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = written(&folder.path().join("catalog.bin"));
    assert_eq!((catalog.len(), catalog.levels(), catalog.codebooks()), (3, 2, [3, 5].as_slice()));
    assert_eq!([0, 1, 2].map(|i| catalog.id(i)), ["27", "a/ü", "☃"]);
    assert_eq!([0, 1, 2].map(|i| catalog.title(i)), [Some("Héat"), None, Some("")]);
    assert_eq!(["☃", "27", "a/u", ""].map(|id| catalog.find(id)), [Some(2), Some(0), None, None]);
    assert_eq!(catalog.attributes(0), []);
    assert_eq!(catalog.attributes(1), [("genre", vec!["drama", "war"])]);
    assert_eq!(catalog.attributes(2), [("genre", vec!["art", "drama"])]);
    assert_eq!(catalog.with_attribute("genre", "drama"), Some([1, 2].as_slice()));
    assert_eq!(catalog.with_attribute("genre", "dram"), None);
    assert_eq!(catalog.with_attribute("drama", "genre"), None);
    assert_eq!(catalog.attribute_keys(), ["empty", "genre"]);
    assert!(catalog.has_attribute_key("empty") && !catalog.has_attribute_key("absent"));
    let trie = catalog.trie();
    assert_eq!((trie.levels(), trie.size(0), trie.size(1), trie.size(2)), (2, 1, 2, 2));
    assert_eq!((trie.codes(0), trie.codes(1), trie.codes(2)), ([0].as_slice(), [0, 1].as_slice(), [4, 0].as_slice()));
    assert_eq!((trie.items(0), trie.items(1)), ([2].as_slice(), [1, 0].as_slice()), "most popular first");
    assert_eq!([0, 1, 2].map(|i| trie.leaf_of(i)), [1, 1, 0]);
    assert_eq!([trie.child(0, 0, 2), trie.child(0, 0, 99), trie.child(1, 0, 0), trie.child(2, 0, 0)], [None; 4]);
    assert_eq!(trie.children(2, 1), 0..0);
}

#[test]
fn liveness_comes_from_the_file_or_over_the_same_map() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.bin");
    let mut live = Mask::none(3);
    live.insert(1);
    write_with_live(&path, &[3, 5], &small(), &live).unwrap();
    let catalog = Catalog::open(&path).unwrap();
    assert_eq!(catalog.live(), Some(&live));
    let other = catalog.with_live(Mask::none(3));
    assert_eq!(other.live().map(Mask::count), Some(0));
    assert_eq!(catalog.live().map(Mask::count), Some(1));
    assert!(std::ptr::eq(catalog.id(1), other.id(1)), "one map");
    assert!(written(&path).live().is_none());
    for wrong in [Mask::none(65), Mask::from_words(vec![8])] {
        let error = write_with_live(&path, &[3, 5], &small(), &wrong).unwrap_err().to_string();
        assert!(error.contains("liveness mask does not fit 3 items"), "{error}");
    }
}

#[test]
fn refuses_items_that_cannot_be_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.bin");
    let refused = |codebooks: &[u32], items: &[CatalogItem], part: &str| {
        let error = write(&path, codebooks, items).unwrap_err().to_string();
        assert!(error.contains("catalog.bin: ") && error.contains(part), "{error}");
        assert!(!path.exists());
    };
    refused(&[2], &[], "at least one item");
    refused(&[], &[item("a", &[])], "1 to 16 levels");
    refused(&[2, 0], &[item("a", &[0, 0])], "codebook sizes [2, 0]");
    refused(&[2, 2], &[item("a", &[0])], "item \"a\" has 1 codes, expected one for each of 2 levels");
    refused(&[2, 2], &[item("a", &[0, 2])], "item \"a\" has code 2 at level 2, whose codebook has 2 codes");
    refused(&[2], &[item("a", &[0]), item("b", &[0]), item("a", &[1])], "id \"a\" is given to item 0 and to item 2");
    let error = write(&folder.path().join("absent/c"), &[1], &[item("a", &[0])]).unwrap_err().to_string();
    assert!(error.contains("absent/c: cannot create"), "{error}");
}

#[test]
fn the_same_items_make_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    assert_eq!(written(&a).digest(), written(&b).digest());
    assert_eq!(fs::read(a).unwrap(), fs::read(b).unwrap());
}

#[test]
fn every_changed_byte_and_every_truncation_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [path, bad] = ["whole", "bad"].map(|name| folder.path().join(name));
    written(&path);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&bad, changed).unwrap();
        let error = Catalog::open(&bad).unwrap_err().to_string();
        assert!(error.contains("bad: "), "{error}");
        fs::write(&bad, &whole[..at]).unwrap();
        assert!(Catalog::open(&bad).is_err(), "{at} bytes");
    }
}

/// Asks everything of a catalog; anything out of bounds panics.
fn walk(catalog: &Catalog) -> usize {
    let trie = catalog.trie();
    let mut reached = 0;
    let mut nodes = vec![(0, 0)];
    while let Some((depth, node)) = nodes.pop() {
        for child in trie.children(depth, node) {
            assert_eq!(trie.child(depth, node, trie.codes(depth + 1)[child as usize]), Some(child));
            nodes.push((depth + 1, child));
        }
        if depth == trie.levels() {
            for &item in trie.items(node) {
                assert_eq!(trie.leaf_of(item), node);
                reached += 1;
            }
        }
    }
    for item in 0..catalog.len() as u32 {
        assert_eq!(catalog.find(catalog.id(item)), Some(item));
        for (key, values) in catalog.attributes(item) {
            assert!(values.iter().all(|value| catalog.with_attribute(key, value).unwrap().contains(&item)));
        }
        let _ = (catalog.title(item), catalog.popularity(item), catalog.codes(item));
    }
    reached
}

#[test]
fn hostile_contents_under_a_right_digest_stay_in_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.bin");
    written(&path);
    let whole = fs::read(&path).unwrap();
    let body = whole.len() - 32;
    let (mut refused, mut taken) = (0, 0);
    for at in 32..body {
        for value in [whole[at].wrapping_add(1), 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let digest = Sha256::digest(&bytes[..body]);
            bytes[body..].copy_from_slice(&digest);
            fs::write(&path, &bytes).unwrap();
            match Catalog::open(&path) {
                Ok(catalog) => {
                    assert_eq!(walk(&catalog), 3);
                    taken += 1;
                }
                Err(error) => {
                    assert!(error.to_string().contains("catalog.bin: "), "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 500 && taken > 100, "{refused} refused, {taken} taken");
}

#[test]
fn readers_see_the_old_or_the_new_catalog() {
    let folder = tempfile::tempdir().unwrap();
    let made = [40u32, 70].map(|items| {
        let path = folder.path().join(items.to_string());
        let rows: Vec<_> = (0..items).map(|i| item(&format!("{items}-{i}"), &[i % 7, i / 7])).collect();
        write(&path, &[7, 10], &rows).unwrap();
        Arc::new(Catalog::open(&path).unwrap())
    });
    let cell = CatalogCell::new(Arc::clone(&made[0]));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let now = cell.load();
                    let last = now.len() as u32 - 1;
                    assert_eq!(now.id(last), format!("{}-{last}", now.len()));
                    assert_eq!(now.trie().items(now.trie().leaf_of(last)), [last]);
                }
            });
        }
        let mut expected = &made[0];
        for round in 1..500 {
            let next = &made[round % 2];
            assert!(Arc::ptr_eq(&cell.swap(Arc::clone(next)), expected));
            expected = next;
        }
    });
    assert_eq!(cell.load().len(), 70);
}

#[test]
fn a_hundred_thousand_items_are_all_found_and_reached() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.bin");
    let codebooks = [64, 64, 64];
    let items: Vec<_> = (0..100_000u32)
        .map(|i| {
            let mixed = i.wrapping_mul(0x9e37_79b9);
            let codes = [mixed >> 26, mixed >> 20 & 63, mixed >> 14 & 63];
            CatalogItem { popularity: mixed % 1000, ..item(&format!("item-{i}"), &codes) }
        })
        .collect();
    write(&path, &codebooks, &items).unwrap();
    let catalog = Catalog::open(&path).unwrap();
    assert_eq!(walk(&catalog), items.len());
    assert_eq!(catalog.find("item-100000"), None);
}

fn naive_children(items: &[CatalogItem], prefix: &[u32]) -> Vec<u32> {
    let codes: BTreeSet<u32> =
        items.iter().filter(|item| item.codes.starts_with(prefix)).map(|item| item.codes[prefix.len()]).collect();
    codes.into_iter().collect()
}

fn naive_leaf(items: &[CatalogItem], codes: &[u32]) -> Vec<ItemIndex> {
    let mut leaf: Vec<ItemIndex> = (0..items.len() as u32).filter(|&i| items[i as usize].codes == codes).collect();
    leaf.sort_by_key(|&i| (Reverse(items[i as usize].popularity), i));
    leaf
}

fn naive_attributes(item: &CatalogItem) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut naive: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, values) in &item.attributes {
        for value in values {
            naive.entry(key).or_default().insert(value);
        }
    }
    naive
}

type Row = (String, Option<String>, Vec<u32>, u32, Vec<(String, Vec<String>)>);

fn rows() -> impl Strategy<Value = (Vec<u32>, Vec<Row>)> {
    let levels = prop_oneof![Just(1usize), Just(2), Just(3), Just(5)];
    (levels, 1u32..6).prop_flat_map(|(levels, codes)| {
        let attribute = ("[a-cé]{0,2}", prop::collection::vec("[a-c☃]{0,2}", 0..4));
        let row = (
            "\\PC{0,12}",
            prop::option::of("\\PC{0,8}"),
            prop::collection::vec(0..codes, levels),
            0u32..4,
            prop::collection::vec(attribute, 0..3),
        );
        (Just(vec![codes; levels]), prop::collection::vec(row, 1..40))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn equals_a_naive_map((codebooks, rows) in rows()) {
        let mut known = BTreeSet::new();
        let items: Vec<CatalogItem> = rows
            .into_iter()
            .filter(|row| known.insert(row.0.clone()))
            .map(|(id, title, codes, popularity, attributes)| CatalogItem { id, title, codes, attributes, popularity })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.bin");
        write(&path, &codebooks, &items).unwrap();
        let catalog = Catalog::open(&path).unwrap();
        prop_assert_eq!(catalog.len(), items.len());
        prop_assert_eq!(catalog.codebooks(), &codebooks[..]);

        for (index, item) in items.iter().enumerate() {
            let i = index as u32;
            prop_assert_eq!(catalog.id(i), &item.id);
            prop_assert_eq!(catalog.find(&item.id), Some(i));
            prop_assert_eq!(catalog.title(i), item.title.as_deref());
            prop_assert_eq!(catalog.codes(i), &item.codes[..]);
            prop_assert_eq!(catalog.popularity(i), item.popularity);
            let longer = format!("{}x", item.id);
            prop_assert_eq!(catalog.find(&longer).is_some(), known.contains(&longer));
            let naive: Vec<(&str, Vec<&str>)> =
                naive_attributes(item).into_iter().map(|(key, values)| (key, values.into_iter().collect())).collect();
            prop_assert_eq!(catalog.attributes(i), naive);
            for (key, values) in &item.attributes {
                prop_assert!(catalog.has_attribute_key(key));
                for value in values {
                    let having = |other: &CatalogItem| {
                        naive_attributes(other).get(key.as_str()).is_some_and(|all| all.contains(value.as_str()))
                    };
                    let naive: Vec<u32> = (0..items.len() as u32).filter(|&o| having(&items[o as usize])).collect();
                    prop_assert_eq!(catalog.with_attribute(key, value), Some(&naive[..]));
                }
            }
        }

        let trie = catalog.trie();
        let mut prefixes = vec![(0u32, Vec::new())];
        for (depth, &codes) in codebooks.iter().enumerate() {
            prop_assert_eq!(trie.size(depth) as usize, prefixes.len());
            let mut next = Vec::new();
            for (node, prefix) in prefixes {
                let naive = naive_children(&items, &prefix);
                let children = trie.children(depth, node);
                prop_assert_eq!(children.start as usize, next.len(), "contiguous, in order");
                prop_assert_eq!(&trie.codes(depth + 1)[children.start as usize..children.end as usize], &naive[..]);
                for code in 0..=codes {
                    let expected = naive.binary_search(&code).ok().map(|at| children.start + at as u32);
                    prop_assert_eq!(trie.child(depth, node, code), expected);
                }
                next.extend(children.zip(&naive).map(|(child, &code)| (child, [&prefix[..], &[code]].concat())));
            }
            prefixes = next;
        }
        for (leaf, codes) in prefixes {
            let naive = naive_leaf(&items, &codes);
            prop_assert_eq!(trie.items(leaf), &naive[..]);
            prop_assert!(naive.iter().all(|&item| trie.leaf_of(item) == leaf));
        }
    }
}
