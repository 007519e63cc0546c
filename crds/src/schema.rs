//! From a derived schema to one that the API server takes and that holds what Rust can hold.
//!
//! The derive writes `uint32` formats, which Kubernetes does not know and does not bound; `nullable` for every
//! `Option`, although explicit nulls break CEL's `has()`; `additionalProperties: false` where an object has no fields,
//! which Kubernetes refuses; and keeps the line breaks of doc comments. Never touches what a field means.

use serde_json::{Map, Value, json};

/// Walks every schema node below (and with) `node`.
pub(crate) fn each(node: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    let Value::Object(object) = node else { return };
    visit(object);
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(|child| each(child, visit));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = object.get_mut(key) {
            each(child, visit);
        }
    }
}

/// Makes a derived schema fit for the API server.
pub(crate) fn fit(schema: &mut Value) {
    each(schema, &mut |node| {
        node.remove("nullable");
        node.remove("title");
        if node.get("additionalProperties") == Some(&Value::Bool(false)) {
            node.remove("additionalProperties");
        }
        if let Some(Value::String(text)) = node.get_mut("description") {
            *text = text.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
        }
        bound_integers(node);
    });
}

/// The largest integer that a number of JSON carries exactly; the API server reads bounds as such numbers, and refuses
/// values of a field whose bound it cannot read as an `int64`.
const EXACT: i64 = (1 << 53) - 1;

/// `uint8` … `uint64` become `int32` or `int64` with the bounds of the Rust type, as far as JSON can tell them.
fn bound_integers(node: &mut Map<String, Value>) {
    let (format, limit) = match node.get("format").and_then(Value::as_str) {
        Some("uint8") => ("int32", i64::from(u8::MAX)),
        Some("uint16") => ("int32", i64::from(u16::MAX)),
        Some("uint32") => ("int64", i64::from(u32::MAX)),
        Some("uint64" | "uint") => ("int64", EXACT),
        _ => return,
    };
    node.insert("format".into(), json!(format));
    // Bounds come as floats from some attributes; the API server wants numbers, people want whole ones.
    let whole = |value: &Value| value.as_i64().or_else(|| value.as_f64().map(|number| number as i64));
    let low = node.get("minimum").and_then(whole).unwrap_or(0).max(0);
    let high = node.get("maximum").and_then(whole).unwrap_or(limit).min(limit);
    node.insert("minimum".into(), json!(low));
    node.insert("maximum".into(), json!(high));
}

/// The schema node of a field, by the JSON pointer of a value.
pub(crate) fn at<'a>(schema: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(schema, |node, part| {
        let part = part.replace("~1", "/").replace("~0", "~");
        node.get("properties")
            .and_then(|properties| properties.get(&part))
            .or_else(|| node.get("items"))
            .or_else(|| node.get("additionalProperties"))
    })
}

/// The names of an object's fields.
pub(crate) fn fields(schema: &Value) -> Vec<&str> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

/// The strict form that manifests are held against: unknown fields are errors, `status` is none of the user's, and
/// `metadata` holds what names and labels a resource.
pub(crate) fn strict(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.remove("status");
        properties.insert("apiVersion".into(), json!({"type": "string"}));
        properties.insert("kind".into(), json!({"type": "string"}));
        properties.insert("metadata".into(), metadata());
    }
    if let Value::Object(root) = &mut schema {
        root.insert("type".into(), json!("object"));
        root.insert("required".into(), json!(["metadata", "spec"]));
    }
    each(&mut schema, &mut |node| {
        let object = node.get("type").and_then(Value::as_str) == Some("object");
        let open = node.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
        if object && !open && !node.contains_key("additionalProperties") {
            node.insert("additionalProperties".into(), Value::Bool(false));
            // Without it, a validator has no field names to report what is not among them.
            node.entry("properties").or_insert_with(|| json!({}));
        }
    });
    schema
}

fn metadata() -> Value {
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({
        "type": "object",
        "description": "What the resource is called.",
        "required": ["name"],
        "properties": {
            "name": {
                "type": "string",
                "description": "The resource's name.",
                "pattern": NAME,
                "maxLength": 63,
            },
            "namespace": {"type": "string", "pattern": NAME, "maxLength": 63},
            "labels": texts,
            "annotations": texts,
        },
    })
}

/// A DNS-1123 label.
pub(crate) const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_get_the_bounds_of_their_type() {
        let mut schema = json!({"properties": {
            "free": {"type": "integer", "format": "uint32"},
            "wide": {"type": "integer", "format": "uint64"},
            "ranged": {"type": "integer", "format": "uint64", "minimum": 1.0, "maximum": 9.0},
            "title": {"type": "string", "nullable": true, "title": "gone"},
            "none": {"type": "object", "additionalProperties": false},
        }});
        fit(&mut schema);
        let expected = json!({"properties": {
            "free": {"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX},
            "wide": {"type": "integer", "format": "int64", "minimum": 0, "maximum": 9_007_199_254_740_991_i64},
            "ranged": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 9},
            "title": {"type": "string"},
            "none": {"type": "object"},
        }});
        assert_eq!(schema, expected);
    }

    #[test]
    fn a_pointer_finds_its_schema() {
        let schema = json!({"properties": {"a": {"items": {"additionalProperties": {"type": "number"}}}}});
        assert_eq!(at(&schema, "/a/3/x~1y"), Some(&json!({"type": "number"})));
        assert_eq!(at(&schema, "/b"), None);
    }
}
