//! One value of one row, as a format hands it over, and the readings that columns ask for.
//!
//! In: text, a number, a list or nothing. Out: an id, a number, a time, one or more values; or the reason why the value
//! cannot be read that way, for the list of bad rows.

use std::borrow::Cow;

use serde_json::Value;

/// One value of one row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    /// No value: an empty field, `null`, an absent key.
    Missing,
    /// Text; several values where a column asks for them.
    Text(Cow<'a, str>),
    /// Text that is one value, whatever stands in it.
    Token(&'a str),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Several values.
    List(Vec<String>),
    /// Something that no column can use.
    Nested,
}

impl<'a> Cell<'a> {
    /// Text, or nothing where it is empty.
    pub(crate) fn of_text(text: &'a str) -> Self {
        if text.is_empty() { Self::Missing } else { Self::Text(Cow::Borrowed(text)) }
    }

    /// The cell of a JSON value.
    pub(crate) fn of_json(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Missing,
            Value::Bool(yes) => Self::Integer(i64::from(*yes)),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(whole), _, _) => Self::Integer(whole),
                // Ids are often hashes beyond the signed range; as text they stay exact.
                (_, Some(large), _) => Self::Text(Cow::Owned(large.to_string())),
                (_, _, Some(number)) => Self::Number(number),
                _ => Self::Nested,
            },
            Value::String(text) => Self::of_text(text),
            Value::Array(elements) => elements
                .iter()
                .map(|element| Self::of_json(element).text().map(Cow::into_owned))
                .collect::<Option<Vec<_>>>()
                .map_or(Self::Nested, Self::List),
            Value::Object(_) => Self::Nested,
        }
    }

    /// The value as text; `None` for nothing, a list and what cannot be used.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Missing | Self::List(_) | Self::Nested => None,
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Token(text) => Some(Cow::Borrowed(text)),
            Self::Integer(whole) => Some(Cow::Owned(whole.to_string())),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
        }
    }

    /// The value as the id of something.
    pub(crate) fn id(&self, column: &str) -> Result<Cow<'_, str>, String> {
        match self {
            Self::Missing => Err(format!("{column} is empty")),
            Self::List(_) | Self::Nested => Err(format!("{column} is a list or an object, not an id")),
            _ => self.text().ok_or_else(|| format!("{column} is empty")),
        }
    }

    /// The value as a finite number; `None` where there is none.
    pub(crate) fn number(&self, column: &str) -> Result<Option<f64>, String> {
        let number = match self {
            Self::Missing => return Ok(None),
            Self::Text(text) if absent(text) => return Ok(None),
            Self::Token(text) if absent(text) => return Ok(None),
            Self::Text(text) => text.parse().ok(),
            Self::Token(text) => text.parse().ok(),
            Self::Integer(whole) => Some(*whole as f64),
            Self::Number(number) if number.is_nan() => return Ok(None),
            Self::Number(number) => Some(*number),
            Self::List(_) | Self::Nested => None,
        };
        match number {
            Some(number) if number.is_finite() && number.abs() <= f64::from(f32::MAX) => Ok(Some(number)),
            _ => Err(format!("{column} is {}, not a number", self.shown())),
        }
    }

    /// The value as a time: a whole number, also where it is written with a point.
    pub(crate) fn time(&self, column: &str) -> Result<i64, String> {
        let whole = match self {
            Self::Integer(whole) => Some(*whole),
            Self::Text(text) => text.parse().ok().or_else(|| text.parse().ok().and_then(integral)),
            Self::Token(text) => text.parse().ok().or_else(|| text.parse().ok().and_then(integral)),
            Self::Number(number) => integral(*number),
            Self::Missing => return Err(format!("{column} is empty")),
            Self::List(_) | Self::Nested => None,
        };
        whole.ok_or_else(|| format!("{column} is {}, not a whole number", self.shown()))
    }

    /// Every value of the cell, in its order.
    pub(crate) fn each_value(&self, mut take: impl FnMut(&str)) {
        match self {
            Self::Text(text) => values(text).for_each(take),
            Self::List(list) => list.iter().map(|value| value.trim()).filter(|value| !value.is_empty()).for_each(take),
            Self::Missing | Self::Nested => {}
            Self::Token(_) | Self::Integer(_) | Self::Number(_) => {
                if let Some(text) = self.text() {
                    take(&text);
                }
            }
        }
    }

    /// The value as running text; lists are joined.
    pub(crate) fn running_text(&self) -> Cow<'_, str> {
        match self {
            Self::List(list) => Cow::Owned(list.join(" ")),
            _ => self.text().unwrap_or_default(),
        }
    }

    /// The value for a message: short, and quoted so that blanks show.
    fn shown(&self) -> String {
        match self {
            Self::List(_) => "a list".into(),
            Self::Nested => "an object".into(),
            _ => {
                let text = self.text().unwrap_or_default();
                let short: String = text.chars().take(40).collect();
                if short.len() < text.len() { format!("{short:?}…") } else { format!("{short:?}") }
            }
        }
    }
}

/// Text that stands for "no number" in many tables.
fn absent(text: &str) -> bool {
    matches!(text, "" | "?") || ["na", "nan", "null", "none"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// A float that is a whole number in the range where floats are exact.
fn integral(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
}

/// Splits text into values: the elements of a bracketed list, else at `|` where there is one, else at blanks.
fn values(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    let list = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let bars = list.is_none() && text.contains('|');
    list.unwrap_or(text)
        .split(move |c: char| {
            if list.is_some() {
                c == ','
            } else if bars {
                c == '|'
            } else {
                c.is_whitespace()
            }
        })
        .map(move |value| if list.is_some() { value.trim().trim_matches(['"', '\'']) } else { value }.trim())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_splits_as_documented() {
        for (text, expect) in [
            ("Action Comedy", vec!["Action", "Comedy"]),
            ("Science Fiction|Drama", vec!["Science Fiction", "Drama"]),
            ("[6285, 194]", vec!["6285", "194"]),
            ("['Big Box', \"b\"]", vec!["Big Box", "b"]),
            ("[]", vec![]),
            ("  ", vec![]),
        ] {
            assert_eq!(values(text).collect::<Vec<_>>(), expect, "{text:?}");
        }
    }

    #[test]
    fn times_are_whole_numbers_and_stay_exact() {
        assert_eq!(Cell::of_text("881250949.0").time("t"), Ok(881_250_949));
        assert_eq!(Cell::of_text("9223372036854775807").time("t"), Ok(i64::MAX));
        for bad in ["1.5", "2019-11-24", "nan", "1e300"] {
            assert!(Cell::of_text(bad).time("t").is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_finite_or_missing() {
        assert_eq!(Cell::of_text("-1.5e2").number("n"), Ok(Some(-150.0)));
        for missing in ["", "?", "NaN", "null"] {
            assert_eq!(Cell::of_text(missing).number("n"), Ok(None), "{missing}");
        }
        for bad in ["inf", "1e39", "x", "1,5"] {
            assert!(Cell::of_text(bad).number("n").unwrap_err().starts_with("n is \""), "{bad}");
        }
    }

    #[test]
    fn large_json_ids_stay_exact() {
        let value: Value = serde_json::from_str("[18446744073709551615, 1, \"a\"]").unwrap();
        assert_eq!(Cell::of_json(&value), Cell::List(vec!["18446744073709551615".into(), "1".into(), "a".into()]));
    }
}
