//! A prepared data set: what readers and planted worlds make, and what every later job starts from.
//!
//! In: nothing; `prepare` and `load` make it. Out: users, items, rows and sequences, or columns of features and labels.
//! Item `i` here is item `i` of every catalog and model made from this data set.

use recmesh_contract::ItemIndex;

use crate::{Entities, Part, Rows, Sequences, Summary};

/// A prepared data set.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // one exists at a time, and what it holds is on the heap
pub enum Dataset {
    /// Users and items meeting in time.
    Interactions(Interactions),
    /// Rows of features and labels.
    Examples(Examples),
}

/// Users and items meeting in time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interactions {
    /// The users, by order of first appearance in the interactions.
    pub users: Entities,
    /// The items, by order of first appearance in the interactions.
    pub items: Entities,
    /// Every interaction.
    pub rows: Rows,
    /// The rows that enter histories, as sequences by user.
    pub sequences: Sequences,
}

/// Rows of features and labels; every column has one value a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examples {
    /// Features with numbers.
    pub numeric: Vec<NumericColumn>,
    /// Features with categories.
    pub categorical: Vec<CategoricalColumn>,
    /// Labels by name, each 0 or 1.
    pub labels: Vec<(String, Vec<f32>)>,
    /// What each row is used for. Rows of one file stay together, in its order: train file, validation file, test file.
    pub part: Vec<Part>,
}

/// A feature with numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NumericColumn {
    /// The column's name.
    pub name: String,
    /// `(number - mean) / deviation`, with 0 for a missing number.
    pub values: Vec<f32>,
    /// Mean of the train rows that have a number.
    pub mean: f32,
    /// Standard deviation (population) of the same rows; 1 where they are all equal.
    pub deviation: f32,
}

/// A feature with categories.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CategoricalColumn {
    /// The column's name.
    pub name: String,
    /// The category of each row: an index into `values`. 0 is a missing value or one that no train row has.
    pub ids: Vec<u32>,
    /// The categories: first the empty text for id 0, then those of the train rows in order of first appearance.
    pub values: Vec<String>,
}

impl Interactions {
    /// For every row, the position in `sequences.items` where the history before that row ends: the history of row `r`
    /// of user `u` is `sequences.items[sequences.offsets[u]..ends[r]]`. The row itself is never in it.
    #[must_use]
    pub fn history_ends(&self) -> Vec<u64> {
        let mut seen = 0;
        let mut before = |&enters: &bool| {
            let end = seen;
            seen += u64::from(enters);
            end
        };
        self.rows.in_history.iter().map(&mut before).collect()
    }

    /// The items in the history of `user` before a row, given [`Self::history_ends`].
    ///
    /// # Panics
    /// When the row is not one of this user's.
    #[must_use]
    pub fn history_before(&self, user: usize, row: usize, ends: &[u64]) -> &[ItemIndex] {
        &self.sequences.items[self.sequences.offsets[user] as usize..ends[row] as usize]
    }
}

impl Examples {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.part.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.part.is_empty()
    }

    /// The rows of a part, ascending.
    #[must_use]
    pub fn rows(&self, part: Part) -> Vec<u32> {
        (0u32..).zip(&self.part).filter(|&(_, &of)| of == part).map(|(row, _)| row).collect()
    }
}

impl Dataset {
    /// What can be told of the data itself; nothing is known of bad rows any more.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let counts = |parts: &[Part]| Part::ALL.map(|of| parts.iter().filter(|&&part| part == of).count() as u64);
        match self {
            Self::Interactions(data) => Summary {
                rows: data.rows.len() as u64,
                users: data.users.len() as u64,
                items: data.items.len() as u64,
                parts: counts(&data.rows.part),
                history_rows: data.sequences.items.len() as u64,
                first_time: data.rows.time.as_ref().and_then(|time| time.iter().copied().min()),
                last_time: data.rows.time.as_ref().and_then(|time| time.iter().copied().max()),
                ..Summary::default()
            },
            Self::Examples(data) => {
                Summary { rows: data.len() as u64, parts: counts(&data.part), ..Summary::default() }
            }
        }
    }
}
