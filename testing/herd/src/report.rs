//! Writes what was found into the documentation, between the marks that say where.

/// Replaces what stands between `<!-- herd: name -->` and the next `<!-- end -->`.
pub fn fill(document: &str, name: &str, text: &str) -> Result<String, String> {
    let mark = format!("<!-- herd: {name} -->\n");
    let (before, rest) = document.split_once(&mark).ok_or_else(|| format!("no place for {name}"))?;
    let (_, behind) = rest.split_once("<!-- end -->").ok_or_else(|| format!("no end for {name}"))?;
    Ok(format!("{before}{mark}\n{text}\n<!-- end -->{behind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_marks_is_replaced_and_nothing_else() {
        let document = "a\n<!-- herd: x -->\nold\n<!-- end -->\nb\n<!-- herd: y -->\nkept\n<!-- end -->\n";
        let once = fill(document, "x", "new\n").unwrap();
        assert!(once.starts_with("a\n<!-- herd: x -->\n\nnew\n\n<!-- end -->\nb\n") && once.contains("kept"));
        assert_eq!(fill(&once, "x", "new\n").as_ref(), Ok(&once));
        assert!(fill(document, "z", "").is_err());
    }
}
