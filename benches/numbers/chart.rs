//! The report as a picture: a bar for each figure, how much of its budget is used, and below those the figures that
//! have none.

use std::fmt::Write;

use crate::report::{Figure, Report};

const WIDTH: f64 = 960.0;
const ROW: f64 = 24.0;
const BAR: f64 = 14.0;
/// Where the bars begin, and how long a bar of 100 % is.
const LEFT: f64 = 370.0;
const WHOLE: f64 = 260.0;
/// What is longer is cut off; its number says the rest.
const LONGEST: f64 = 1.3;

pub fn draw(report: &Report) -> String {
    let (with_budget, without): (Vec<&Figure>, Vec<&Figure>) =
        report.figures.iter().partition(|figure| figure.share().is_some());
    let mut chart = Chart { body: String::new(), y: 34.0 };
    chart.text(20.0, "title", "start", "libtreecache: what was measured, as a share of its budget");
    chart.y += 20.0;
    chart.text(20.0, "note", "start", &report.circumstances);
    chart.y += 34.0;

    chart.text(LEFT + WHOLE, "note", "middle", "the whole budget");
    let top = chart.y + 6.0;
    for figure in with_budget {
        let beside = format!("{}  (budget {})", figure.measured_text(), figure.budget_text());
        chart.bar(&figure.what, figure.share().unwrap_or_default(), "share", &beside);
    }
    chart.line(LEFT + WHOLE, top, chart.y + 8.0);

    if !without.is_empty() {
        chart.y += 40.0;
        chart.text(20.0, "note", "start", "Without a budget; the longest bar is the largest figure:");
        let largest = without.iter().map(|figure| figure.measured).fold(f64::MIN_POSITIVE, f64::max);
        for figure in without {
            let beside = format!("{}  ({})", figure.measured_text(), figure.note);
            chart.bar(&figure.what, figure.measured / largest, "plain", &beside);
        }
    }
    chart.finish()
}

struct Chart {
    body: String,
    /// The baseline of what was drawn last.
    y: f64,
}

impl Chart {
    fn text(&mut self, x: f64, class: &str, anchor: &str, text: &str) {
        let (y, text) = (self.y, escape(text));
        self.add(&format!("<text x='{x}' y='{y}' class='{class}' text-anchor='{anchor}'>{text}</text>"));
    }

    fn bar(&mut self, label: &str, share: f64, class: &str, beside: &str) {
        self.y += ROW;
        let (length, y) = (share.min(LONGEST) * WHOLE, self.y - BAR + 3.0);
        self.text(LEFT - 10.0, "label", "end", label);
        self.add(&format!(
            "<rect x='{LEFT}' y='{y}' width='{length:.1}' height='{BAR}' rx='2' class='{class}'/>"
        ));
        if share > LONGEST {
            let x = LEFT + length - 16.0;
            self.add(&format!("<path d='M{x} {:.1} l4 -18 h5 l-4 18 z' class='gap'/>", y + BAR + 2.0));
        }
        // Clear of the line that marks the budget.
        let mut x = LEFT + length + 8.0;
        if class == "share" && share <= 1.0 {
            x = x.max(LEFT + WHOLE + 8.0);
        }
        self.text(x, "value", "start", beside);
    }

    fn line(&mut self, x: f64, from: f64, to: f64) {
        self.add(&format!("<line x1='{x}' y1='{from}' x2='{x}' y2='{to}' class='budget'/>"));
    }

    fn add(&mut self, element: &str) {
        writeln!(self.body, "  {element}").expect("a string takes it all");
    }

    fn finish(self) -> String {
        let height = self.y + 24.0;
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' \
             height='{height}'>\n  <style>{STYLE}</style>\n  \
             <rect width='100%' height='100%' fill='#ffffff'/>\n{}</svg>\n",
            self.body
        )
    }
}

const STYLE: &str = "text { font-family: sans-serif; font-size: 12px; fill: #1f2933 } \
                     .title { font-size: 17px; font-weight: bold } \
                     .note { font-size: 11px; fill: #616e7c } \
                     .share { fill: #2f7fb5 } .plain { fill: #8fa3b5 } .gap { fill: #ffffff } \
                     .budget { stroke: #c0392b; stroke-width: 1.5; stroke-dasharray: 4 3 }";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
