//! One YAML scalar to a JSON value.
//!
//! YAML 1.2's core schema, less whatever Kubernetes' YAML 1.1 reads otherwise: `yes` is true there, `010` is 8, `1_000`
//! is 1000. Such values are refused with the way to write what is meant.

use serde_json::{Number, Value};

/// The value of a scalar; the message of what is wrong with it.
pub(crate) fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Result<Value, String> {
    match tag {
        None if plain => self::plain(text),
        None | Some("!" | "!!str") => Ok(Value::String(text.to_owned())),
        Some(tag) => Err(format!("remove the tag {tag}: manifests use none")),
    }
}

fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if let Some(truth) = old_truth(text) {
        return Err(format!(
            "Kubernetes reads {text} as {truth}: write {truth}, or quote it (\"{text}\") if text is meant"
        ));
    }
    match text.to_ascii_lowercase().trim_start_matches(['+', '-']) {
        ".inf" | ".nan" => return Err(format!("{text} is not a number that a manifest can hold")),
        _ => {}
    }
    if !number_like(text) {
        return Ok(Value::String(text.to_owned()));
    }
    number(text)
}

/// What YAML 1.1 reads as true or false and YAML 1.2 as text.
fn old_truth(text: &str) -> Option<bool> {
    let cased = text.chars().skip(1).all(char::is_lowercase) || text.chars().all(char::is_uppercase);
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "on" if cased => Some(true),
        "n" | "no" | "off" if cased => Some(false),
        _ => None,
    }
}

/// Whether either YAML could read it as a number.
fn number_like(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let first = digits.trim_start_matches('.').bytes().next();
    let prefixed = digits.strip_prefix('0').and_then(|rest| rest.strip_prefix(['x', 'o', 'b', 'X']));
    if let Some(rest) = prefixed {
        return !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_hexdigit() || c == b'_');
    }
    let body = digits.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'E' | b'+' | b'-' | b'_'));
    first.is_some_and(|c| c.is_ascii_digit()) && body && digits.replace('_', "").parse::<f64>().is_ok()
}

fn number(text: &str) -> Result<Value, String> {
    let digits = text.trim_start_matches(['+', '-']);
    let leading = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|c| c.is_ascii_digit());
    let radix = digits.starts_with('0')
        && digits.as_bytes().get(1).is_some_and(|c| c.is_ascii_alphabetic() && !matches!(c, b'e' | b'E'));
    if leading || radix || digits.contains('_') {
        return Err(format!(
            "{text} reads as different numbers in YAML 1.1 and 1.2: write plain decimal digits, or quote it"
        ));
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let whole = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok();
    whole
        .or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64))
        .map(Value::Number)
        .ok_or_else(|| format!("{text} is too large a number"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn core_schema() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("true", json!(true)),
            ("FALSE", json!(false)),
            ("0", json!(0)),
            ("-12", json!(-12)),
            ("+7", json!(7)),
            ("18446744073709551615", json!(u64::MAX)),
            ("1e-3", json!(0.001)),
            (".5", json!(0.5)),
            ("1.", json!(1.0)),
            ("250ms", json!("250ms")),
            ("1m30s", json!("1m30s")),
            ("2024-01-01", json!("2024-01-01")),
            ("1:30", json!("1:30")),
            ("0xcafe-or-not", json!("0xcafe-or-not")),
            ("not", json!("not")),
            ("-", json!("-")),
        ] {
            assert_eq!(resolve(text, true, None), Ok(value), "{text:?}");
        }
        assert_eq!(resolve("yes", false, None), Ok(json!("yes")));
        assert_eq!(resolve("5", true, Some("!!str")), Ok(json!("5")));
    }

    #[test]
    fn what_the_two_yamls_read_differently_is_refused() {
        for text in
            ["yes", "No", "ON", "off", "y", "N", "010", "0x1F", "0o17", "0b11", "1_000", ".inf", "-.Inf", ".nan"]
        {
            assert!(resolve(text, true, None).is_err(), "{text}");
        }
        assert!(resolve("5", true, Some("!!int")).is_err());
    }
}
