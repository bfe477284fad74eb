//! Numbers as people read them.

/// Three digits are more than is reproducible. What is long gets a larger unit.
pub fn quantity(value: f64, unit: &str) -> String {
    let (factor, unit) = scale(value, unit);
    format!("{} {unit}", number(value * factor)).trim_end().to_owned()
}

pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 10_000.0 => return grouped(value.round() as usize),
        value if value >= 100.0 || value.fract() == 0.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 0.1 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// What to multiply a value with for the unit that it is better told in.
pub fn scale(value: f64, unit: &str) -> (f64, &str) {
    match unit {
        "ns" if value >= 10_000.0 => (1e-3, "µs"),
        "ms" if value >= 10_000.0 => (1e-3, "s"),
        _ => (1.0, unit),
    }
}

/// With commas between thousands.
pub fn grouped(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
