//! What the schema refuses, in plain words.
//!
//! In: a schema error with the schema and the value it is about. Out: the field and a sentence that names the fix: the
//! nearest field, the bounds, the choices, the type that is expected.

use jsonschema::error::{ValidationError, ValidationErrorKind as Refused};
use serde_json::Value;

use super::nearest::nearest;
use crate::schema::{NAME, at, fields};

/// What is wrong at one field.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The field, as a JSON pointer.
    pub(crate) pointer: String,
    /// What is wrong and the fix.
    pub(crate) message: String,
    /// Whether it makes rules about the fields around it meaningless: a field unknown, missing or of another type.
    pub(crate) shape: bool,
}

/// The findings behind one schema error.
pub(crate) fn explain(schema: &Value, error: &ValidationError<'_>) -> Vec<Finding> {
    let pointer = error.instance_path().as_str().to_owned();
    let node = at(schema, &pointer).unwrap_or(&Value::Null);
    let value: &Value = error.instance();
    let one = |message: String, shape: bool| vec![Finding { pointer: pointer.clone(), message, shape }];
    match error.kind() {
        Refused::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|name| Finding { pointer: child(&pointer, name), message: unknown(&pointer, name, node), shape: true })
            .collect(),
        Refused::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let pointer = child(&pointer, name);
            let message = match at(schema, &pointer).and_then(|field| field.get("description")).and_then(Value::as_str)
            {
                Some(about) => format!("required, but missing ({})", first_sentence(about)),
                None => "required, but missing".to_owned(),
            };
            vec![Finding { pointer, message, shape: true }]
        }
        Refused::Type { .. } => one(wrong_type(&pointer, node, value), true),
        Refused::Minimum { .. } | Refused::Maximum { .. } => {
            one(format!("{value} is out of range: {}", bounds(node, "minimum", "maximum")), false)
        }
        Refused::MinLength { .. } | Refused::MaxLength { .. } => {
            let length = value.as_str().map_or(0, |text| text.chars().count());
            let bounds = bounds(node, "minLength", "maxLength");
            one(format!("{} characters are not allowed: give {bounds}", length), false)
        }
        Refused::MinItems { .. } | Refused::MaxItems { .. } => {
            let length = value.as_array().map_or(0, Vec::len);
            one(format!("{length} entries are not allowed: give {}", bounds(node, "minItems", "maxItems")), false)
        }
        Refused::Enum { options } => one(choice(value, options), false),
        Refused::Pattern { pattern } => one(unlike(value, pattern), false),
        other => one(format!("{} is not allowed ({})", shown(value), other.keyword()), false),
    }
}

/// The pointer of a field of an object.
pub(crate) fn child(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn unknown(pointer: &str, name: &str, node: &Value) -> String {
    if pointer.is_empty() && name == "status" {
        return "status is written by RecMesh, not by you: remove it".to_owned();
    }
    let fields = fields(node);
    let meant =
        nearest(name, fields.iter().copied()).map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
    match fields.as_slice() {
        [] => "unknown field; none belongs here: remove it".to_owned(),
        fields => format!("unknown field; {meant}fields here: {}", fields.join(", ")),
    }
}

fn choice(value: &Value, options: &Value) -> String {
    let options: Vec<&str> =
        options.as_array().map(|all| all.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
    let meant = value.as_str().and_then(|text| nearest(text, options.iter().copied()));
    let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
    format!("{} is not a choice; {meant}choose one of {}", shown(value), options.join(", "))
}

fn unlike(value: &Value, pattern: &str) -> String {
    if pattern == NAME {
        return format!(
            "{} is not a name: use lower-case letters, digits and '-', starting and ending with a letter or digit",
            shown(value)
        );
    }
    if duration(pattern) {
        return format!(
            "{} is not a duration: write whole numbers with ms, s, m or h, such as 250ms or 1m30s",
            shown(value)
        );
    }
    format!("{} does not match {pattern}", shown(value))
}

fn wrong_type(pointer: &str, node: &Value, value: &Value) -> String {
    let expected = expected(node);
    let arms = fields(node);
    match (node.get("type").and_then(Value::as_str), value) {
        (Some("object"), Value::Null) if node.get("required").is_none() => {
            let name = pointer.rsplit('/').next().unwrap_or_default();
            format!("has no value: write `{name}: {{}}` to take every default, or remove the line")
        }
        (_, Value::Null) => format!("has no value: give {expected}, or remove the line"),
        (Some("object"), Value::String(text)) if arms.contains(&text.as_str()) => {
            format!("expected {expected}: write {text} as a field, `{text}: {{}}`")
        }
        (Some("integer" | "number" | "boolean"), Value::String(text))
            if text.parse::<f64>().is_ok() || matches!(text.as_str(), "true" | "false") =>
        {
            format!("expected {expected}, got the text {text:?}: remove the quotes")
        }
        (Some("string"), Value::Number(_) | Value::Bool(_)) if expected == "text" => {
            format!("expected text, got {}: write \"{value}\"", shown(value))
        }
        _ => format!("expected {expected}, got {}", shown(value)),
    }
}

/// Whether a pattern is that of durations.
fn duration(pattern: &str) -> bool {
    pattern.contains("(ms|s|m|h)")
}

fn expected(node: &Value) -> String {
    match node.get("type").and_then(Value::as_str) {
        Some("integer") => match bounds(node, "minimum", "maximum") {
            range if range.is_empty() => "a whole number".to_owned(),
            range => format!("a whole number, {range}"),
        },
        Some("number") => "a number".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("array") => "a list".to_owned(),
        Some("string") => match node.get("enum").and_then(Value::as_array) {
            Some(all) => format!("one of {}", all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")),
            None if duration(node.get("pattern").and_then(Value::as_str).unwrap_or_default()) => {
                "a duration such as 250ms or 1m30s".to_owned()
            }
            None => "text".to_owned(),
        },
        Some("object") => match fields(node).as_slice() {
            [] => "fields".to_owned(),
            fields => format!("fields ({})", fields.join(", ")),
        },
        _ => "another type".to_owned(),
    }
}

fn bounds(node: &Value, low: &str, high: &str) -> String {
    match (node.get(low), node.get(high)) {
        (Some(low), Some(high)) if low == high => format!("exactly {}", plain(low)),
        (Some(low), Some(high)) => format!("{} to {}", plain(low), plain(high)),
        (Some(low), None) => format!("at least {}", plain(low)),
        (None, Some(high)) => format!("at most {}", plain(high)),
        (None, None) => String::new(),
    }
}

/// A bound without a trailing `.0`.
fn plain(number: &Value) -> String {
    let text = number.to_string();
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(truth) => format!("{truth}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() > 60 => {
            format!("{:?}…", text.chars().take(60).collect::<String>())
        }
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "fields".to_owned(),
    }
}

fn first_sentence(text: &str) -> &str {
    let end = text.find(". ").or_else(|| text.find(".\n")).unwrap_or(text.len());
    text.get(..end).unwrap_or(text).trim_end_matches('.')
}
