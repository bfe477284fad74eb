//! Plots as SVG, for a light and a dark background, with logarithmic scales: what is compared differs by orders of
//! magnitude.

use std::fmt::Write;

use crate::contender::Contender;
use crate::numbers::{grouped, quantity};

const WIDTH: f64 = 860.0;
const ROW: f64 = 21.0;
/// Where the scale of dots and bars begins and ends; labels are left of it, values right of what they belong to.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 720.0;

/// A line for each contender over a range of sizes.
pub struct Lines<'a> {
    pub title: &'a str,
    pub note: &'a str,
    pub x_label: &'a str,
    pub unit: &'a str,
    pub lines: Vec<(Contender, Vec<(f64, f64)>)>,
}

/// A dot for each contender in each group, with its spread.
pub struct Dots<'a> {
    pub title: &'a str,
    pub note: &'a str,
    pub unit: &'a str,
    pub groups: Vec<(String, Vec<Dot>)>,
}

pub struct Dot {
    pub who: Contender,
    pub low: f64,
    pub middle: f64,
    pub high: f64,
}

/// A bar for each figure: how much of its budget is used.
pub struct Bars<'a> {
    pub title: &'a str,
    pub note: &'a str,
    /// What, how much of the budget, and what is written beside it.
    pub bars: Vec<(String, f64, String)>,
}

impl Lines<'_> {
    pub fn draw(&self) -> String {
        let (top, bottom, left, right) = (84.0, 420.0, 84.0, 640.0);
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let xs = Scale::over(points().map(|point| point.0), left, right);
        let ys = Scale::over(points().map(|point| point.1), bottom, top);
        let mut picture = Picture::new(self.title, self.note);
        for (value, major) in ys.ticks() {
            let y = ys.place(value);
            picture.line((left, y), (right, y), if major { "grid" } else { "fine" });
            if major {
                picture.text(left - 8.0, y + 4.0, "note", "end", &quantity(value, self.unit));
            }
        }
        for (value, _) in xs.ticks().into_iter().filter(|(_, major)| *major) {
            let x = xs.place(value);
            picture.line((x, top), (x, bottom), "grid");
            picture.text(x, bottom + 18.0, "note", "middle", &grouped(value.round() as usize));
        }
        picture.text((left + right) / 2.0, bottom + 38.0, "note", "middle", self.x_label);
        // Names beside the ends of the lines, pushed apart.
        let mut ends: Vec<(f64, f64, Contender)> = Vec::new();
        for (who, line) in &self.lines {
            let places: Vec<_> = line.iter().map(|(x, y)| (xs.place(*x), ys.place(*y))).collect();
            let Some(&(x, y)) = places.last() else { continue };
            let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            picture.add(&format!("<polyline points='{}' class='line l-{}'/>", path.join(" "), who.id()));
            for (x, y) in places {
                picture.dot(x, y, *who);
            }
            ends.push((y, x, *who));
        }
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut lowest = f64::MIN;
        for (y, x, who) in ends {
            let at = (y + 4.0).max(lowest + 16.0);
            lowest = at;
            let from = right + 26.0;
            picture.line((x + 7.0, y), (from - 4.0, at - 4.0), &format!("lead l-{}", who.id()));
            picture.text(from, at, &format!("name f-{}", who.id()), "start", who.name());
        }
        picture.finish(bottom + 54.0)
    }
}

impl Dots<'_> {
    pub fn draw(&self) -> String {
        let dots = || self.groups.iter().flat_map(|(_, dots)| dots);
        let xs = Scale::over(dots().flat_map(|dot| [dot.low, dot.middle, dot.high]), LEFT, RIGHT);
        let rows = dots().count() as f64 * ROW + self.groups.len() as f64 * 30.0;
        let (top, bottom) = (78.0, 78.0 + rows);
        let mut picture = Picture::new(self.title, self.note);
        for (value, major) in xs.ticks() {
            let x = xs.place(value);
            picture.line((x, top), (x, bottom), if major { "grid" } else { "fine" });
            if major {
                picture.text(x, bottom + 18.0, "note", "middle", &quantity(value, self.unit));
            }
        }
        let mut y = top;
        for (group, dots) in &self.groups {
            y += 24.0;
            picture.text(20.0, y, "group", "start", group);
            y += 6.0;
            for dot in dots {
                y += ROW;
                let (middle, class) = (y - 5.0, dot.who.id());
                picture.text(LEFT - 12.0, y - 1.0, &format!("name f-{class}"), "end", dot.who.name());
                let (low, high) = (xs.place(dot.low), xs.place(dot.high));
                picture.line((low, middle), (high, middle), &format!("spread l-{class}"));
                picture.dot(xs.place(dot.middle), middle, dot.who);
                let text = quantity(dot.middle, self.unit);
                picture.text(high.max(xs.place(dot.middle)) + 11.0, y - 1.0, "value", "start", &text);
            }
        }
        picture.finish(bottom + 34.0)
    }
}

impl Bars<'_> {
    /// What is longer is cut off; its text says the rest.
    const LONGEST: f64 = 1.3;

    pub fn draw(&self) -> String {
        let (left, whole, top) = (350.0, 230.0, 92.0);
        let bottom = top + self.bars.len() as f64 * ROW + 6.0;
        let mut picture = Picture::new(self.title, self.note);
        picture.text(left + whole, top - 8.0, "note", "middle", "the whole budget");
        let mut y = top;
        for (what, share, beside) in &self.bars {
            y += ROW;
            let length = share.min(Self::LONGEST) * whole;
            picture.text(left - 12.0, y - 1.0, "value", "end", what);
            let kept = if *share <= 1.0 { "kept" } else { "missed" };
            picture.add(&format!(
                "<rect x='{left}' y='{:.1}' width='{length:.1}' height='13' rx='3' class='{kept}'/>",
                y - 12.0
            ));
            let beside_at = if *share <= 1.0 { left + whole } else { left + length };
            picture.text(beside_at + 10.0, y - 1.0, "value", "start", beside);
        }
        picture.line((left + whole, top), (left + whole, bottom), "budget");
        picture.finish(bottom + 20.0)
    }
}

/// A logarithmic scale from whole decade to whole decade, or to the 2 or 5 in one.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Scale {
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for value in values.filter(|value| *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        let step = |value: f64, up: bool| {
            let decade = 10_f64.powf(value.log10().floor());
            let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
            // What is on a step to within a rounding error is on it.
            match up {
                true => steps.into_iter().find(|step| *step >= value * 0.999),
                false => steps.into_iter().rev().find(|step| *step <= value * 1.001),
            }
            .unwrap_or(value)
        };
        let (low, mut high) = (step(low, false), step(high, true));
        if low >= high {
            high = low * 10.0;
        }
        Scale { low, high, from, to }
    }

    /// What is below the scale is at its beginning.
    fn place(&self, value: f64) -> f64 {
        let share = (value.max(self.low) / self.low).log10() / (self.high / self.low).log10();
        self.from + share * (self.to - self.from)
    }

    /// Decades, and what is between them.
    fn ticks(&self) -> Vec<(f64, bool)> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let narrow = self.high / self.low < 100.0;
        let each = decades.flat_map(|decade| {
            [1.0, 2.0, 5.0].map(|step| (step * 10_f64.powi(decade), step == 1.0 || narrow))
        });
        each.filter(|(value, _)| *value >= self.low * 0.999 && *value <= self.high * 1.001).collect()
    }
}

struct Picture {
    body: String,
}

impl Picture {
    fn new(title: &str, note: &str) -> Picture {
        let mut picture = Picture { body: String::new() };
        picture.text(20.0, 32.0, "title", "start", title);
        picture.text(20.0, 53.0, "note", "start", note);
        picture
    }

    fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.add(&format!(
            "<text x='{x:.1}' y='{y:.1}' class='{class}' text-anchor='{anchor}'>{text}</text>"
        ));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(&format!("<line x1='{x1:.1}' y1='{y1:.1}' x2='{x2:.1}' y2='{y2:.1}' class='{class}'/>"));
    }

    fn dot(&mut self, x: f64, y: f64, who: Contender) {
        let radius = if who == Contender::Treecache { 5.5 } else { 4.5 };
        self.add(&format!("<circle cx='{x:.1}' cy='{y:.1}' r='{radius}' class='dot f-{}'/>", who.id()));
    }

    fn add(&mut self, element: &str) {
        writeln!(self.body, "  {element}").expect("a string takes it all");
    }

    fn finish(self, height: f64) -> String {
        let colours = |dark: bool| -> String {
            let mut rules = String::new();
            for (id, light_colour, dark_colour) in COLOURS {
                let colour = if dark { dark_colour } else { light_colour };
                write!(rules, ".f-{id} {{ fill: {colour} }} .l-{id} {{ stroke: {colour} }} ")
                    .expect("a string takes it all");
            }
            rules
        };
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' \
             height='{height}'>\n  <style>{STYLE} {LIGHT} {} @media (prefers-color-scheme: dark) {{ {DARK} {} }}\
             </style>\n  <rect width='100%' height='100%' rx='6' class='ground'/>\n{}</svg>\n",
            colours(false),
            colours(true),
            self.body
        )
    }
}

const STYLE: &str = "text { font-family: 'DejaVu Sans', 'Helvetica Neue', Arial, sans-serif; font-size: 12px } \
                     .title { font-size: 17px; font-weight: bold } .note { font-size: 11px } \
                     .group { font-weight: bold } .f-treecache { font-weight: bold } \
                     .line { fill: none; stroke-width: 2; stroke-linejoin: round } \
                     .l-treecache { stroke-width: 3 } .lead { stroke-width: 1; opacity: 0.45 } \
                     .spread { stroke-width: 4; stroke-linecap: round; opacity: 0.4 } \
                     .dot { stroke-width: 1.5 } .budget { stroke-width: 1.5; stroke-dasharray: 4 3 }";

const LIGHT: &str = ".ground { fill: #ffffff } .dot { stroke: #ffffff } .title, .group, .value { fill: #1f2933 } \
                     .note { fill: #5d6b7a } .grid { stroke: #d5dbe2 } .fine { stroke: #eef1f4 } \
                     .kept { fill: #2f7fb5 } .missed { fill: #d9731a } .budget { stroke: #c0392b }";

const DARK: &str = ".ground { fill: #0d1117 } .dot { stroke: #0d1117 } .title, .group, .value { fill: #e6edf3 } \
                    .note { fill: #9aa7b4 } .grid { stroke: #30363d } .fine { stroke: #1c2128 } \
                    .kept { fill: #4aa3df } .missed { fill: #f0883e } .budget { stroke: #ff7b72 }";

/// On a light and on a dark background.
const COLOURS: [(&str, &str, &str); 9] = [
    ("treecache", "#0969c8", "#58a6ff"),
    ("bare", "#6b7785", "#a3afbb"),
    ("bare-proven", "#3d4752", "#d0d7de"),
    ("curator-tree", "#c2550a", "#f0883e"),
    ("curator-cache", "#9a7400", "#e3b341"),
    ("zookeeper-crate", "#7447c4", "#bc8cff"),
    ("kazoo", "#1f8246", "#56d364"),
    ("map", "#b5307a", "#f778ba"),
    ("map-mutex", "#7d1f54", "#ffadd2"),
];
