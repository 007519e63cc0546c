//! Saved data sets come back the same; broken ones are refused by name and never panic.
//!
//! In: a planted world, a bare one, examples; then the same with bytes changed.
//! Out: equality, or an error with the file in it. Reads no data of others.

use std::path::Path;

use proptest::prelude::*;
use recmesh_contract::Silent;
use serde_json::json;

use super::*;
use crate::prepare;

fn planted() -> Dataset {
    let params = json!({
        "source": {"planted": {"users": 20, "items": 30, "length": 5, "buckets": 4}},
        "history": {"column": "click", "atLeast": 1},
    });
    prepare(&serde_json::from_value(params).unwrap(), Path::new("nowhere"), &Silent).unwrap().0
}

fn examples() -> Dataset {
    let column = |name: &str| name.to_owned();
    Dataset::Examples(Examples {
        numeric: vec![NumericColumn { name: column("age"), values: vec![-1.0, 1.0, 0.0], mean: 40.0, deviation: 2.5 }],
        categorical: vec![CategoricalColumn {
            name: column("job"),
            ids: vec![1, 0, 2],
            values: vec![String::new(), "cook".into(), "späher".into()],
        }],
        labels: vec![(column("bought"), vec![0.0, 1.0, 1.0])],
        part: vec![Part::Train, Part::Validation, Part::Test],
    })
}

/// Like planted, without anything optional.
fn bare() -> Dataset {
    let Dataset::Interactions(mut data) = planted() else { panic!() };
    for entities in [&mut data.users, &mut data.items] {
        *entities = Entities { ids: entities.ids.clone(), ..Entities::default() };
    }
    (data.rows.time, data.rows.behaviour, data.rows.labels) = (None, None, vec![]);
    Dataset::Interactions(data)
}

#[test]
fn what_is_saved_comes_back() {
    for dataset in [planted(), bare(), examples()] {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        dataset.save(one.path()).unwrap();
        let back = Dataset::load(one.path()).unwrap();
        assert!(back == dataset);
        back.save(two.path()).unwrap();
        for file in [COLUMNS, DESCRIPTION] {
            let bytes = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(file)).unwrap();
            assert!(bytes(&one) == bytes(&two), "{file} is not the same bytes");
        }
    }
}

#[test]
fn broken_files_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    planted().save(dir.path()).unwrap();
    let [columns, description] = [COLUMNS, DESCRIPTION].map(|file| dir.path().join(file));
    let [good_columns, good_description] = [&columns, &description].map(|path| std::fs::read(path).unwrap());
    let refused = |part: &str| {
        let error = Dataset::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    for end in [0, 7, 100, good_columns.len() - 1] {
        std::fs::write(&columns, &good_columns[..end]).unwrap();
        refused(COLUMNS);
    }
    std::fs::remove_file(&columns).unwrap();
    refused("cannot open");
    std::fs::write(&columns, &good_columns).unwrap();

    let text = String::from_utf8(good_description).unwrap();
    for (from, to, part) in [
        ("\"formatVersion\": 1", "\"formatVersion\": 9", "formatVersion is Some(9)"),
        ("\"rows\": ", "\"rows\": 1", "counts are not those"),
        ("\"click\"", "\"click\", \"extra\"", "no column rows.label4"),
        ("\"columns\"", "\"colums\"", DESCRIPTION),
        ("}", "", DESCRIPTION),
    ] {
        assert!(text.contains(from), "{from}");
        std::fs::write(&description, text.replacen(from, to, 1)).unwrap();
        refused(part);
    }
    std::fs::write(&description, &text).unwrap();
    Dataset::load(dir.path()).unwrap();

    // A description beside the columns of another data set.
    let other = tempfile::tempdir().unwrap();
    examples().save(other.path()).unwrap();
    std::fs::copy(other.path().join(COLUMNS), &columns).unwrap();
    refused("there is no column users.ids.bytes");
}

#[test]
fn references_beyond_their_vocabulary_are_refused() {
    let Dataset::Interactions(good) = planted() else { panic!() };
    type Mutate = fn(&mut Interactions);
    let mutations: [(&str, Mutate); 5] = [
        ("rows.item holds", |data| data.rows.item[3] = 1_000_000),
        ("items.attribute0.ids holds", |data| data.items.attributes[0].ids[0] = 1_000_000),
        ("offsets of users.attribute1", |data| data.users.attributes[1].offsets[1] = 1_000_000),
        ("offsets of the rows", |data| data.rows.offsets[1] = u64::MAX),
        ("go back in time", |data| data.rows.part[..2].copy_from_slice(&[Part::Test, Part::Train])),
    ];
    for (part, mutate) in mutations {
        let dir = tempfile::tempdir().unwrap();
        let mut data = good.clone();
        mutate(&mut data);
        Dataset::Interactions(data).save(dir.path()).unwrap();
        let error = Dataset::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains(COLUMNS) && error.contains(part), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_flipped_bits_make_it_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4)) {
        let dir = tempfile::tempdir().unwrap();
        examples().save(dir.path()).unwrap();
        let path = dir.path().join(COLUMNS);
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, bits) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        std::fs::write(&path, &bytes).unwrap();
        let _ = Dataset::load(dir.path());
    }
}
