//! The log on standard error: which lines it has, and in which format.

use std::{
    io::{self, IsTerminal},
    str::FromStr,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    filter::Targets,
    fmt,
    layer::{Layer, SubscriberExt},
    util::{SubscriberInitExt, TryInitError},
};

use crate::traces::Traces;

/// What is logged of libraries that say much at the level of Qchat, unless [`LogFilter`] names them. Of attempts to connect to
/// NATS the reason is logged once, by Qchat, and not each attempt.
const OTHERS: [(&str, LevelFilter); 2] =
    [("async_nats", LevelFilter::WARN), ("async_nats::connector", LevelFilter::OFF)];

/// The settings of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Which lines are logged.
    pub filter: LogFilter,
    /// The format of a line.
    pub format: LogFormat,
    /// Where traces are sent. `None` if they are not.
    pub traces: Option<String>,
}

/// The log of this process, which has to be [ended](Logging::end) for the last traces to be sent.
#[derive(Debug)]
pub struct Logging {
    traces: Option<Traces>,
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// This process logs already.
    #[error(transparent)]
    Twice(#[from] TryInitError),
    /// Traces cannot be sent to the given address.
    #[error("traces cannot be sent to the address of --traces: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
}

impl Logging {
    /// Sends the last traces, if there are any. Blocks for some seconds at most.
    pub fn end(self) {
        self.traces.into_iter().for_each(Traces::end);
    }
}

/// Which lines are logged: those of a level and all that are more severe, and other levels for parts of the program.
///
/// Only names of levels are understood. A filter in which a mistyped level would be taken for the name of a part, and
/// silence everything else, cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter {
    level: LevelFilter,
    /// The levels of modules and of those below them.
    modules: Vec<(String, LevelFilter)>,
}

/// The format of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people, in colour on a terminal.
    Text,
    /// A JSON object, for programs that collect logs.
    Json,
}

/// The error for a text that is not a filter of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a level (error, warn, info, debug or trace), optionally with levels for modules, such as info,engine=debug"
)]
pub struct NoFilter;

impl FromStr for LogFilter {
    type Err = NoFilter;

    /// Parses `LEVEL`, `MODULE=LEVEL` or a list of them with commas. Without a level for all, it is `info`.
    fn from_str(text: &str) -> Result<Self, NoFilter> {
        let (mut level, mut modules) = (None, Vec::new());
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((module, of_module)) => {
                    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
                    if module.is_empty() || !module.chars().all(is_name) {
                        return Err(NoFilter);
                    }
                    modules.push((module.to_owned(), level_of(of_module)?));
                }
                None if level.is_none() => level = Some(level_of(part)?),
                // two levels for all: which one is meant is not known
                None => return Err(NoFilter),
            }
        }
        Ok(Self { level: level.unwrap_or(LevelFilter::INFO), modules })
    }
}

/// Parses the name of a level. `tracing` also reads numbers, and takes an empty text for a level.
fn level_of(name: &str) -> Result<LevelFilter, NoFilter> {
    match name.to_ascii_lowercase().as_str() {
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(NoFilter),
    }
}

impl LogFilter {
    fn targets(&self) -> Targets {
        let is_part = |module: &str, of: &str| {
            module.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let is_named = |module: &str| self.modules.iter().any(|(named, _)| is_part(module, named));
        let others = OTHERS.iter().filter(|(module, _)| !is_named(module));
        let others = others.map(|(module, most)| (*module, self.level.min(*most)));
        let modules = self.modules.iter().map(|(module, level)| (module.as_str(), *level));
        // the last one of a module counts
        Targets::new().with_default(self.level).with_targets(others).with_targets(modules)
    }
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("text or json"),
        }
    }
}

impl Default for LogSettings {
    /// What a command that an operator waits for logs: warnings and errors, for people.
    fn default() -> Self {
        let filter = LogFilter { level: LevelFilter::WARN, modules: Vec::new() };
        Self { filter, format: LogFormat::Text, traces: None }
    }
}

/// Begins to log what is asked for to the standard error.
///
/// # Errors
/// [`LogError`] if this process logs already, or traces cannot be sent.
pub fn init(settings: &LogSettings) -> Result<Logging, LogError> {
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match settings.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(settings.filter.targets()).with(lines);
    let traces = settings.traces.as_deref().map(Traces::begin).transpose()?;
    subscriber.with(traces.as_ref().map(Traces::layer)).try_init()?;
    Ok(Logging { traces })
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn filter(text: &str) -> Result<Targets, NoFilter> {
        text.parse().map(|filter: LogFilter| filter.targets())
    }

    #[test]
    fn a_level_is_that_of_all_but_of_named_modules_and_of_libraries_that_say_much() {
        let targets = filter("warn, engine=debug,server::http=trace").unwrap();
        for (target, level) in [
            ("server", Level::WARN),
            ("redb", Level::WARN),
            ("engine", Level::DEBUG),
            ("engine::storage", Level::DEBUG),
            ("server::http::ws", Level::TRACE),
            ("async_nats", Level::WARN),
        ] {
            let more = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
            for other in more {
                assert_eq!(targets.would_enable(target, &other), other <= level, "{target} {other}");
            }
        }
        assert!(filter("INFO").unwrap().would_enable("server", &Level::INFO));
        assert!(!filter("info").unwrap().would_enable("async_nats", &Level::INFO));
        assert!(!filter("error").unwrap().would_enable("async_nats", &Level::WARN));
        assert!(!filter("trace").unwrap().would_enable("async_nats::connector", &Level::ERROR));
        for part in ["async_nats", "async_nats::connector"] {
            assert!(filter("async_nats=trace").unwrap().would_enable(part, &Level::TRACE));
        }
        assert!(filter("engine=debug").unwrap().would_enable("server", &Level::INFO), "info is the default");
    }

    #[test]
    fn nothing_that_is_mistyped_is_taken_for_a_filter() {
        for text in [
            "",
            "wran",
            "warning",
            "off",
            "3",
            "info,wran",
            "info,debug",
            "engine",
            "engine=",
            "=info",
            "engine=wran",
            "server[request]=debug",
            "info;engine=debug",
            "info,",
        ] {
            assert_eq!(text.parse::<LogFilter>(), Err(NoFilter), "{text:?}");
        }
        assert!("JSON".parse::<LogFormat>().is_err());
    }

    /// A request keeps its id in the log whatever is logged of it.
    #[test]
    fn an_error_is_logged_by_every_filter() {
        for text in ["error", "warn", "info", "engine=error", "trace,server=error"] {
            let targets = filter(text).unwrap();
            for target in ["server::http::observe", "engine::storage", "async_nats"] {
                assert!(targets.would_enable(target, &Level::ERROR), "{text} {target}");
            }
        }
    }
}
