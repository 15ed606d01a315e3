//! Durations as people write them: `250ms`, `5s`, `2m`.

use std::time::Duration;

/// Reads a whole number followed by `ms`, `s`, `m` or `h`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || "not a duration such as 250ms, 5s, 2m or 1h".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    // A timer cannot be set for longer than a few years, and nobody means to.
    let total = number.checked_mul(millis).filter(|total| *total <= 365 * 24 * 3_600_000);
    total.map(Duration::from_millis).ok_or_else(|| "longer than a year".to_owned())
}

/// The same way round, in the largest unit that loses nothing.
pub(crate) fn format(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "0s".to_owned(),
        millis if millis % 1000 > 0 => format!("{millis}ms"),
        millis if millis % 60_000 > 0 => format!("{}s", millis / 1000),
        millis => format!("{}m", millis / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_written_back() {
        for (text, millis) in [("250ms", 250), ("5s", 5000), ("2m", 120_000), ("90s", 90_000), ("0s", 0)] {
            let duration = parse(text).unwrap();
            assert_eq!(duration.as_millis(), millis, "{text}");
            assert_eq!(format(duration), text);
        }
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", "5", "s", "soon", "-5s", "+5s", "5 s", "5s ", "1.5s", "5S", "5min", "٣s", "ms250"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        for text in ["99999999999999999999s", "18446744073709551615m", "400000h"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
