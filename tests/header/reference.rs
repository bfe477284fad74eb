//! `docs/reference.md`: the header for people who read it, with links.

use std::collections::BTreeMap;

use crate::items::{Item, Kind, is_in_name, words};
use crate::nouns::{Noun, by_noun};

/// A code that more functions answer with says little about any of them.
const MANY: usize = 12;

/// The reference of a header. Panics when a comment speaks of what is not there.
pub fn reference(opening: &str, items: Vec<Item>) -> String {
    let sections = by_noun(items);
    let page = Page::new(opening, &sections);
    let mut lines = page.contents();
    lines.extend(page.rules(opening));
    for (noun, section) in page.sections {
        lines.extend(page.section(noun, section));
    }
    lines.join("\n").trim_end().to_owned() + "\n"
}

struct Page<'a> {
    sections: &'a [(&'static Noun, Vec<Item>)],
    /// Each item, and the title of its section.
    items: BTreeMap<&'a str, (&'a Item, &'static str)>,
    /// The codes that the comments of functions do not repeat.
    everywhere: Vec<&'a str>,
}

impl<'a> Page<'a> {
    fn new(opening: &'a str, sections: &'a [(&'static Noun, Vec<Item>)]) -> Page<'a> {
        let mut items = BTreeMap::new();
        for (noun, section) in sections {
            for item in section {
                let twice = items.insert(item.name.as_str(), (item, noun.title));
                assert!(twice.is_none(), "{} is declared twice", item.name);
            }
        }
        let everywhere = words(opening).filter(|word| word.starts_with("TC_ERR_")).collect();
        Page { sections, items, everywhere }
    }

    /// Every item, in the order of the page.
    fn all(&self) -> impl Iterator<Item = &'a Item> + use<'a> {
        self.sections.iter().flat_map(|(_, section)| section)
    }

    fn contents(&self) -> Vec<String> {
        let version =
            ["MAJOR", "MINOR", "PATCH"].map(|part| self.items[&*format!("TC_VERSION_{part}")].0.value());
        let mut lines = vec![
            "# Reference".to_owned(),
            String::new(),
            format!(
                "Every function, type and constant of [`treecache.h`](../include/treecache.h), version {}. How they",
                version.join(".")
            ),
            "are used together is in [guide.md](guide.md), what can be relied on in [semantics.md](semantics.md).".to_owned(),
            String::new(),
            "Generated with the header, by `tests/header`.".to_owned(),
            String::new(),
            "- [What holds everywhere](#what-holds-everywhere)".to_owned(),
        ];
        for (noun, section) in self.sections {
            let names =
                section.iter().filter(|item| item.kind != Kind::Constant).map(|item| item.name.as_str());
            lines.push(format!("- [{}](#{}): {}", noun.title, anchor(noun.title), self.links(names)));
        }
        lines
    }

    /// What opens the header. Its first two paragraphs say what the file is.
    fn rules(&self, opening: &str) -> Vec<String> {
        let text: Vec<_> = opening
            .lines()
            .skip_while(|line| *line != "/*")
            .skip(1)
            .take_while(|line| *line != " */")
            .map(|line| line.trim_start_matches(" *").trim_start())
            .collect();
        let mut lines = vec![String::new(), "## What holds everywhere".to_owned(), String::new()];
        for paragraph in text.join("\n").split("\n\n").skip(2) {
            let (title, rest) = paragraph.split_once('.').expect("a paragraph begins with its title");
            lines.extend([self.linked(&format!("**{title}.**{rest}"), ""), String::new()]);
        }
        lines
    }

    fn section(&self, noun: &Noun, section: &[Item]) -> Vec<String> {
        let mut lines =
            vec![format!("## {}", noun.title), String::new(), noun.about.to_owned(), String::new()];
        let (constants, others) =
            section.split_at(section.partition_point(|item| item.kind == Kind::Constant));
        if !constants.is_empty() {
            lines.extend(self.constants(constants));
        }
        lines.extend(others.iter().flat_map(|item| self.declaration(item)));
        lines
    }

    fn constants(&self, constants: &[Item]) -> Vec<String> {
        let mut rows = vec!["| constant | value | meaning |".to_owned(), "|---|---|---|".to_owned()];
        for item in constants {
            let who: Vec<_> = self
                .all()
                .filter(|other| self.errors(other).contains(&item.name))
                .map(|other| other.name.as_str())
                .collect();
            let mut whence = Vec::new();
            match who.len() {
                0 => {}
                1..=MANY => whence.push(self.links(who)),
                _ => whence.push("most functions".to_owned()),
            }
            if self.everywhere.contains(&item.name.as_str()) && whence != ["most functions"] {
                whence.push(
                    "most functions, as [what holds everywhere](#what-holds-everywhere) says".to_owned(),
                );
            }
            let by = match whence.is_empty() {
                true => String::new(),
                false => format!(" From {}.", whence.join(", and from ")),
            };
            let (anchor, name) = (item.name.to_lowercase(), &item.name);
            let text = self.linked(&item.comment.join(" "), name);
            rows.push(format!("| <a id=\"{anchor}\"></a>`{name}` | {} | {text}{by} |", item.value()));
        }
        rows.push(String::new());
        rows
    }

    /// The codes that the comment of a function lists.
    fn errors(&self, item: &Item) -> Vec<String> {
        let mut codes = Vec::new();
        if item.kind != Kind::Function {
            return codes;
        }
        let paragraphs = item.comment.split(|line| line.is_empty());
        for paragraph in
            paragraphs.filter(|lines| lines.first().is_some_and(|line| line.starts_with("Errors")))
        {
            let text = without_brackets(&paragraph.join(" "));
            let named: Vec<_> = words(&text).collect();
            let listed = named.iter().filter(|word| word.starts_with("TC_ERR_"));
            codes.extend(listed.map(|word| (*word).to_owned()));
            if let ["Errors", "as", other, ..] = named[..] {
                codes.extend(self.errors(self.items[other].0));
            }
        }
        codes
    }

    fn declaration(&self, item: &Item) -> Vec<String> {
        let mut lines = vec![format!("### `{}`", item.name), String::new()];
        if item.kind != Kind::Struct {
            lines.extend(["```c", &item.code, "```", ""].map(str::to_owned));
        }
        lines.extend([self.prose(item), String::new()]);
        if item.kind == Kind::Struct {
            lines.extend(self.fields(item));
        }
        let types = self.types(item.mentions());
        let users = self.all().filter(|other| other.mentions().contains(&item.name.as_str()));
        let users: Vec<_> = users.map(|other| other.name.as_str()).collect();
        if item.kind == Kind::Function {
            if !types.is_empty() {
                lines.extend([format!("Types: {}.", self.links(types)), String::new()]);
            }
        } else if !users.is_empty() {
            lines.extend([format!("Used by {}.", self.links(users)), String::new()]);
        }
        lines
    }

    /// The comment of an item: its paragraphs, with its errors and its version where the eye finds them.
    fn prose(&self, item: &Item) -> String {
        let mut text = item.comment.join("\n");
        if let Some(at) = text.rfind("Since ")
            && text[at..].lines().count() == 1
        {
            text = format!("{}\n\n{}", text[..at].trim_end(), &text[at..]);
        }
        let paragraphs = text.split("\n\n").map(|paragraph| match paragraph.split_once(':') {
            Some((title, rest)) if title.starts_with("Errors") => {
                format!("**Errors**{}:{rest}", &title["Errors".len()..])
            }
            _ => paragraph.to_owned(),
        });
        self.linked(&paragraphs.collect::<Vec<_>>().join("\n\n"), &item.name)
    }

    fn fields(&self, item: &Item) -> Vec<String> {
        let mut rows = vec!["| field | type | meaning |".to_owned(), "|---|---|---|".to_owned()];
        for field in &item.fields {
            let types = self.types(words(&field.kind).collect());
            let links = if types.is_empty() { String::new() } else { format!(" ({})", self.links(types)) };
            let text = self.linked(&field.comment.join(" "), "");
            rows.push(format!("| `{}` | `{}`{links} | {text} |", field.name, field.kind));
        }
        rows.push(String::new());
        rows
    }

    fn types<'n>(&self, names: Vec<&'n str>) -> Vec<&'n str> {
        names.into_iter().filter(|name| self.items.contains_key(name)).collect()
    }

    fn links<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> String {
        names.into_iter().map(|name| self.link(name)).collect::<Vec<_>>().join(", ")
    }

    fn link(&self, name: &str) -> String {
        if self.items.contains_key(name) {
            return format!("[`{name}`](#{})", name.to_lowercase());
        }
        // "A TC_ERR_ code" means any of them.
        let any = self.items.iter().find(|(one, _)| name.ends_with('_') && one.starts_with(name));
        let (_, (_, title)) = any.unwrap_or_else(|| panic!("a comment speaks of {name}, which is not there"));
        format!("[`{name}`](#{})", anchor(title))
    }

    /// A text with links from every name of this library, but to `own`. What is in quotes is a string, and no name.
    fn linked(&self, text: &str, own: &str) -> String {
        assert!(text.split('"').count() % 2 == 1, "a quote is not closed: {text}");
        let mut linked = String::new();
        for (part, quoted) in text.split('"').zip([false, true].into_iter().cycle()) {
            if quoted {
                linked += &format!("\"{part}\"");
            } else {
                self.link_names(part, own, &mut linked);
            }
        }
        linked.replace("docs/configuration.md", "[configuration.md](configuration.md)")
    }

    fn link_names(&self, text: &str, own: &str, linked: &mut String) {
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c| !is_in_name(c)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            if word.starts_with("tc_") || word.starts_with("TC_") {
                // A link has quotes of its own.
                let is_code = linked.ends_with('`') && linked.pop().is_some();
                rest = if is_code { behind.strip_prefix('`').unwrap_or(behind) } else { behind };
                let own = word == own || word == "tc_";
                linked.push_str(&if own { format!("`{word}`") } else { self.link(word) });
            } else {
                let next = behind.chars().next();
                linked.push_str(word);
                linked.extend(next);
                rest = &behind[next.map_or(0, char::len_utf8)..];
            }
        }
    }
}

/// What is in brackets in a list of codes speaks of some, and lists none.
fn without_brackets(text: &str) -> String {
    let (mut kept, mut depth) = (String::new(), 0);
    for c in text.chars() {
        depth += i32::from(c == '(');
        if depth == 0 {
            kept.push(c);
        }
        depth -= i32::from(c == ')' && depth > 0);
    }
    kept
}

fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}
