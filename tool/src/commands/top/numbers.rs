//! Numbers as people read them.

use std::time::Duration;

/// 1,234,567
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// 999, 1.2k, 34k, 5.6M
pub fn rounded(number: f64) -> String {
    match in_units(number, 1000.0, &["", "k", "M", "G", "T"]) {
        (number, "") => format!("{number:.0}"),
        (number, unit) if number < 9.95 => format!("{number:.1}{unit}"),
        (number, unit) => format!("{number:.0}{unit}"),
    }
}

/// 999 B, 1.2 KiB, 34 MiB
pub fn size(bytes: u64) -> String {
    match in_units(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"]) {
        (_, "B") => format!("{bytes} B"),
        (size, unit) if size < 9.95 => format!("{size:.1} {unit}"),
        (size, unit) => format!("{size:.0} {unit}"),
    }
}

fn in_units(mut number: f64, of_each: f64, units: &[&'static str; 5]) -> (f64, &'static str) {
    let mut unit = 0;
    while number >= of_each - 0.5 && unit + 1 < units.len() {
        number /= of_each;
        unit += 1;
    }
    (number, units[unit])
}

/// 250 ms, 9.9 s, 100 s, 99 min, 47 h, 3 d
pub fn age(age: Duration) -> String {
    let (ms, s) = (age.as_millis(), age.as_secs());
    match s {
        0 => format!("{ms} ms"),
        1..10 => format!("{}.{} s", s, ms / 100 % 10),
        10..120 => format!("{s} s"),
        120..7200 => format!("{} min", s / 60),
        7200..172_800 => format!("{} h", s / 3600),
        _ => format!("{} d", s / 86_400),
    }
}

/// How long ago something was, if it ever was.
pub fn ago(time: Option<Duration>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| format!("{} ago", age(time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.4, 999.4, 999.6, 34_000.0, 5.6e6].map(rounded), ["0", "999", "1.0k", "34k", "5.6M"]);
        assert_eq!(
            [0, 1023, 1024, 3000, 1 << 30].map(size),
            ["0 B", "1023 B", "1.0 KiB", "2.9 KiB", "1.0 GiB"]
        );
        let ages = [999, 9_990, 119_999, 120_000, 7_200_000, 172_800_000].map(Duration::from_millis);
        assert_eq!(ages.map(age), ["999 ms", "9.9 s", "119 s", "2 min", "2 h", "2 d"]);
        assert_eq!([ago(None), ago(Some(Duration::ZERO))], ["never", "0 ms ago"]);
    }
}
