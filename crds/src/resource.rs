//! One resource of any kind, and where its fields stand in a file.
//!
//! In: what the manifest reader or the API server has checked. Out: typed resources that still know their file, line and
//! column, so that later steps can point at the very field they object to; a stored one knows the field alone.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Dataset, EvaluationJob, Pipeline, RankingModel, RetrievalModel, Tokenizer, TrainingJob, all::definition, schema::at,
};

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Rows and their split.
    Dataset,
    /// Items to semantic IDs.
    Tokenizer,
    /// Finds candidates.
    RetrievalModel,
    /// Scores candidates.
    RankingModel,
    /// Makes a model's version.
    TrainingJob,
    /// Measures a model.
    EvaluationJob,
    /// Answers requests.
    Pipeline,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Dataset,
        Self::Tokenizer,
        Self::RetrievalModel,
        Self::RankingModel,
        Self::TrainingJob,
        Self::EvaluationJob,
        Self::Pipeline,
    ];

    /// As manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dataset => "Dataset",
            Self::Tokenizer => "Tokenizer",
            Self::RetrievalModel => "RetrievalModel",
            Self::RankingModel => "RankingModel",
            Self::TrainingJob => "TrainingJob",
            Self::EvaluationJob => "EvaluationJob",
            Self::Pipeline => "Pipeline",
        }
    }

    /// The kind that manifests write so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One resource.
// A process holds dozens, and boxes would cost every reader a dereference.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Resource {
    /// Rows and their split.
    Dataset(Dataset),
    /// Items to semantic IDs.
    Tokenizer(Tokenizer),
    /// Finds candidates.
    RetrievalModel(RetrievalModel),
    /// Scores candidates.
    RankingModel(RankingModel),
    /// Makes a model's version.
    TrainingJob(TrainingJob),
    /// Measures a model.
    EvaluationJob(EvaluationJob),
    /// Answers requests.
    Pipeline(Pipeline),
}

impl Resource {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Dataset(_) => Kind::Dataset,
            Self::Tokenizer(_) => Kind::Tokenizer,
            Self::RetrievalModel(_) => Kind::RetrievalModel,
            Self::RankingModel(_) => Kind::RankingModel,
            Self::TrainingJob(_) => Kind::TrainingJob,
            Self::EvaluationJob(_) => Kind::EvaluationJob,
            Self::Pipeline(_) => Kind::Pipeline,
        }
    }

    /// Its spec as JSON.
    fn spec(&self) -> Value {
        let spec = match self {
            Self::Dataset(it) => serde_json::to_value(&it.spec),
            Self::Tokenizer(it) => serde_json::to_value(&it.spec),
            Self::RetrievalModel(it) => serde_json::to_value(&it.spec),
            Self::RankingModel(it) => serde_json::to_value(&it.spec),
            Self::TrainingJob(it) => serde_json::to_value(&it.spec),
            Self::EvaluationJob(it) => serde_json::to_value(&it.spec),
            Self::Pipeline(it) => serde_json::to_value(&it.spec),
        };
        spec.unwrap_or_default()
    }
}

/// A place in a file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A resource that knows where it stands.
#[derive(Clone, Debug)]
pub struct Located {
    /// The resource.
    pub resource: Resource,
    /// Its name.
    pub name: String,
    /// Its namespace, where the manifest gives one.
    pub namespace: Option<String>,
    /// The file.
    pub file: Arc<str>,
    /// The line that its document begins on.
    pub line: usize,
    /// Where its fields stand; none of a resource that the API server stores.
    pub(crate) positions: Option<Arc<BTreeMap<String, Position>>>,
}

impl Located {
    /// A resource that the API server stores: it stands in no file.
    #[must_use]
    pub fn stored(resource: Resource, namespace: &str, name: &str) -> Self {
        let (namespace, name) = (Some(namespace.to_owned()), name.to_owned());
        Self { resource, name, namespace, file: Arc::from(""), line: 0, positions: None }
    }

    /// Where it stands, for messages about another resource: ` (shop.yaml:7)`; nothing for a stored one.
    #[must_use]
    pub fn place(&self) -> String {
        if self.positions.is_some() { format!(" ({}:{})", self.file, self.line) } else { String::new() }
    }

    /// The resource's kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.resource.kind()
    }

    /// Where the field of a JSON pointer (`/spec/algorithm`) stands, or its nearest enclosing field that is written.
    #[must_use]
    pub fn locate(&self, pointer: &str) -> Position {
        let near = self.positions.as_ref().and_then(|positions| nearest(positions, pointer));
        near.unwrap_or(Position { line: self.line, column: 1 })
    }

    /// Whether the field of a JSON pointer is written in the file rather than a default. The API server fills defaults
    /// in before it stores a resource, so there only another value than the default tells.
    #[must_use]
    pub fn written(&self, pointer: &str) -> bool {
        match &self.positions {
            Some(positions) => positions.contains_key(pointer),
            None => {
                let spec = self.resource.spec();
                let value = pointer.strip_prefix("/spec").and_then(|below| spec.pointer(below));
                let default = at(&definition(self.kind()).schema, pointer).and_then(|node| node.get("default"));
                value.is_some() && value != default
            }
        }
    }

    /// An error at the field of a JSON pointer.
    #[must_use]
    pub fn error(&self, pointer: &str, message: impl Into<String>) -> ManifestError {
        let Position { line, column } = self.locate(pointer);
        ManifestError {
            file: self.file.to_string(),
            line,
            column,
            resource: Some(format!("{}/{}", self.kind(), self.name)),
            path: field_path(pointer),
            message: message.into(),
        }
    }
}

/// The position of a pointer or of the nearest enclosing one that is written.
pub(crate) fn nearest(positions: &BTreeMap<String, Position>, pointer: &str) -> Option<Position> {
    let mut pointer = pointer;
    loop {
        if let Some(position) = positions.get(pointer) {
            return Some(*position);
        }
        pointer = pointer.rfind('/').and_then(|cut| pointer.get(..cut))?;
    }
}

/// A JSON pointer as people write it: `/spec/tasks/0/name` becomes `spec.tasks[0].name`.
pub(crate) fn field_path(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        let plain = !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        if part.bytes().all(|c| c.is_ascii_digit()) && !part.is_empty() {
            path.push_str(&format!("[{part}]"));
        } else if !plain {
            path.push_str(&format!("[{part:?}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&part);
        }
    }
    path
}

/// What is wrong with a manifest, where, and how to fix it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error, Serialize)]
#[error("{file}:{line}:{column}: {}{path}{}{message}", subject(.resource, .path), if .path.is_empty() { "" } else { ": " })]
pub struct ManifestError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// `Kind/name`, where the document got that far.
    pub resource: Option<String>,
    /// The field: `spec.algorithm.lazyDecoder.layers`; empty for the whole document.
    pub path: String,
    /// What is wrong and the fix.
    pub message: String,
}

fn subject(resource: &Option<String>, path: &str) -> String {
    match resource {
        Some(resource) if path.is_empty() => format!("{resource}: "),
        Some(resource) => format!("{resource} "),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The API server writes every default down: only another value shows that somebody wrote it.
    #[test]
    fn a_stored_resource_tells_what_is_no_default() {
        let text = "apiVersion: recmesh.dev/v1alpha1
kind: Dataset
metadata: {name: world}
spec: {source: {planted: {buckets: 7}}, split: {leaveOneOut: {}}, maxBadRows: 0.01}
";
        let read = crate::parse(&[("a.yaml".to_owned(), text.to_owned())]).unwrap().remove(0);
        let stored = Located::stored(read.resource.clone(), "shop", "world");
        let fields = ["/spec/source/planted/buckets", "/spec/split", "/spec/maxBadRows", "/spec/history"];
        assert_eq!(fields.map(|field| read.written(field)), [true, true, true, false]);
        assert_eq!(fields.map(|field| stored.written(field)), [true, false, false, false]);
        assert_eq!((read.place(), stored.place()), (" (a.yaml:1)".to_owned(), String::new()));
        assert_eq!(stored.error("/spec/split/time", "no").path, "spec.split.time");
    }
}
