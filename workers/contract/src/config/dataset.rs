//! What a `Dataset` declares: where rows come from, what their columns mean, how they are split.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::one_arm;

/// A data set: its source and the rules that split it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatasetParams {
    /// Where the rows come from.
    pub source: Source,
    /// How rows are parted into train, validation and test.
    #[serde(default)]
    pub split: Split,
    /// Which rows enter histories and are retrieval targets. Every row does when this is left out; all rows stay
    /// examples for ranking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Threshold>,
    /// The largest share of rows that may be unreadable before the data set is refused.
    #[serde(default = "defaults::bad_rows")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_bad_rows: f64,
}

/// Where the rows come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
#[allow(clippy::large_enum_variant)] // a handful exist, and a box would show in every use
pub enum Source {
    /// Users and items meeting in time.
    Interactions(InteractionsSource),
    /// Rows of features and labels.
    Examples(ExamplesSource),
    /// A generated world with known structure.
    Planted(PlantedWorld),
}

/// Users and items meeting in time. Files may be gzip-compressed (`.gz`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InteractionsSource {
    /// The file with one interaction (or one user's sequence) a line, relative to the data set's folder.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// How the file is written.
    pub format: Format,
    /// Which columns mean what. Sequence text and RecBole files name their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<InteractionColumns>,
    /// The file that describes the items. Those that no interaction names are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<EntitySource>,
    /// The file that describes the users. Those that no interaction names are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<EntitySource>,
    /// How interactions of one user at the same time are ordered.
    #[serde(default)]
    pub tie_break: TieBreak,
}

/// How interactions of one user at the same time are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TieBreak {
    /// As they stand in the file.
    #[default]
    FileOrder,
    /// By the item's id, as text.
    ItemId,
}

/// How a file is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
pub enum Format {
    /// A line a user: `user item item …`, oldest first, separated by spaces.
    Sequences(NoParams),
    /// RecBole atomic files: tab-separated with a typed header, `user_id:token`.
    RecBole(NoParams),
    /// Separated values.
    Delimited(Delimited),
    /// A JSON object a line.
    JsonLines(NoParams),
    /// Apache Parquet.
    Parquet(NoParams),
}

/// An arm without parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// Separated values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delimited {
    /// One character between values.
    #[serde(default = "defaults::comma")]
    #[schemars(length(min = 1, max = 1))]
    pub separator: String,
    /// Whether the first line names the columns; without it columns are named `0`, `1`, ….
    #[serde(default = "defaults::yes")]
    pub header: bool,
}

/// Which columns of an interactions file mean what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InteractionColumns {
    /// The user's id.
    #[schemars(length(min = 1, max = 256))]
    pub user: String,
    /// The item's id.
    #[schemars(length(min = 1, max = 256))]
    pub item: String,
    /// When: an integer that grows with time. File order without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// What the user did, as text: `view`, `cart`, `buy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behaviour: Option<String>,
    /// Numeric columns that thresholds can use: ratings, clicks, watch time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub labels: Vec<String>,
}

/// A file that describes items or users, one a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntitySource {
    /// The file, relative to the data set's folder.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// How the file is written.
    pub format: EntityFormat,
    /// The column with the id.
    #[serde(default = "defaults::id")]
    #[schemars(length(min = 1, max = 256))]
    pub id: String,
    /// The column shown to people (items only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Columns with text that item vectors can be made from (items only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub text: Vec<String>,
    /// Columns with one or more values that filters and features can use: a list, or text split at `|` where it has
    /// one, else at spaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub attributes: Vec<String>,
    /// A further file, one JSON object: id to list of attribute values; the attribute is called `attribute`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub attribute_map: Option<String>,
}

/// How a file of items or users is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
pub enum EntityFormat {
    /// RecBole atomic files.
    RecBole(NoParams),
    /// Separated values.
    Delimited(Delimited),
    /// A JSON object a line.
    JsonLines(NoParams),
    /// One JSON object: id to list of attribute values; the attribute is called `attribute`.
    JsonMap(NoParams),
    /// Apache Parquet.
    Parquet(NoParams),
}

/// Rows of features and labels. Files may be gzip-compressed (`.gz`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExamplesSource {
    /// The file to train on, relative to the data set's folder.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// A file to validate on; without it rows are taken from `path` by the split rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_path: Option<String>,
    /// A file to test on; without it, where `validationPath` is given, there is no test split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_path: Option<String>,
    /// How the files are written.
    pub format: ExamplesFormat,
    /// Columns with numbers; missing values are the mean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096))]
    pub numeric: Vec<String>,
    /// Columns with categories; unseen and missing values are a category of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096))]
    pub categorical: Vec<String>,
    /// What is to be predicted.
    #[schemars(length(min = 1, max = 32))]
    pub labels: Vec<LabelColumn>,
}

/// How files of examples are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
pub enum ExamplesFormat {
    /// Separated values.
    Delimited(Delimited),
    /// A JSON object a line.
    JsonLines(NoParams),
    /// Apache Parquet.
    Parquet(NoParams),
}

/// A 0/1 label of an examples file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelColumn {
    /// What models call it.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// The column.
    #[schemars(length(min = 1, max = 256))]
    pub column: String,
    /// The text that means 1, after trimming; every other text means 0. Without it the column holds 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positive: Option<String>,
}

/// A yes/no reading of an interaction's column: `behaviour` against `is`, a label column against `atLeast`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.atLeast) != has(self.is)",
    "message": "exactly one of atLeast, is must be given",
}]))]
pub struct Threshold {
    /// `behaviour`, or one of the label columns.
    #[schemars(length(min = 1, max = 256))]
    pub column: String,
    /// True when the number is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// True when the behaviour is this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
}

/// How rows are parted into train, validation and test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
pub enum Split {
    /// Each user's last interaction is test, the one before it validation; users with fewer than three only train.
    LeaveOneOut(NoParams),
    /// The newest rows by time (by file order without a time) are test, those before them validation.
    Time(TimeSplit),
}

impl Default for Split {
    fn default() -> Self {
        Self::LeaveOneOut(NoParams {})
    }
}

/// Shares of the newest rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeSplit {
    /// Share of all rows for validation.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub validation: f64,
    /// Share of all rows for test.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub test: f64,
}

/// A generated world whose structure is known, so that a test can tell what a model must find. All effects are off at
/// zero; each has a negative control in which it carries no information.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlantedWorld {
    /// Users.
    #[serde(default = "defaults::planted_users")]
    #[schemars(range(min = 1, max = 10000000))]
    pub users: u32,
    /// Items.
    #[serde(default = "defaults::planted_items")]
    #[schemars(range(min = 1, max = 10000000))]
    pub items: u32,
    /// Mean interactions of a user; at least 3 each.
    #[serde(default = "defaults::planted_length")]
    #[schemars(range(min = 3, max = 10000))]
    pub length: u32,
    /// Groups of items that are liked together, nested in three levels.
    #[serde(default = "defaults::planted_buckets")]
    #[schemars(range(min = 1, max = 4096))]
    pub buckets: u32,
    /// Chance that the next item follows the planted transition from the last one rather than the user's taste.
    #[serde(default = "defaults::planted_transition")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub transition: f64,
    /// Share of a user's taste that moves to another bucket halfway through the history.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub drift: f64,
    /// Chance that an item comes from a taste visible only in the oldest part of the history.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub long_only: f64,
    /// Share of items that belong to two buckets.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub shared_items: f64,
    /// Chance that the bucket is decided by the hour of the day.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub clock: f64,
    /// Zipf exponent of item popularity inside a bucket.
    #[serde(default = "defaults::planted_zipf")]
    #[schemars(range(min = 0.0, max = 3.0))]
    pub zipf: f64,
    /// Seed of everything random.
    #[serde(default)]
    #[schemars(range(max = 9007199254740991u64))]
    pub seed: u64,
    /// Breaks every planted relation by shuffling items over all positions: the negative control.
    #[serde(default)]
    pub shuffled: bool,
}

mod defaults {
    pub fn bad_rows() -> f64 {
        0.01
    }
    pub fn comma() -> String {
        ",".into()
    }
    pub fn yes() -> bool {
        true
    }
    pub fn id() -> String {
        "id".into()
    }
    pub fn planted_users() -> u32 {
        2000
    }
    pub fn planted_items() -> u32 {
        600
    }
    pub fn planted_length() -> u32 {
        20
    }
    pub fn planted_buckets() -> u32 {
        24
    }
    pub fn planted_transition() -> f64 {
        0.5
    }
    pub fn planted_zipf() -> f64 {
        0.8
    }
}
