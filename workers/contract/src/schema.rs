//! Shapes of JSON schemas that Kubernetes can enforce; used by attributes on the parameter types.

use schemars::Schema;
use serde_json::{Map, Value, json};

/// Whether a field has its default and need not be written.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Turns the `oneOf` of an externally tagged enum into one object with an optional property per arm and a rule that
/// exactly one is given: the API server then answers "exactly one of a, b must be given" and `kubectl explain` shows
/// every arm.
pub fn one_arm(schema: &mut Schema) {
    let Some(Value::Array(arms)) = schema.remove("oneOf") else { return };
    let mut properties = Map::new();
    for arm in arms {
        let description = arm.get("description").cloned();
        if let Some(Value::Object(own)) = arm.get("properties").cloned() {
            for (name, mut value) in own {
                if let (Some(text), Value::Object(object)) = (&description, &mut value) {
                    object.insert("description".into(), text.clone());
                }
                properties.insert(name, value);
            }
        }
    }
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    let count = names.iter().map(|n| format!("(has(self.{n}) ? 1 : 0)")).collect::<Vec<_>>().join(" + ");
    let rule = json!([{
        "rule": format!("{count} == 1"),
        "message": format!("exactly one of {} must be given", names.join(", ")),
    }]);
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), Value::Object(properties));
    schema.insert("x-kubernetes-validations".into(), rule);
}
