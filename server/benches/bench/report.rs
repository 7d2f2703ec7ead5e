//! The report: a table for people, and the same as JSON for programs.

use std::{fs, io, path::Path, time::Duration};

use serde::Serialize;

use crate::plot::Plot;

/// The goal for a figure.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

/// A figure measured in several rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    label: String,
    unit: &'static str,
    /// The median of all rounds. If their number is even, the mean of the two in the middle.
    median: f64,
    least: f64,
    most: f64,
    goal: Option<Goal>,
    verdict: Option<Verdict>,
}

/// Whether a goal was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Reached,
    /// Reached by the median, and missed in at least one round.
    NotInEachRound,
    Missed,
}

impl Figure {
    /// Creates a figure from the values of all rounds. There has to be at least one.
    pub(crate) fn of(label: impl Into<String>, unit: &'static str, values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        Self { label: label.into(), unit, median, least: at(0), most: at(last), goal: None, verdict: None }
    }

    /// Creates a figure of a percentile, in milliseconds: that of the times of all rounds together, with the least and
    /// the most of those of the single rounds.
    pub(crate) fn of_times(label: impl Into<String>, part: f64, rounds: &[Vec<Duration>]) -> Self {
        let each: Vec<_> = rounds.iter().map(|times| percentile(times, part)).collect();
        Self { median: percentile(&rounds.concat(), part), ..Self::of(label, "ms", &each) }
    }

    pub(crate) fn with_goal(self, goal: Goal) -> Self {
        let verdict = if !goal.is_reached(self.median) {
            Verdict::Missed
        } else if [self.least, self.most].into_iter().all(|value| goal.is_reached(value)) {
            Verdict::Reached
        } else {
            Verdict::NotInEachRound
        };
        Self { goal: Some(goal), verdict: Some(verdict), ..self }
    }
}

/// Returns the median of some values.
pub(crate) fn median(values: &[f64]) -> f64 {
    Figure::of("", "", values).median
}

/// Checks the arithmetic of figures. Called by the tests, since a benchmark has no test harness.
pub(crate) fn check() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[2.0, 1.0]), 1.5, "between the two in the middle");
    let verdict = |values: &[f64], goal| Figure::of("", "", values).with_goal(goal).verdict;
    assert_eq!(verdict(&[1.0, 2.0, 3.0], Goal::AtMost(3.0)), Some(Verdict::Reached));
    assert_eq!(verdict(&[1.0, 2.0, 3.0], Goal::AtMost(2.0)), Some(Verdict::NotInEachRound));
    assert_eq!(verdict(&[1.0, 2.0, 3.0], Goal::AtLeast(2.0)), Some(Verdict::NotInEachRound));
    assert_eq!(verdict(&[1.0, 2.0, 3.0], Goal::AtLeast(2.5)), Some(Verdict::Missed));
    let millis = |times: &[u64]| times.iter().copied().map(Duration::from_millis).collect::<Vec<_>>();
    let of_both = Figure::of_times("", 0.5, &[millis(&[1, 2, 3]), millis(&[9])]);
    assert_eq!((of_both.least, of_both.median, of_both.most), (2.0, 2.0, 9.0));
}

/// All figures, in the order in which they were measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Whether figures are compared with their goals. A run that only checks that everything works measures nothing.
    judges: bool,
    machine: String,
    versions: Vec<String>,
    figures: Vec<Figure>,
    /// What could not be measured, and why.
    notes: Vec<String>,
    plots: Vec<Plot>,
}

impl Report {
    pub(crate) fn new(machine: String, judges: bool) -> Self {
        Self { judges, machine, ..Self::default() }
    }

    pub(crate) fn version(&mut self, version: String) {
        self.versions.push(version);
    }

    /// Reports what could not be measured, and why.
    pub(crate) fn note(&mut self, note: String) {
        println!("{note}");
        self.notes.push(note);
    }

    pub(crate) fn plot(&mut self, plot: Plot) {
        self.plots.push(plot);
    }

    pub(crate) fn add(&mut self, mut figure: Figure) {
        if !self.judges {
            (figure.goal, figure.verdict) = (None, None);
        }
        println!("{}: {} {}", figure.label, number(figure.median), figure.unit);
        self.figures.push(figure);
    }

    /// Writes the table, the JSON file and the charts into a folder. Figures that miss their goals come first in the
    /// table.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("bench.json"), serde_json::to_string_pretty(self)?)?;
        let mut text = format!("{}\n", self.machine);
        for version in &self.versions {
            text.push_str(&format!("{version}\n"));
        }
        let short = |figure: &&Figure| figure.verdict == Some(Verdict::Missed);
        for (title, figures) in [
            ("Goals not reached", self.figures.iter().filter(short).collect::<Vec<_>>()),
            ("All results", self.figures.iter().collect()),
        ] {
            if figures.is_empty() {
                continue;
            }
            text.push_str(&format!(
                "\n{title}\n\n| measurement | median | min to max | goal |\n|---|---:|---:|---|\n"
            ));
            for figure in figures {
                text.push_str(&format!("{}\n", line(figure)));
            }
        }
        for note in &self.notes {
            text.push_str(&format!("\n{note}\n"));
        }
        fs::write(folder.join("bench.md"), &text)?;
        for plot in &self.plots {
            if let Some(svg) = plot.svg() {
                fs::write(folder.join(plot.file), svg)?;
            }
        }
        println!("\n{text}\nwritten to {}", folder.canonicalize()?.display());
        Ok(())
    }
}

fn line(figure: &Figure) -> String {
    let Figure { label, unit, median, least, most, goal, verdict } = figure;
    let goal = match goal {
        None => String::new(),
        Some(Goal::AtMost(most)) => format!("at most {}", number(*most)),
        Some(Goal::AtLeast(least)) => format!("at least {}", number(*least)),
    };
    let verdict = match verdict {
        Some(Verdict::Reached) => " ✓",
        Some(Verdict::NotInEachRound) => " ✓, not in each round",
        Some(Verdict::Missed) => " ✗",
        None => "",
    };
    let (median, least, most) = (number(*median), number(*least), number(*most));
    format!("| {label} | {median} {unit} | {least} to {most} | {goal}{verdict} |")
}

/// Formats a number with about three significant digits: more would be noise.
fn number(value: f64) -> String {
    match value.abs() {
        1_000.0.. => {
            let digits = format!("{value:.0}");
            let (sign, digits) = digits.strip_prefix('-').map_or(("", &*digits), |digits| ("-", digits));
            let mut grouped = String::new();
            for (place, digit) in digits.char_indices() {
                if place > 0 && (digits.len() - place) % 3 == 0 {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            format!("{sign}{grouped}")
        }
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Returns a percentile of some times, in milliseconds. `part` is from 0 to 1. NaN if there are none.
pub(crate) fn percentile(times: &[Duration], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let place = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}
