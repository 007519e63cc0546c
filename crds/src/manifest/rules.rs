//! The CEL rules of a kind against one document, with the schema's defaults filled in.
//!
//! In: the document and what the schema already objects to. Out: findings, less the rules that fail only because a field
//! they read is unknown, missing or of another type: that was said before.

use kube::core::cel::{CompiledSchema, ErrorKind, validate_compiled};
use serde_json::Value;

use super::explain::Finding;
use crate::schema::at;

/// The rules that a document breaks; `rules` are those of `schema`.
pub(crate) fn broken(schema: &Value, rules: &CompiledSchema, document: &Value, found: &[Finding]) -> Vec<Finding> {
    let Err(errors) = validate_compiled(rules, document, None) else { return Vec::new() };
    errors
        .into_iter()
        .filter_map(|error| {
            let pointer = pointer(&error.field_path);
            let base = base(schema, &pointer, &error.rule);
            let follows = found.iter().any(|finding| finding.shape && concerns(&error.rule, &base, &finding.pointer));
            let evaluated = error.kind == ErrorKind::ValidationFailure;
            (!follows && (evaluated || found.is_empty())).then_some(Finding {
                pointer,
                message: error.message,
                shape: false,
            })
        })
        .collect()
}

/// `spec.tasks[0].when` as a JSON pointer.
fn pointer(path: &str) -> String {
    let mut pointer = String::new();
    for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
        pointer.push('/');
        pointer.push_str(part.trim_end_matches(']'));
    }
    pointer
}

/// Where a rule stands: at its field, or one above when it points at a field of its own object.
fn base(schema: &Value, pointer: &str, rule: &str) -> String {
    let here = at(schema, pointer).and_then(|node| node.get("x-kubernetes-validations")).and_then(Value::as_array);
    let stands =
        here.is_some_and(|rules| rules.iter().any(|own| own.get("rule").and_then(Value::as_str) == Some(rule)));
    match pointer.rfind('/') {
        Some(cut) if !stands => pointer.get(..cut).unwrap_or_default().to_owned(),
        _ => pointer.to_owned(),
    }
}

/// Whether a rule at `base` reads what a finding is about.
fn concerns(rule: &str, base: &str, finding: &str) -> bool {
    let Some(below) = finding.strip_prefix(base) else { return false };
    let mut parts = below.split('/').skip(1);
    match (parts.next(), parts.next()) {
        // The object itself is wrong, or one of its own fields is.
        (None, _) | (Some(_), None) => true,
        (Some(field), Some(_)) => rule.contains(&format!("self.{field}")),
    }
}
