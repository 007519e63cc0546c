//! Files that are whole open; every other file is refused with the flaw.

use std::fs;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

const FORMAT: Format = Format { kind: "test", magic: *b"rmtest\r\n", oldest: 1, newest: 2 };

fn sample(path: &std::path::Path) -> String {
    let mut names = StringsWriter::default();
    for name in ["", "a", "ü☃", "longer than eight bytes"] {
        names.push(name);
    }
    let index = build_id_index(&names).unwrap();
    let [blob, offsets] = names.sections(*b"names   ", *b"name.at ");
    let sections = [blob, offsets, Section::of(*b"numbers ", &[7u32, 8, 9]), Section::of(*b"index   ", &index)];
    write(path, &FORMAT, &sections).unwrap()
}

/// Puts a right digest under changed contents, as somebody hostile would.
fn reseal(bytes: &mut [u8]) {
    let body = bytes.len() - 32;
    let digest = Sha256::digest(&bytes[..body]);
    bytes[body..].copy_from_slice(&digest);
}

fn open_all(path: &std::path::Path) -> Result<(SectionFile, IdIndex, Strings), SectionError> {
    let file = SectionFile::open(path, &FORMAT)?;
    file.column::<u32>(*b"numbers ")?;
    let names = Strings::open(&file, *b"names   ", *b"name.at ", 4)?;
    let index = IdIndex::open(&file, *b"index   ", names, 4)?;
    Ok((file, index, names))
}

#[test]
fn reads_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let digest = sample(&path);
    let (file, index, names) = open_all(&path).unwrap();
    assert_eq!(file.digest(), digest);
    assert_eq!(file.version(), 2);
    assert_eq!(file.get(file.column::<u32>(*b"numbers ").unwrap()), [7, 8, 9]);
    let found: Vec<_> =
        ["longer than eight bytes", "", "ü☃", "a", "b"].iter().map(|id| index.find(&file, id)).collect();
    assert_eq!(found, [Some(3), Some(0), Some(2), Some(1), None]);
    assert_eq!(names.get(&file, 2), "ü☃");
    let problem = file.column::<u64>(*b"numbers ").unwrap_err().to_string();
    assert!(problem.contains("a: section \"numbers\" is wrong: 12 bytes are no whole number of 8-byte"), "{problem}");
    assert!(file.column::<u8>(*b"absent  ").unwrap_err().to_string().contains("missing"));
    let body = fs::read(&path).unwrap();
    assert_eq!(digest, write::digest_text(&Sha256::digest(&body[..body.len() - 32])));
}

#[test]
fn every_changed_byte_and_every_truncation_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bad) = (folder.path().join("a"), folder.path().join("bad"));
    sample(&path);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&bad, changed).unwrap();
        let error = open_all(&bad).unwrap_err().to_string();
        assert!(error.contains("bad: "), "{error}");
        fs::write(&bad, &whole[..at]).unwrap();
        assert!(open_all(&bad).is_err(), "{at} bytes");
    }
    fs::write(&bad, [whole.as_slice(), b"x"].concat()).unwrap();
    assert!(open_all(&bad).unwrap_err().to_string().contains("truncated or extended"));
}

#[test]
fn says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    sample(&path);
    let whole = fs::read(&path).unwrap();
    let problem = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        open_all(&path).unwrap_err().to_string()
    };
    assert!(problem(&|b| b[0] = b'x').contains("not a test file"));
    assert!(problem(&|b| b[8] = 3).contains("format version 3 is not readable here (readable: 1 to 2)"));
    assert!(problem(&|b| b[200] ^= 1).contains("SHA-256"));
    assert!(problem(&|b| b.truncate(10)).contains("has 10 bytes"));
    assert!(problem(&|b| b.clear()).contains("has 0 bytes"));
    fs::remove_file(&path).unwrap();
    assert!(open_all(&path).unwrap_err().to_string().contains("cannot open"));
    assert!(open_all(folder.path()).unwrap_err().to_string().contains("not a regular file"));
}

#[test]
fn versions_one_before_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let old = Format { newest: 1, ..FORMAT };
    write(&path, &old, &[]).unwrap();
    assert_eq!(SectionFile::open(&path, &FORMAT).unwrap().version(), 1);
}

/// A slot has too few bits for the length of such an id.
#[test]
fn ids_of_any_length_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let ids = [65_534, 65_535, 65_536, 70_000].map(|length| "x".repeat(length));
    let mut names = StringsWriter::default();
    ids.iter().for_each(|id| names.push(id));
    let index = build_id_index(&names).unwrap();
    let [blob, offsets] = names.sections(*b"names   ", *b"name.at ");
    write(&path, &FORMAT, &[blob, offsets, Section::of(*b"index   ", &index)]).unwrap();
    let file = SectionFile::open(&path, &FORMAT).unwrap();
    let names = Strings::open(&file, *b"names   ", *b"name.at ", 4).unwrap();
    let index = IdIndex::open(&file, *b"index   ", names, 4).unwrap();
    assert_eq!(ids.each_ref().map(|id| index.find(&file, id)), [Some(0), Some(1), Some(2), Some(3)]);
    assert_eq!(index.find(&file, &"x".repeat(65_537)), None);
}

/// An empty section may begin after the last byte of a body that is cut short before its padding.
#[test]
fn a_section_beyond_the_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    write(&path, &FORMAT, &[Section::of::<u8>(*b"empty   ", &[])]).unwrap();
    assert!(SectionFile::open(&path, &FORMAT).is_ok());
    let mut bytes = fs::read(&path).unwrap();
    let digest = bytes.len() - 32;
    bytes.drain(digest - 4..digest);
    let length = bytes.len() as u64;
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    reseal(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let error = SectionFile::open(&path, &FORMAT).unwrap_err().to_string();
    assert!(error.contains("section \"empty   \" begins at byte 64, beyond the end"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// With a right digest nothing protects the contents but the checks: no change may panic, now or while reading.
    #[test]
    fn hostile_files_are_refused_or_read_within_bounds(
        changes in prop::collection::vec((0usize..600, any::<u8>()), 1..4), cut in 0usize..40,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        sample(&path);
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - cut);
        let length = bytes.len();
        for (at, value) in changes {
            bytes[at % length] = value;
        }
        bytes[16..24].copy_from_slice(&(length as u64).to_le_bytes());
        reseal(&mut bytes);
        fs::write(&path, bytes).unwrap();
        if let Ok((file, index, names)) = open_all(&path) {
            for row in 0..4 {
                prop_assert_eq!(index.find(&file, names.get(&file, row)), Some(row as u32));
            }
            let _ = index.find(&file, "nobody");
        }
    }
}
