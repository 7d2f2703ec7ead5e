//! Line charts. Both scales are logarithmic, since what is compared differs by factors.

use std::fmt::Write;

use serde::Serialize;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 52.0;
/// The distance between two names.
const NAME_HEIGHT: f64 = 16.0;
/// Colours that can be distinguished with colour blindness (Okabe and Ito, 2008).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#555555"];

/// The measurements of one target.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Whether it is the second line of the same target, in its colour and dashed.
    pub(crate) is_dashed: bool,
}

/// A chart.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plot {
    pub(crate) file: &'static str,
    pub(crate) title: String,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// A logarithmic scale.
struct Scale {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        // Some margin at both ends.
        Self { least: (least / 1.3).max(f64::MIN_POSITIVE), most: most * 1.3, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value / self.least).ln() / (self.most / self.least).ln();
        self.from + part * (self.to - self.from)
    }

    /// Returns the values to mark: 1, 2 and 5 times powers of ten.
    fn marks(&self) -> Vec<f64> {
        let decades = (self.least.log10().floor() as i32)..=(self.most.log10().ceil() as i32);
        decades
            .flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(decade)))
            .filter(|mark| (self.least..=self.most).contains(mark))
            .collect()
    }
}

impl Plot {
    /// Renders the chart as SVG. Returns `None` if there are no points.
    pub(crate) fn svg(&self) -> Option<String> {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        points().next()?;
        let x = Scale::over(points().map(|(x, _)| x), LEFT, WIDTH - RIGHT);
        let y = Scale::over(points().map(|(_, y)| y), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"#333\">\n<title>{0}</title>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n<text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"600\">{0}</text>\n",
            self.title
        );
        self.draw(&mut svg, &x, &y).ok()?;
        Some(svg)
    }

    fn draw(&self, svg: &mut String, x: &Scale, y: &Scale) -> std::fmt::Result {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for mark in x.marks() {
            let at = x.place(mark);
            writeln!(
                svg,
                "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{mark}</text>",
                bottom + 18.0
            )?;
        }
        for mark in y.marks() {
            let at = y.place(mark);
            writeln!(
                svg,
                "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>",
                LEFT - 8.0,
                at + 4.0
            )?;
        }
        let (middle, half) = ((LEFT + right) / 2.0, (TOP + bottom) / 2.0);
        writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 12.0,
            self.x
        )?;
        writeln!(
            svg,
            "<text transform=\"translate(18 {half}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            self.y
        )?;
        let mut colour = 0;
        let mut names = Vec::new();
        for (number, line) in self.lines.iter().enumerate() {
            colour += usize::from(number > 0 && !line.is_dashed);
            let paint = COLOURS[colour % COLOURS.len()];
            let places: Vec<_> =
                line.points.iter().map(|(at, value)| (x.place(*at), y.place(*value))).collect();
            let Some((_, last)) = places.last() else { continue };
            let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let dash = if line.is_dashed { " stroke-dasharray=\"5 4\"" } else { "" };
            writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{paint}\" stroke-width=\"2\"{dash}/>",
                path.join(" ")
            )?;
            for (x, y) in &places {
                writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{paint}\"/>")?;
            }
            names.push((*last, paint, &line.name));
        }
        // Names are placed where their lines end, in the order of these ends, and below each other if these are close
        // together.
        names.sort_by(|(one, ..), (other, ..)| one.total_cmp(other));
        let mut free = TOP;
        let many = names.len();
        for (number, (last, paint, name)) in names.into_iter().enumerate() {
            // Leaves room for those below.
            let lowest = HEIGHT - NAME_HEIGHT * (many - number) as f64;
            let at = last.min(lowest).max(free);
            free = at + NAME_HEIGHT;
            let (x, y) = (right + 10.0, at + 4.0);
            writeln!(svg, "<text x=\"{x}\" y=\"{y:.1}\" fill=\"{paint}\">{name}</text>")?;
        }
        svg.push_str("</svg>\n");
        Ok(())
    }
}
