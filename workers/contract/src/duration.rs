//! Durations as manifests write them: `250ms`, `1m30s`.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// A span of time in whole milliseconds, written `[0-9]+(ms|s|m|h)`, parts adding up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Millis(pub u64);

/// Why a string is no duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a duration: write whole numbers with ms, s, m or h, such as 250ms or 1m30s")]
pub struct ParseDurationError(pub String);

impl Millis {
    /// As a standard duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl TryFrom<String> for Millis {
    type Error = ParseDurationError;

    fn try_from(text: String) -> Result<Self, ParseDurationError> {
        let parse = || {
            let mut total = 0u64;
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let digits = rest.find(|c: char| !c.is_ascii_digit())?;
                let number: u64 = rest.get(..digits)?.parse().ok()?;
                rest = rest.get(digits..)?;
                let (unit, scale) = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
                    .into_iter()
                    .find(|(unit, _)| rest.starts_with(unit))?;
                rest = rest.get(unit.len()..)?;
                total = total.checked_add(number.checked_mul(scale)?)?;
            }
            (!text.is_empty()).then_some(Self(total))
        };
        parse().ok_or_else(|| ParseDurationError(text.clone()))
    }
}

impl From<Millis> for String {
    fn from(span: Millis) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

impl schemars::JsonSchema for Millis {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            // Nine digits: no duration that passes can overflow.
            "pattern": "^([0-9]{1,9}(ms|s|m|h))+$",
            "maxLength": 32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_manifests_write() {
        for (text, ms) in [("250ms", 250), ("1m30s", 90_000), ("2h", 7_200_000), ("0s", 0)] {
            assert_eq!(Millis::try_from(text.to_owned()), Ok(Millis(ms)), "{text}");
        }
        for bad in ["", "5", "ms", "1.5s", "-1s", "1d", "1s ", "99999999999999999999h"] {
            assert!(Millis::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
