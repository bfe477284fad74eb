//! Which nodes a cache was told to keep, by the words of the documentation: slowly, and by no code of the library's.

/// The settings `depth.max` and `select.*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Narrowing {
    pub depth: Option<usize>,
    pub exclude: Vec<String>,
    pub leaf: Vec<String>,
    pub include: Vec<String>,
}

impl Narrowing {
    /// Whether a node is kept; its path is relative to the root.
    pub fn keeps(&self, relative: &str) -> bool {
        if *self == Narrowing::default() {
            return true;
        }
        let names: Vec<&str> = relative.split('/').filter(|name| !name.is_empty()).collect();
        let any = |patterns: &[String], is: &dyn Fn(&[&str]) -> bool| {
            patterns.iter().any(|pattern| is(&pattern.split('/').collect::<Vec<_>>()))
        };
        let is_excluded =
            (1..=names.len()).any(|end| any(&self.exclude, &|pattern| matches(pattern, &names[..end])));
        let is_below_leaf =
            (1..names.len()).any(|end| any(&self.leaf, &|pattern| matches(pattern, &names[..end])));
        let is_included = names.is_empty()
            || self.include.is_empty()
            || any(&self.include, &|pattern| matches(pattern, &names) || leads_on(pattern, &names));
        self.depth.is_none_or(|depth| names.len() <= depth) && !is_excluded && !is_below_leaf && is_included
    }
}

fn matches(pattern: &[&str], names: &[&str]) -> bool {
    match pattern {
        [] => names.is_empty(),
        ["**"] => !names.is_empty(),
        ["**", rest @ ..] => (0..=names.len()).any(|at| matches(rest, &names[at..])),
        [glob, rest @ ..] => {
            names.split_first().is_some_and(|(name, below)| fits(glob, name) && matches(rest, below))
        }
    }
}

/// Whether the pattern can match something below these names.
fn leads_on(pattern: &[&str], names: &[&str]) -> bool {
    match (pattern, names) {
        ([], _) => false,
        (["**", ..], _) | (_, []) => true,
        ([glob, rest @ ..], [name, below @ ..]) => fits(glob, name) && leads_on(rest, below),
    }
}

fn fits(glob: &str, name: &str) -> bool {
    match glob.split_once('*') {
        None => glob == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.into_iter().any(|at| fits(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use treecache_core::selection::{Effect, Kept, Selection};

    #[test]
    fn the_documentations_examples() {
        let narrowing = |exclude: &[&str], leaf: &[&str], include: &[&str]| {
            let of = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            Narrowing { depth: None, exclude: of(exclude), leaf: of(leaf), include: of(include) }
        };
        let lock = narrowing(&["**/.lock"], &[], &[]);
        assert!(!lock.keeps(".lock") && !lock.keeps("a/.lock/b") && lock.keeps("a/lock"));
        let leaf = narrowing(&[], &["a/*"], &[]);
        assert!(leaf.keeps("a/b") && !leaf.keeps("a/b/c") && leaf.keeps("b/b/c"));
        let services = narrowing(&[], &[], &["services/*/up"]);
        assert!(services.keeps("services/x/up") && services.keeps("services/x"));
        assert!(!services.keeps("services/x/down") && !services.keeps("config"));
    }

    /// All rules of up to three parts that are made of a few, on all paths of up to four names.
    #[test]
    fn the_library_reads_the_words_in_the_same_way() {
        let parts = ["a", "b*", "*", "**"];
        let mut patterns: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        for _ in 0..2 {
            let longer = patterns.iter().flat_map(|of| parts.iter().map(move |part| format!("{of}/{part}")));
            let longer: Vec<String> = longer.collect();
            patterns.extend(longer);
        }
        let mut paths = vec![String::new()];
        for from in [0, 1, 4, 13] {
            let below: Vec<String> = paths[from..]
                .iter()
                .flat_map(|above| ["a", "b", "bc"].map(|name| format!("{above}/{name}")))
                .map(|path| path.trim_start_matches('/').to_owned())
                .collect();
            paths.extend(below);
        }
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..3000 {
            let (mut selection, mut narrowing) = (Selection::default(), Narrowing::default());
            if rng.u8(..4) == 0 {
                let depth = rng.usize(..4);
                selection.limit_depth(depth);
                narrowing.depth = Some(depth);
            }
            for _ in 0..rng.usize(1..4) {
                let pattern = patterns[rng.usize(..patterns.len())].clone();
                let (effect, list) = match rng.u8(..3) {
                    0 => (Effect::Exclude, &mut narrowing.exclude),
                    1 => (Effect::Leaf, &mut narrowing.leaf),
                    _ => (Effect::Include, &mut narrowing.include),
                };
                selection.add(effect, &pattern).unwrap_or_else(|error| panic!("{error}"));
                list.push(pattern);
            }
            for path in &paths {
                let kept = selection.of(path);
                assert_eq!(kept != Kept::Nothing, narrowing.keeps(path), "{path:?} by {narrowing:?}");
                let children = ["a", "b", "bc", "d"].map(|name| match path.as_str() {
                    "" => name.to_owned(),
                    path => format!("{path}/{name}"),
                });
                let kept_children = children.iter().filter(|child| narrowing.keeps(child)).count();
                assert!(kept == Kept::Open || kept_children == 0, "{path:?} by {narrowing:?}");
                if kept == Kept::Open && !selection.may_leave_out(path) {
                    assert_eq!(kept_children, children.len(), "{path:?} by {narrowing:?}");
                }
            }
        }
    }
}
