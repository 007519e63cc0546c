//! How much time a call has left, as the header `grpc-timeout` says it.
//!
//! In: the header's text. Out: a duration. Clocks of two machines are never compared.

use std::time::Duration;

/// Time for a call that says nothing; our client always does.
pub(crate) const UNTOLD: Duration = Duration::from_secs(60);
/// No call takes longer, whatever it says.
const LONGEST: Duration = Duration::from_secs(3600);

/// Reads `1500m`, `20S`, …: at most eight digits and a unit. `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let plain = !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|c| c.is_ascii_digit());
    let number: u64 = if plain { digits.parse().ok()? } else { return None };
    let time = match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    };
    Some(time.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_protocols_units_and_nothing_else() {
        assert_eq!(parse("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("20S"), Some(Duration::from_secs(20)));
        assert_eq!(parse("7u"), Some(Duration::from_micros(7)));
        assert_eq!(parse("0n"), Some(Duration::ZERO));
        assert_eq!(parse("99999999H"), Some(LONGEST));
        for bad in ["", "5", "m", "+5m", "123456789m", "5s", "5ü", "1.5S"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
