//! Numbers as a person reads them at a glance: three digits and a unit prefix.

use std::time::Duration;

/// `0`, `7.5`, `123`, `12.3k`, `1.20G`.
pub fn short(value: f64) -> String {
    const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let mut value = value.max(0.0);
    if value < 0.05 {
        return "0".to_owned();
    }
    let mut prefixes = PREFIXES.iter();
    let mut prefix = prefixes.next().unwrap_or(&"");
    // Rounding must not make four digits of three.
    while value >= 999.5
        && let Some(next) = prefixes.next()
    {
        (value, prefix) = (value / 1000.0, next);
    }
    match (prefix.is_empty(), value) {
        (true, value) if value < 9.95 && value.fract() >= 0.05 => format!("{value:.1}"),
        (true, value) => format!("{value:.0}"),
        (false, value) if value < 9.995 => format!("{value:.2}{prefix}"),
        (false, value) if value < 99.95 => format!("{value:.1}{prefix}"),
        (false, value) => format!("{value:.0}{prefix}"),
    }
}

/// A count: exact while it is short, else as [`short`].
pub fn count(value: u64) -> String {
    if value < 100_000 { value.to_string() } else { short(value as f64) }
}

/// Bytes with binary prefixes: `512 B`, `1.5 MiB`.
pub fn bytes(value: u64) -> String {
    let (mut value, mut unit) = (value as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1023.5 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" || value >= 99.95 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// A share: `0`, `0.3`, `12`, `100`.
pub fn percent(value: f64) -> String {
    match value {
        value if value < 0.05 => "0".to_owned(),
        value if value < 9.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// A time: `12s`, `3m05s`, `2h09m`, `5d03h`.
pub fn time(value: Duration) -> String {
    let s = value.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_and_never_jump_in_width() {
        let cases = [(0.0, "0"), (0.04, "0"), (7.5, "7.5"), (8.0, "8"), (9.96, "10"), (123.4, "123"), (999.4, "999")];
        for (value, text) in cases {
            assert_eq!(short(value), text);
        }
        let cases = [(999.6, "1.00k"), (12_345.0, "12.3k"), (99_960.0, "100k"), (999_600.0, "1.00M"), (1.2e9, "1.20G")];
        for (value, text) in cases {
            assert_eq!(short(value), text);
        }
        assert_eq!((short(-3.0), short(5e21)), ("0".to_owned(), "5000000P".to_owned()));
        assert!((0..60).all(|power| short(2f64.powi(power)).len() <= 5));
        assert_eq!([count(0), count(99_999), count(100_000)], ["0", "99999", "100k"]);
        assert_eq!([bytes(0), bytes(1023), bytes(1024), bytes(150 << 20)], ["0 B", "1023 B", "1.0 KiB", "150 MiB"]);
        assert_eq!([percent(0.01), percent(0.31), percent(9.97), percent(100.0)], ["0", "0.3", "10", "100"]);
        let times = [5, 185, 7_799, 442_800].map(|s| time(Duration::from_secs(s)));
        assert_eq!(times, ["5s", "3m05s", "2h09m", "5d03h"]);
    }
}
