//! Pictures: panels that share their horizontal axis, one below the other. Legible on light and on dark pages, as the
//! picture brings its own background and follows the reader's preference with it.

use std::fmt::Write;

const WIDTH: f64 = 860.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 30.0;
/// Above a panel, for its title.
const HEAD: f64 = 46.0;
const COLOURS: usize = 4;

pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// Its points, and where the line crosses `end`.
    fn until(&self, end: f64) -> Vec<(f64, f64)> {
        let inside = self.points.partition_point(|point| point.0 <= end);
        let mut points = self.points[..inside].to_vec();
        if let (Some((x, value)), Some((next_x, next))) = (points.last().copied(), self.points.get(inside)) {
            points.push((end, value + (next - value) * (end - x) / (next_x - x)));
        }
        points
    }
}

pub struct Panel {
    /// What is drawn, with its unit.
    pub title: String,
    pub series: Vec<Series>,
    /// What can be had, and its name.
    pub limit: Option<(f64, String)>,
}

pub struct Figure {
    pub title: String,
    pub note: String,
    /// What is along the horizontal axis, with its unit.
    pub along: String,
    pub until: f64,
    pub panels: Vec<Panel>,
}

/// About five round numbers from 0 to `most`, which is included where it is round.
fn ticks(most: f64) -> Vec<f64> {
    let rough = (most / 5.0).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    (0..).map(|count| f64::from(count) * step).take_while(|at| *at <= most * 1.0001).collect()
}

/// A number as it is read: 1,500 or 2.5 M.
pub fn number(value: f64) -> String {
    let shorten = |value: f64| {
        let text = if value >= 99.95 { format!("{value:.0}") } else { format!("{value:.1}") };
        text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
    };
    match value.abs() {
        value if value >= 9.995e8 => format!("{} G", shorten(value / 1e9)),
        value if value >= 9.995e5 => format!("{} M", shorten(value / 1e6)),
        value if value >= 999.5 => {
            let digits = format!("{value:.0}");
            let (thousands, rest) = digits.split_at(digits.len() - 3);
            format!("{thousands},{rest}")
        }
        0.0 => "0".to_owned(),
        value if value < 0.095 => format!("{value:.3}"),
        value if value < 0.995 => format!("{value:.2}"),
        value => shorten(value),
    }
}

impl Figure {
    pub fn draw(&self) -> String {
        let mut picture = Picture { body: String::new() };
        picture.text(20.0, 32.0, "title", "start", &self.title);
        picture.text(20.0, 52.0, "note", "start", &self.note);
        let mut x = 20.0;
        let names = self.panels.first().map_or(&[][..], |panel| &panel.series[..]);
        // One needs no name.
        let names = if names.len() > 1 { names } else { &[] };
        for (at, series) in names.iter().enumerate() {
            picture.add(&format!("<path d='M{x} 72h22' class='line c{}'/>", at % COLOURS));
            picture.text(x + 28.0, 76.0, "label", "start", &series.name);
            x += 28.0 + 6.6 * series.name.chars().count() as f64 + 26.0;
        }
        let mut top = 72.0;
        for panel in &self.panels {
            top += HEAD;
            self.draw_panel(&mut picture, panel, top);
            top += PANEL;
        }
        for tick in ticks(self.until) {
            picture.text(self.x(tick), top + 18.0, "note", "middle", &number(tick));
        }
        picture.text(WIDTH - RIGHT, top + 36.0, "note", "end", &self.along);
        picture.finish(top + 50.0)
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + value / self.until * (WIDTH - LEFT - RIGHT)
    }

    fn draw_panel(&self, picture: &mut Picture, panel: &Panel, top: f64) {
        let values = panel.series.iter().flat_map(|series| &series.points).map(|point| point.1);
        let limit = panel.limit.as_ref().map(|limit| limit.0);
        let most = values.chain(limit).fold(f64::MIN_POSITIVE, f64::max) * 1.06;
        let bottom = top + PANEL;
        let y = |value: f64| bottom - value / most * PANEL;
        picture.text(20.0, top - 10.0, "panel", "start", &panel.title);
        for tick in ticks(most) {
            let y = y(tick);
            picture.add(&format!("<path d='M{LEFT} {y:.1}H{}' class='grid'/>", WIDTH - RIGHT));
            picture.text(LEFT - 8.0, y + 4.0, "note", "end", &number(tick));
        }
        if let Some((at, name)) = &panel.limit {
            let y = y(*at);
            picture.add(&format!("<path d='M{LEFT} {y:.1}H{}' class='limit'/>", WIDTH - RIGHT));
            picture.text(WIDTH - RIGHT, y - 5.0, "limit-name", "end", name);
        }
        for (at, series) in panel.series.iter().enumerate() {
            let mut path = String::new();
            for (x, value) in series.until(self.until) {
                let command = if path.is_empty() { 'M' } else { 'L' };
                write!(path, "{command}{:.1} {:.1}", self.x(x), y(value)).expect("a string takes it all");
            }
            picture.add(&format!("<path d='{path}' class='line c{}'/>", at % COLOURS));
        }
    }
}

struct Picture {
    body: String,
}

impl Picture {
    fn add(&mut self, element: &str) {
        writeln!(self.body, "  {element}").expect("a string takes it all");
    }

    fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.add(&format!(
            "<text x='{x:.1}' y='{y:.1}' class='{class}' text-anchor='{anchor}'>{text}</text>"
        ));
    }

    fn finish(self, height: f64) -> String {
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' \
             height='{height}'>\n  <style>{STYLE}</style>\n  \
             <rect width='100%' height='100%' rx='8' class='page'/>\n{}</svg>\n",
            self.body
        )
    }
}

const STYLE: &str = "
    text { font-family: sans-serif; font-size: 12px; fill: #1f2933 }
    .title { font-size: 17px; font-weight: bold }
    .panel { font-size: 12.5px; font-weight: bold }
    .note { font-size: 11px; fill: #5b6875 }
    .page { fill: #ffffff }
    .grid { stroke: #e3e7eb; fill: none }
    .line { fill: none; stroke-width: 2; stroke-linejoin: round }
    .c0 { stroke: #2f7fb5 } .c1 { stroke: #d9701e } .c2 { stroke: #2e9163 } .c3 { stroke: #8a5bb5 }
    .limit { stroke: #c0392b; stroke-dasharray: 5 4; fill: none }
    .limit-name { font-size: 11px; fill: #c0392b }
    @media (prefers-color-scheme: dark) {
      text { fill: #e2e8ee } .note { fill: #9aa7b4 } .page { fill: #161b22 } .grid { stroke: #2b333c }
      .c0 { stroke: #5eaee6 } .c1 { stroke: #f2954a } .c2 { stroke: #53c08b } .c3 { stroke: #b58be0 }
      .limit { stroke: #f0786a } .limit-name { fill: #f0786a }
    }
  ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_round() {
        assert_eq!(ticks(100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(7.0), [0.0, 2.0, 4.0, 6.0]);
        for most in [0.013, 1.0, 33.3, 1e9] {
            assert!((3..=8).contains(&ticks(most).len()), "{most}: {:?}", ticks(most));
        }
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.0123, 0.5, 2.0, 2.54, 100.4, 1500.0, 12_000.0, 999_999.0, 2.5e6, 1e9];
        let texts = ["0", "0.012", "0.50", "2", "2.5", "100", "1,500", "12,000", "1 M", "2.5 M", "1 G"];
        assert_eq!(numbers.map(number), texts);
    }

    #[test]
    fn a_figure_draws_each_series_in_each_panel() {
        let series = |name: &str| Series { name: name.to_owned(), points: vec![(0.0, 0.0), (1.0, 2.0)] };
        let panel =
            || Panel { title: "a < b".to_owned(), series: vec![series("x"), series("y")], limit: None };
        let figure = Figure {
            title: String::new(),
            note: String::new(),
            along: "s".to_owned(),
            until: 1.0,
            panels: vec![panel(), panel()],
        };
        let svg = figure.draw();
        assert_eq!(svg.matches("class='line c1'").count(), 3, "the legend, and each panel");
        assert!(svg.contains("a &lt; b") && svg.contains("L830.0 "));
        let longer = Series { name: String::new(), points: vec![(0.0, 0.0), (1.0, 1.0), (3.0, 5.0)] };
        assert_eq!(longer.until(2.0), [(0.0, 0.0), (1.0, 1.0), (2.0, 3.0)]);
        assert_eq!(longer.until(3.0), longer.points);
    }
}
