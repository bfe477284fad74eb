//! What the place that is written to can show: characters and colours.

use std::io::{self, IsTerminal};

use ratatui::style::{Color, Modifier, Style};

/// How much can be shown by looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// Nothing: no terminal, or a very simple one.
    None,
    /// Bold, underlined and reversed text.
    Plain,
    /// The sixteen colours that its user has chosen.
    Few,
    /// 256 colours.
    Many,
}

#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub palette: Palette,
    /// Whether it shows other characters than those of ASCII.
    pub is_utf8: bool,
}

/// What a part of the screen is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Plain,
    Label,
    Titles,
    Good,
    Busy,
    Bad,
    Spark,
    Data,
    Locked,
    /// A node that was added: now, lately, or before.
    Added(Freshness),
    Updated(Freshness),
    Gone,
    /// What is told of a node that is gone.
    Struck,
}

/// A change is bright at first, then fades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    Now,
    Lately,
    Before,
}

/// What is drawn with.
pub struct Signs {
    pub ellipsis: &'static str,
    pub dot: &'static str,
    pub unfolded: &'static str,
    pub folded: &'static str,
    pub separator: &'static str,
    pub enter: &'static str,
    pub moves: &'static str,
    /// Of sparklines and heat.
    pub levels: [&'static str; 8],
}

const UTF8: Signs = Signs {
    ellipsis: "…",
    dot: "●",
    unfolded: "▾ ",
    folded: "▸ ",
    separator: " · ",
    enter: "⏎",
    moves: "↑↓",
    levels: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
};

const ASCII: Signs = Signs {
    ellipsis: "~",
    dot: "*",
    unfolded: "- ",
    folded: "+ ",
    separator: " | ",
    enter: "Enter",
    moves: "j/k",
    levels: ["_", ".", ":", "-", "=", "+", "*", "#"],
};

impl Look {
    /// What stdout can show, as its environment says.
    pub fn of_stdout() -> Look {
        let said = |name| std::env::var(name).unwrap_or_default();
        let term = said("TERM");
        let palette = if !io::stdout().is_terminal() || matches!(&*term, "" | "dumb") {
            Palette::None
        } else if !said("NO_COLOR").is_empty() || term.starts_with("vt") {
            Palette::Plain
        } else if term.contains("256color") || !said("COLORTERM").is_empty() {
            Palette::Many
        } else {
            Palette::Few
        };
        // The first of them that is set has the word.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(said).into_iter().find(|locale| !locale.is_empty());
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        Look { palette, is_utf8: locale.contains("utf-8") || locale.contains("utf8") }
    }

    pub fn signs(self) -> &'static Signs {
        if self.is_utf8 { &UTF8 } else { &ASCII }
    }

    pub fn style(self, part: Part) -> Style {
        let style = Style::new();
        let (bold, reversed) = (style.add_modifier(Modifier::BOLD), Modifier::REVERSED);
        match self.palette {
            Palette::None => style,
            Palette::Plain => match part {
                Part::Titles => bold.add_modifier(Modifier::UNDERLINED),
                Part::Bad => bold.add_modifier(reversed),
                Part::Locked => style.add_modifier(Modifier::ITALIC),
                Part::Struck => style.add_modifier(Modifier::CROSSED_OUT),
                Part::Good | Part::Busy => bold,
                Part::Added(Freshness::Before) | Part::Updated(Freshness::Before) => style,
                Part::Added(_) | Part::Updated(_) => bold,
                Part::Plain | Part::Label | Part::Spark | Part::Data | Part::Gone => style,
            },
            Palette::Few => match part {
                Part::Plain | Part::Label | Part::Data => style,
                Part::Titles => bold.add_modifier(Modifier::UNDERLINED),
                Part::Good => bold.fg(Color::Green),
                Part::Busy => bold.fg(Color::Yellow),
                Part::Bad => bold.fg(Color::Gray).bg(Color::Red),
                Part::Spark => style.fg(Color::Cyan),
                Part::Locked => style.fg(Color::Magenta),
                Part::Added(Freshness::Now) => style.fg(Color::Black).bg(Color::Green),
                Part::Added(_) => style.fg(Color::Green),
                Part::Updated(Freshness::Now) => style.fg(Color::Black).bg(Color::Yellow),
                Part::Updated(_) => style.fg(Color::Yellow),
                Part::Gone => style.fg(Color::Red),
                Part::Struck => style.fg(Color::Red).add_modifier(Modifier::CROSSED_OUT),
            },
            Palette::Many => {
                let coloured = |style: Style, colour| style.fg(Color::Indexed(colour));
                let on = |text, ground| style.fg(Color::Indexed(text)).bg(Color::Indexed(ground));
                match part {
                    Part::Plain => style,
                    Part::Label => coloured(style, 245),
                    Part::Titles => coloured(bold.add_modifier(Modifier::UNDERLINED), 250),
                    Part::Good => coloured(bold, 77),
                    Part::Busy => coloured(bold, 214),
                    Part::Bad => on(231, 160).add_modifier(Modifier::BOLD),
                    Part::Spark => coloured(style, 74),
                    Part::Data => coloured(style, 248),
                    Part::Locked => coloured(style, 176),
                    Part::Added(Freshness::Now) => on(16, 78),
                    Part::Added(Freshness::Lately) => coloured(style, 78),
                    Part::Added(Freshness::Before) => coloured(style, 71),
                    Part::Updated(Freshness::Now) => on(16, 214),
                    Part::Updated(Freshness::Lately) => coloured(style, 214),
                    Part::Updated(Freshness::Before) => coloured(style, 179),
                    Part::Gone => coloured(style, 167),
                    Part::Struck => coloured(style.add_modifier(Modifier::CROSSED_OUT), 167),
                }
            }
        }
    }
}
