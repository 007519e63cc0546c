//! Manifests: text in, typed resources out, or every problem of every file at once.
//!
//! ```text
//! text ─► tree (YAML, positions) ─► kind ─► schema ─► CEL rules ─► typed
//!                └────────────┴───────┴────────┴──────────┴─► ManifestError { file, line, column, field, fix }
//! ```
//!
//! Never opens a file and never asks whether a reference resolves.

mod explain;
mod nearest;
mod rules;
mod scalar;
mod tree;
mod typed;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use jsonschema::{Draft, Validator};
use kube::core::cel::{CompiledSchema, compile_schema};
use serde_json::Value;

pub use self::nearest::nearest;

use self::{
    explain::Finding,
    tree::{Node, Places},
};
use crate::{
    Kind, Located, ManifestError, Position,
    all::definition,
    resource::{field_path, nearest as position_near},
    schema::strict,
};

/// The API version of every kind.
const API_VERSION: &str = "recmesh.dev/v1alpha1";

/// A kind's strict schema and its CEL rules, compiled once: compiling costs more than checking.
struct Check {
    schema: Value,
    validator: Option<Validator>,
    rules: CompiledSchema,
}

static CHECKS: LazyLock<Vec<Check>> = LazyLock::new(|| {
    let check = |kind| {
        let schema = strict(&definition(kind).schema);
        let validator = jsonschema::options().with_draft(Draft::Draft4).build(&schema).ok();
        let rules = compile_schema(&schema);
        Check { schema, validator, rules }
    };
    Kind::ALL.into_iter().map(check).collect()
});

/// Reads manifests: pairs of a file's name and its text, each with one or more YAML documents.
///
/// # Errors
/// Every problem of every file, in the order of the files and lines.
pub fn parse(files: &[(String, String)]) -> Result<Vec<Located>, Vec<ManifestError>> {
    let mut found = Found::default();
    for (order, (name, text)) in files.iter().enumerate() {
        let file = File { order, name: Arc::from(name.as_str()) };
        let (documents, mistakes) = tree::read(text);
        if documents.is_empty() && mistakes.is_empty() {
            let message = "the file holds no resource: every document needs apiVersion, kind, metadata and spec";
            found.error(&file, Position { line: 1, column: 1 }, None, "", message);
        }
        for mistake in mistakes {
            found.error(&file, mistake.at, None, "", mistake.message);
        }
        for document in &documents {
            found.document(&file, document);
        }
    }
    found.finish()
}

struct File {
    order: usize,
    name: Arc<str>,
}

/// A kind, a namespace, a name.
type Named = (Kind, Option<String>, String);
/// A file and a line.
type Declared = (Arc<str>, usize);

#[derive(Default)]
struct Found {
    resources: Vec<Located>,
    errors: Vec<(usize, ManifestError)>,
    names: HashMap<Named, Declared>,
}

impl Found {
    fn error(&mut self, file: &File, at: Position, resource: Option<&str>, path: &str, message: impl Into<String>) {
        let error = ManifestError {
            file: file.name.to_string(),
            line: at.line,
            column: at.column,
            resource: resource.map(str::to_owned),
            path: path.to_owned(),
            message: message.into(),
        };
        self.errors.push((file.order, error));
    }

    fn finish(mut self) -> Result<Vec<Located>, Vec<ManifestError>> {
        if self.errors.is_empty() {
            return Ok(self.resources);
        }
        self.errors.sort();
        self.errors.dedup();
        Err(self.errors.into_iter().map(|(_, error)| error).collect())
    }

    /// Checks one document.
    fn document(&mut self, file: &File, node: &Node) {
        let mut places = Places::default();
        let document = node.value("", &mut places);
        let Places { mut positions, mistaken } = places;
        positions.insert(String::new(), node.at);
        let Some(kind) = self.kind(file, &document, &positions) else { return };
        let text = |pointer| document.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
        let subject = match &name {
            Some(name) => format!("{kind}/{name}"),
            None => kind.to_string(),
        };
        if let Some(name) = &name {
            self.unique(file, kind, name, namespace.as_ref(), &positions);
            if let Some(message) = refused(name) {
                let at = position_near(&positions, "/metadata/name").unwrap_or(node.at);
                self.error(file, at, Some(&subject), "metadata.name", message);
            }
        }

        let check = &CHECKS[kind as usize];
        let mut findings: Vec<Finding> = check
            .validator
            .iter()
            .flat_map(|validator| validator.iter_errors(&document).collect::<Vec<_>>())
            .flat_map(|error| explain::explain(&check.schema, &error))
            .collect();
        let broken = rules::broken(&check.schema, &check.rules, &document, &findings);
        findings.extend(broken);
        let sound = findings.is_empty();
        for Finding { pointer, message, .. } in findings {
            let at = position_near(&positions, &pointer).unwrap_or(node.at);
            // What is no YAML value was objected to already.
            if !mistaken.contains(&pointer) {
                self.error(file, at, Some(&subject), &field_path(&pointer), message);
            }
        }
        if !sound {
            return;
        }
        match typed::typed(kind, document) {
            Ok(resource) => self.resources.push(Located {
                resource,
                name: name.unwrap_or_default(),
                namespace,
                file: file.name.clone(),
                line: node.at.line,
                positions: Some(Arc::new(positions)),
            }),
            Err(Finding { pointer, message, .. }) => {
                let at = position_near(&positions, &pointer).unwrap_or(node.at);
                self.error(file, at, Some(&subject), &field_path(&pointer), message);
            }
        }
    }

    /// The document's kind, or why it has none.
    fn kind(&mut self, file: &File, document: &Value, positions: &BTreeMap<String, Position>) -> Option<Kind> {
        let near = |pointer| position_near(positions, pointer).unwrap_or(Position { line: 1, column: 1 });
        if !document.is_object() {
            self.error(file, near(""), None, "", "expected fields (apiVersion, kind, metadata, spec)");
            return None;
        }
        let api = document.get("apiVersion").and_then(Value::as_str);
        let right = match api {
            Some(API_VERSION) => true,
            Some(other) => {
                let message = format!("unknown version {other:?}: write {API_VERSION}");
                self.error(file, near("/apiVersion"), None, "apiVersion", message);
                false
            }
            None => {
                let message = format!("required, but missing: write {API_VERSION}");
                self.error(file, near("/apiVersion"), None, "apiVersion", message);
                false
            }
        };
        let known = Kind::ALL.map(Kind::as_str);
        let kinds = known.join(", ");
        match document.get("kind").and_then(Value::as_str) {
            Some(text) => match Kind::parse(text) {
                Some(kind) => Some(kind),
                // Another group's kind was already objected to by its apiVersion.
                None if !right => None,
                None => {
                    let meant = nearest::nearest(text, known).map(|meant| format!("did you mean {meant}? "));
                    let message = format!("unknown kind {text:?}; {}kinds: {kinds}", meant.unwrap_or_default());
                    self.error(file, near("/kind"), None, "kind", message);
                    None
                }
            },
            None => {
                self.error(file, near("/kind"), None, "kind", format!("required, but missing: one of {kinds}"));
                None
            }
        }
    }

    fn unique(
        &mut self,
        file: &File,
        kind: Kind,
        name: &str,
        namespace: Option<&String>,
        positions: &BTreeMap<String, Position>,
    ) {
        let at = position_near(positions, "/metadata/name").unwrap_or(Position { line: 1, column: 1 });
        let key = (kind, namespace.cloned(), name.to_owned());
        match self.names.get(&key) {
            Some((other, line)) => {
                let message = format!("already declared at {other}:{line}: give one of them another name");
                self.error(file, at, Some(&format!("{kind}/{name}")), "metadata.name", message);
            }
            None => {
                self.names.insert(key, (file.name.clone(), at.line));
            }
        }
    }
}

/// Why a resource may not have a name that is one: in a cluster, names of jobs, workers and routes are made from it. The
/// chart's admission policy refuses the same.
fn refused(name: &str) -> Option<&'static str> {
    let digits = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if name.len() > 40 {
        return Some("a name is at most 40 characters: names of jobs and workers are made from it");
    }
    if name.rsplit_once('-').is_some_and(|(_, end)| end.len() == 8 && end.chars().all(digits)) {
        return Some(
            "a name may not end in '-' and eight hexadecimal digits: it could be taken for a generation of another resource",
        );
    }
    let route = "a name may not end in '-route': it could be taken for the route of a Pipeline";
    name.ends_with("-route").then_some(route)
}

#[cfg(test)]
mod tests;
