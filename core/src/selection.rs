//! Which nodes of a subtree are kept: rules about depth and names.
//!
//! A [`Selection`] says of each path, relative to the root of the subtree, whether the node is kept, and whether its
//! children are. It goes by names alone, so what it says of a path never changes. Whoever has a whole list to select from
//! asks the [`Level`] of that list, name by name.

use std::fmt;
use std::sync::Arc;

use crate::escape::Escaped;
use crate::path::is_name;

/// The most names that a pattern may have: the places in it are the bits of a number.
const MOST_NAMES: usize = 60;

/// What is kept at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Nothing: the node is left out, with all below it.
    Nothing,
    /// The node, and nothing below it: its children need not be known.
    Alone,
    /// The node, and what the rules keep of what is below it.
    Open,
}

/// A pattern that is none, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid pattern {:?}: {reason}", Escaped(pattern))]
pub struct InvalidPattern {
    pattern: String,
    /// What is wrong with it, in words that go behind a colon.
    pub reason: &'static str,
}

/// Which nodes of a subtree are kept. Without rules, all are. The root is kept by all rules. Two are equal if they have the
/// same rules, in whatever order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// A child of the root that is left out, besides. (As a rule of its own it would cost each path of `/` a look at rules.)
    hidden: Option<&'static str>,
    /// `None`: all other nodes are kept.
    rules: Option<Arc<Rules>>,
}

#[derive(Debug, Clone, Default)]
struct Rules {
    /// Nodes deeper than this are left out. The root's depth is 0.
    depth: Option<usize>,
    patterns: Vec<(Effect, Pattern)>,
}

/// What becomes of the nodes that match a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// They are left out, with all below them.
    Exclude,
    /// They are kept, and nothing below them.
    Leaf,
    /// They are kept, and what is above them. What no pattern of this effect keeps is left out, if there is one.
    Include,
}

impl Effect {
    const ALL: [Effect; 3] = [Effect::Exclude, Effect::Leaf, Effect::Include];

    fn key(self) -> &'static str {
        match self {
            Effect::Exclude => "select.exclude",
            Effect::Leaf => "select.leaf",
            Effect::Include => "select.include",
        }
    }
}

/// Names one below the other, as in `services/*/**/.lock`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`: any number of names, none too.
    Names,
    /// One name, any one.
    AnyName,
    /// One name, with `*` for any characters in it.
    Name(Box<str>),
}

/// How much of a pattern the names of a path have matched: bit `i` stands for "the first `i` parts".
type Matched = u64;

impl Selection {
    /// Leaves out what is deeper than this; 0 keeps the root alone.
    pub fn limit_depth(&mut self, depth: usize) {
        self.rules_mut().depth = Some(depth);
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// The pattern is none; nothing is changed then.
    pub fn add(&mut self, effect: Effect, pattern: &str) -> Result<(), InvalidPattern> {
        let pattern = Pattern::new(pattern)?;
        self.rules_mut().patterns.push((effect, pattern));
        Ok(())
    }

    /// The same without the child of the root that has this name.
    #[must_use]
    pub(crate) fn without_child(self, name: &'static str) -> Selection {
        Selection { hidden: Some(name), ..self }
    }

    /// The settings that its rules come from: key and value.
    pub fn settings(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let depth = self.rules.as_ref().and_then(|rules| rules.depth);
        let depth = depth.map(|depth| ("depth.max", depth.to_string()));
        let patterns = self.rules.iter().flat_map(|rules| &rules.patterns);
        depth.into_iter().chain(patterns.map(|(effect, pattern)| (effect.key(), pattern.to_string())))
    }

    /// Takes in one of these settings. `None`, and nothing is changed, if it is none.
    pub fn set(&mut self, key: &str, value: &str) -> Option<()> {
        if key == "depth.max" {
            self.limit_depth(value.parse().ok()?);
            return Some(());
        }
        let effect = Effect::ALL.into_iter().find(|effect| effect.key() == key)?;
        self.add(effect, value).ok()
    }

    fn rules_mut(&mut self) -> &mut Rules {
        Arc::make_mut(self.rules.get_or_insert_default())
    }

    /// What is kept at a path, which is relative to the root.
    pub fn of(&self, relative: &str) -> Kept {
        let hides = |hidden| {
            relative.strip_prefix(hidden).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if self.hidden.is_some_and(hides) {
            return Kept::Nothing;
        }
        let Some(rules) = &self.rules else { return Kept::Open };
        let mut level = Level::top(rules, self.hidden);
        let mut kept = level.kept();
        for name in names(relative) {
            // Nothing is below a node that is kept alone.
            if kept != Kept::Open || !level.enter(name) {
                return Kept::Nothing;
            }
            kept = level.kept();
        }
        kept
    }

    /// The children of the node at a path, to select from; `None`: all of them are kept, and open.
    pub fn level(&self, relative: &str) -> Option<Level<'_>> {
        static NONE: Rules = Rules { depth: None, patterns: Vec::new() };
        let rules = match &self.rules {
            None if self.hidden.is_none() || !relative.is_empty() => return None,
            None => &NONE,
            Some(rules) => rules,
        };
        let mut level = Level::top(rules, self.hidden);
        names(relative).for_each(|name| _ = level.enter(name));
        (!level.is_without_rules()).then_some(level)
    }

    /// Whether the rules may leave out a child of the node at a path, which is open: it depends on the name.
    pub fn may_leave_out(&self, relative: &str) -> bool {
        self.level(relative).is_some_and(|level| level.may_leave_out())
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Rules) -> bool {
        let has_all = |one: &Rules, of: &Rules| of.patterns.iter().all(|rule| one.patterns.contains(rule));
        self.depth == other.depth && has_all(self, other) && has_all(other, self)
    }
}

impl Eq for Rules {}

/// The rules, as the settings that they come from.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rules.is_none() {
            return f.write_str("no rules");
        }
        let settings = self.settings().map(|(key, value)| format!("{key}={}", Escaped(&value)));
        f.write_str(&settings.collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            let slash = if at == 0 { "" } else { "/" };
            match part {
                // As it was said, and not as it is kept.
                Part::AnyName if at > 0 && self.0[at - 1] == Part::Names && at + 1 == self.0.len() => {}
                Part::AnyName => write!(f, "{slash}*")?,
                Part::Names => write!(f, "{slash}**")?,
                Part::Name(name) => write!(f, "{slash}{name}")?,
            }
        }
        Ok(())
    }
}

fn names(relative: &str) -> impl Iterator<Item = &str> {
    relative.split('/').filter(|name| !name.is_empty())
}

/// The children of one node, as the rules see them.
#[derive(Debug, Clone)]
pub struct Level<'a> {
    /// A child of the root that is left out.
    hidden: Option<&'static str>,
    rules: &'a Rules,
    /// Of the node.
    depth: usize,
    /// How much of each pattern the path of the node has matched.
    matched: Vec<Matched>,
}

impl<'a> Level<'a> {
    fn top(rules: &'a Rules, hidden: Option<&'static str>) -> Level<'a> {
        let matched = rules.patterns.iter().map(|(_, pattern)| pattern.begun()).collect();
        Level { hidden, rules, depth: 0, matched }
    }

    /// What is kept of the child with this name.
    pub fn child(&self, name: &str) -> Kept {
        if self.hides_one() && self.hidden == Some(name) {
            return Kept::Nothing;
        }
        let mut below = self.clone();
        if below.enter(name) { below.kept() } else { Kept::Nothing }
    }

    fn hides_one(&self) -> bool {
        self.depth == 0 && self.hidden.is_some()
    }

    /// Goes down to the child with this name; false if that is left out.
    fn enter(&mut self, name: &str) -> bool {
        self.depth += 1;
        for ((_, pattern), matched) in self.rules.patterns.iter().zip(&mut self.matched) {
            *matched = pattern.step(*matched, name);
        }
        let is_included = !self.has(Effect::Include) || self.any(Effect::Include, |_, matched| matched != 0);
        let is_excluded = self.any(Effect::Exclude, |pattern, matched| matched & pattern.full() != 0);
        self.rules.depth.is_none_or(|most| self.depth <= most) && is_included && !is_excluded
    }

    /// What is kept of this node, which is not left out.
    fn kept(&self) -> Kept {
        let is_deepest = self.rules.depth.is_some_and(|most| self.depth >= most);
        let is_leaf = self.any(Effect::Leaf, |pattern, matched| matched & pattern.full() != 0);
        let excludes_each = self.any(Effect::Exclude, |pattern, matched| {
            matched & pattern.last() != 0 && pattern.0.last() == Some(&Part::AnyName)
        });
        let leads_on = self.any(Effect::Include, |pattern, matched| matched & !pattern.full() != 0);
        let includes_none = self.has(Effect::Include) && !leads_on;
        match is_deepest || is_leaf || excludes_each || includes_none {
            true => Kept::Alone,
            false => Kept::Open,
        }
    }

    /// Whether no rule is left to look at: all below is kept.
    fn is_without_rules(&self) -> bool {
        let is_over = self.matched.iter().all(|matched| *matched == 0);
        !self.hides_one() && self.rules.depth.is_none() && !self.has(Effect::Include) && is_over
    }

    /// Whether a child may be left out, if the node is open.
    fn may_leave_out(&self) -> bool {
        let excludes_some = self.any(Effect::Exclude, |pattern, matched| matched & pattern.last() != 0);
        let includes_each = self.any(Effect::Include, Pattern::takes_any) || !self.has(Effect::Include);
        self.hides_one() || excludes_some || !includes_each
    }

    fn has(&self, effect: Effect) -> bool {
        self.any(effect, |_, _| true)
    }

    fn any(&self, effect: Effect, is: impl Fn(&Pattern, Matched) -> bool) -> bool {
        let mut patterns = self.rules.patterns.iter().zip(&self.matched);
        patterns.any(|((of, pattern), matched)| *of == effect && is(pattern, *matched))
    }
}

impl Pattern {
    fn new(pattern: &str) -> Result<Pattern, InvalidPattern> {
        let invalid = |reason| InvalidPattern { pattern: pattern.to_owned(), reason };
        if pattern.is_empty() {
            return Err(invalid("it is empty"));
        }
        if pattern.starts_with('/') {
            return Err(invalid("it is relative to the root, and must not start with '/'"));
        }
        let mut parts = Vec::new();
        for name in pattern.split('/') {
            match name {
                // As often as it is said, it is the same.
                "**" if parts.last() == Some(&Part::Names) => {}
                "**" => parts.push(Part::Names),
                "*" => parts.push(Part::AnyName),
                "" => return Err(invalid("it has an empty name")),
                name if !is_name(name) => return Err(invalid("no node can have one of its names")),
                name if name.contains("**") => {
                    return Err(invalid("'**' stands for whole names, between slashes"));
                }
                name => parts.push(Part::Name(name.into())),
            }
        }
        // What is below a node, as in "a/**", is not the node itself.
        if parts.last() == Some(&Part::Names) {
            parts.push(Part::AnyName);
        }
        match parts.len() > MOST_NAMES {
            true => Err(invalid("it has more than 60 names")),
            false => Ok(Pattern(parts)),
        }
    }

    /// All of it.
    fn full(&self) -> Matched {
        1 << self.0.len()
    }

    /// All but the last part, which is one name.
    fn last(&self) -> Matched {
        1 << (self.0.len() - 1)
    }

    /// What the root has matched.
    fn begun(&self) -> Matched {
        self.with_no_names(1)
    }

    /// With what is matched if a `**` stands for no name.
    fn with_no_names(&self, mut matched: Matched) -> Matched {
        for (at, part) in self.0.iter().enumerate() {
            if *part == Part::Names && matched & (1 << at) != 0 {
                matched |= 1 << (at + 1);
            }
        }
        matched
    }

    /// What is matched with one more name.
    fn step(&self, matched: Matched, name: &str) -> Matched {
        if matched == 0 {
            return 0;
        }
        let mut next = 0;
        for (at, part) in self.0.iter().enumerate().filter(|(at, _)| matched & (1 << at) != 0) {
            next |= match part {
                Part::Names => 1 << at,
                Part::AnyName => 1 << (at + 1),
                Part::Name(glob) if matches(glob, name) => 1 << (at + 1),
                Part::Name(_) => 0,
            };
        }
        self.with_no_names(next)
    }

    /// Whether whatever name comes next leads on, or to the end.
    fn takes_any(&self, matched: Matched) -> bool {
        let mut parts = self.0.iter().enumerate().filter(|(at, _)| matched & (1 << at) != 0);
        parts.any(|(_, part)| matches!(part, Part::Names | Part::AnyName))
    }
}

/// Whether a name fits a glob, in which each `*` stands for any characters, or none.
fn matches(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut at, mut place) = (0, 0);
    // Behind the last star, and the place in the name up to which it reaches so far. An earlier star need not be looked
    // at again: what stood behind it has matched as early as it can.
    let mut star = None;
    while place < name.len() {
        match glob.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, place));
            }
            Some(byte) if *byte == name[place] => (at, place) = (at + 1, place + 1),
            _ => match star {
                Some((behind, reach)) => {
                    star = Some((behind, reach + 1));
                    (at, place) = (behind, reach + 1);
                }
                None => return false,
            },
        }
    }
    glob[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(rules: &[(&str, &str)]) -> Selection {
        let mut selection = Selection::default();
        for (kind, value) in rules {
            let effect = match *kind {
                "depth" => {
                    selection.limit_depth(value.parse().unwrap());
                    continue;
                }
                "exclude" => Effect::Exclude,
                "leaf" => Effect::Leaf,
                "include" => Effect::Include,
                other => panic!("{other}"),
            };
            selection.add(effect, value).unwrap();
        }
        selection
    }

    fn kept(selection: &Selection, paths: &[&str]) -> Vec<Kept> {
        paths.iter().map(|path| selection.of(path)).collect()
    }

    use Kept::{Alone, Nothing, Open};

    #[test]
    fn without_rules_everything_is_kept() {
        let all = Selection::default();
        assert_eq!(kept(&all, &["", "a", "a/b"]), [Open, Open, Open]);
        assert!(all.level("a").is_none() && !all.may_leave_out("a"));
    }

    #[test]
    fn a_depth_keeps_the_border_alone() {
        let rules = selection(&[("depth", "2")]);
        assert_eq!(
            kept(&rules, &["", "a", "a/b", "a/b/c", "a/b/c/d"]),
            [Open, Open, Alone, Nothing, Nothing]
        );
        assert!(!rules.may_leave_out("a"));
        assert_eq!(kept(&selection(&[("depth", "0")]), &["", "a"]), [Alone, Nothing]);
    }

    #[test]
    fn what_is_excluded_goes_with_all_below() {
        let rules = selection(&[("exclude", "*/tmp"), ("exclude", "**/.lock")]);
        assert_eq!(
            kept(&rules, &["tmp", "a", "a/tmp", "a/tmp/b", "a/b/tmp"]),
            [Open, Open, Nothing, Nothing, Open]
        );
        assert_eq!(kept(&rules, &[".lock", "a/.lock", "a/b/.lock/c"]), [Nothing, Nothing, Nothing]);
        assert!(rules.may_leave_out("") && rules.may_leave_out("a/b"));
        let rules = selection(&[("exclude", "*/tmp")]);
        assert!(!rules.may_leave_out("") && rules.may_leave_out("a"));
        assert!(!rules.may_leave_out("a/b") && rules.level("a/b").is_none());
    }

    #[test]
    fn below_a_node_is_not_the_node_itself() {
        let rules = selection(&[("exclude", "a/**")]);
        assert_eq!(kept(&rules, &["a", "a/b", "a/b/c", "b"]), [Alone, Nothing, Nothing, Open]);
        assert_eq!(kept(&selection(&[("exclude", "**")]), &["", "a"]), [Alone, Nothing]);
    }

    #[test]
    fn what_is_above_an_include_is_kept_too_whether_it_matches_or_not() {
        let rules = selection(&[("include", "services/*/instances")]);
        assert_eq!(
            kept(&rules, &["", "services", "services/a", "services/a/instances"]),
            [Open, Open, Open, Alone]
        );
        assert_eq!(
            kept(&rules, &["other", "services/a/b", "services/a/instances/b"]),
            [Nothing, Nothing, Nothing]
        );
        assert!(rules.may_leave_out("") && !rules.may_leave_out("services"));
        let rules = selection(&[("include", "services/**"), ("include", "config")]);
        assert_eq!(
            kept(&rules, &["services/a/b/c", "config", "config/a", "x"]),
            [Open, Alone, Nothing, Nothing]
        );
        assert!(!rules.may_leave_out("services/a"));
    }

    #[test]
    fn the_rules_hold_together() {
        let rules = selection(&[("include", "**/x*"), ("leaf", "a/*"), ("exclude", "a/xb"), ("depth", "3")]);
        assert_eq!(
            kept(&rules, &["b", "b/c/x", "b/c/y", "a/xa", "a/xa/x", "a/xb", "b/c/d/x"]),
            [Open, Alone, Alone, Alone, Nothing, Nothing, Nothing],
            "b and b/c/y are above what could match"
        );
    }

    #[test]
    fn a_child_of_the_root_may_be_hidden_besides() {
        for rules in [Selection::default(), selection(&[("exclude", "a/b")])] {
            let hides = rules.without_child("z");
            assert_eq!(kept(&hides, &["", "z", "z/a", "a/z", "zz"]), [Open, Nothing, Nothing, Open, Open]);
            assert!(hides.may_leave_out("") && !hides.may_leave_out("zz"));
            let level = hides.level("").expect("one is hidden");
            assert_eq!(["z", "a"].map(|name| level.child(name)), [Nothing, Open]);
        }
    }

    #[test]
    fn a_star_is_any_characters_of_one_name() {
        for (glob, name, fits) in [
            ("*", "", true),
            ("a*", "a", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("*a*b*", "xaxbx", true),
            ("*a*b*", "xbxax", false),
            ("*.lock", ".lock", true),
            ("*.lock", "a.lock.lock", true),
            ("ab", "abc", false),
            ("", "a", false),
            ("*ab", "aab", true),
            ("é*", "été", true),
        ] {
            assert_eq!(matches(glob, name), fits, "{glob} {name}");
        }
    }

    #[test]
    fn a_level_says_what_its_paths_say() {
        let rules = selection(&[("exclude", "**/b"), ("leaf", "*/c"), ("include", "a/**"), ("depth", "4")]);
        for parent in ["", "a", "a/a", "a/c", "a/a/a"] {
            for name in ["a", "b", "c", "d"] {
                let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
                if rules.of(parent) == Open {
                    let level = rules.level(parent).expect("there are rules");
                    assert_eq!(level.child(name), rules.of(&path), "{path}");
                }
            }
        }
    }

    #[test]
    fn a_bad_pattern_is_named_with_its_reason() {
        for (pattern, reason) in [
            ("", "it is empty"),
            ("/a", "it is relative to the root, and must not start with '/'"),
            ("a//b", "it has an empty name"),
            ("a/", "it has an empty name"),
            ("a/../b", "no node can have one of its names"),
            ("a**", "'**' stands for whole names, between slashes"),
        ] {
            let error = Selection::default().add(Effect::Exclude, pattern).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid pattern {pattern:?}: {reason}"));
        }
        let longest = vec!["a"; 60].join("/");
        assert!(Selection::default().add(Effect::Leaf, &longest).is_ok());
        assert!(Selection::default().add(Effect::Leaf, &format!("{longest}/b")).is_err());
    }
}
