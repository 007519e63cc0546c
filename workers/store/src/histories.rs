//! `histories.bin`: every user's items, for serving. In: users in row order. Out: look-up by id, items in place.
//!
//! One mapped, digest-checked file in a data set's artifact. Row `u` is user `u` of the data set. Knows no catalog:
//! that items exist is checked where the two meet.

use std::path::Path;

use recmesh_contract::ItemIndex;
use recmesh_sections::{
    Column, Format, IdIndex, Section, SectionError, SectionFile, Strings, StringsWriter, Tag, build_id_index,
};

use crate::{Result, StoreError};

const FORMAT: Format = Format { kind: "histories", magic: *b"rmhist\r\n", oldest: 1, newest: 1 };
/// u64 × 1: number of users.
const SHAPE: Tag = *b"shape   ";
/// Bytes of the user ids; u64 × (users + 1): where each begins.
const USERS: [Tag; 2] = [*b"user    ", *b"user.at "];
/// u64 × 2: seed, then slots of the look-up table.
const USER_INDEX: Tag = *b"user.ix ";
/// u64 × (users + 1) and u32: each user's items, oldest first.
const ITEMS: [Tag; 2] = [*b"item.at ", *b"item    "];

/// An open file of histories; clones share one map.
#[derive(Clone, Debug)]
pub struct Histories {
    file: SectionFile,
    users: Strings,
    index: IdIndex,
    offsets: Column<u64>,
    items: Column<u32>,
    count: usize,
}

impl Histories {
    /// Writes the histories of `users`, in row order, items oldest first. Same users, same bytes.
    ///
    /// # Errors
    /// When two users have one id, there are more than `u32` can number, or the file cannot be written.
    pub fn write<'a>(path: &Path, users: impl Iterator<Item = (&'a str, &'a [ItemIndex])>) -> Result<()> {
        let mut ids = StringsWriter::default();
        let (mut offsets, mut items) = (vec![0], Vec::new());
        for (id, history) in users {
            ids.push(id);
            items.extend_from_slice(history);
            offsets.push(items.len() as u64);
        }
        if ids.len() >= u32::MAX as usize {
            return Err(SectionError::section(path, SHAPE, format!("{} users are too many", ids.len())).into());
        }
        let index = build_id_index(&ids).map_err(|duplicate| StoreError::DuplicateUser {
            path: path.to_owned(),
            id: ids.get(duplicate.second).to_owned(),
            first: duplicate.first,
            second: duplicate.second,
        })?;
        let shape = [ids.len() as u64];
        let [blob, borders] = ids.sections(USERS[0], USERS[1]);
        let sections = [
            Section::of(SHAPE, &shape),
            blob,
            borders,
            Section::of(USER_INDEX, &index),
            Section::of(ITEMS[0], &offsets),
            Section::of(ITEMS[1], &items),
        ];
        recmesh_sections::write(path, &FORMAT, &sections)?;
        Ok(())
    }

    /// Maps and checks the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read or is no whole file of histories; the error names the file and what is wrong.
    pub fn open(path: &Path) -> Result<Self> {
        let file = SectionFile::open(path, &FORMAT)?;
        let shape = file.column::<u64>(SHAPE)?;
        let count = match file.get(shape) {
            &[users] if users < u64::from(u32::MAX) => users as usize,
            _ => return Err(SectionError::section(path, SHAPE, "it is no number of users").into()),
        };
        let users = Strings::open(&file, USERS[0], USERS[1], count)?;
        let index = IdIndex::open(&file, USER_INDEX, users, count)?;
        let items = file.column(ITEMS[1])?;
        let offsets = file.offsets(ITEMS[0], count, file.get(items).len())?;
        Ok(Self { file, users, index, offsets, items, count })
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no users.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The row of a user.
    #[must_use]
    pub fn find(&self, user: &str) -> Option<u32> {
        self.index.find(&self.file, user)
    }

    /// A user's id, `user < len()`.
    #[must_use]
    pub fn id(&self, user: u32) -> &str {
        self.users.get(&self.file, user as usize)
    }

    /// A user's items, oldest first, `user < len()`.
    #[must_use]
    pub fn items(&self, user: u32) -> &[ItemIndex] {
        let offsets = self.file.get(self.offsets);
        &self.file.get(self.items)[offsets[user as usize] as usize..offsets[user as usize + 1] as usize]
    }
}
