//! Why a server is not ready, as parts of it tell and `/readyz` answers.

use std::sync::Arc;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use engine::{Engine, writer::WriterHealth};
use tokio_util::sync::CancellationToken;

/// Returns why a part of the server is not ready, in a line for each reason. None if it is.
pub type Check = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What decides whether a server is ready.
pub struct Readiness {
    /// What reads the database.
    pub engine: Arc<Engine>,
    /// The health of the writer.
    pub writer: Arc<WriterHealth>,
    /// Why the log of a cluster is not ready. `None` in a single process.
    pub log_check: Option<Check>,
    /// Cancelled when the server stops.
    pub stop: CancellationToken,
}

impl Readiness {
    /// Returns why this server is not ready, or nothing if it is.
    pub fn reasons(&self) -> Vec<String> {
        let writer = if !self.writer.can_store() {
            Some("messages cannot be stored")
        } else if !self.writer.is_well() {
            Some("the writer has ended")
        } else {
            None
        };
        let stops = self.stop.is_cancelled().then_some("Qchat is stopping");
        let unreadable = self.engine.newest_seq().is_err().then_some("what is stored cannot be read");
        let of_log = self.log_check.as_ref().map(|check| check()).unwrap_or_default();
        [stops, writer, unreadable].into_iter().flatten().map(str::to_owned).chain(of_log).collect()
    }
}

/// Returns the answer of `/readyz` for the reasons why a server is not ready.
pub fn readiness(reasons: &[String]) -> Response {
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    let lines: String = reasons.iter().map(|reason| format!("not ready: {reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

#[cfg(test)]
mod tests {
    use cluster::{Foreign, Trouble};
    use domain::Rules;
    use engine::command_log::{status::LogStatus, transport::NotPublished};

    /// Returns the lines that the manual explains, each as its parts between what varies.
    fn explained() -> Vec<Vec<&'static str>> {
        let manual = include_str!("../../../docs/operations.md");
        let rows = manual.lines().filter_map(|line| line.strip_prefix("| `"));
        let lines = rows.filter_map(|row| row.split_once(" | ")).flat_map(|(lines, _)| lines.split("`, `"));
        lines.map(|line| line.trim_end_matches('`').split('…').collect()).collect()
    }

    fn is_explained(line: &str) -> bool {
        explained().iter().any(|parts| {
            let mut rest = Some(line);
            for (index, part) in parts.iter().enumerate() {
                rest = rest.and_then(|rest| match index {
                    0 => rest.strip_prefix(part),
                    _ if part.is_empty() => Some(""),
                    _ => rest.split_once(part).map(|(_, rest)| rest),
                });
            }
            rest == Some("")
        })
    }

    #[test]
    fn the_manual_explains_every_reason_not_to_be_ready() {
        let text = || "something".to_owned();
        let troubles = [
            Trouble::NotConnected { servers: text(), reason: "no server takes the connection" },
            Trouble::NotConnected {
                servers: text(),
                reason: "a server takes the connection and says nothing",
            },
            Trouble::NotConnected { servers: text(), reason: "the name of a server has no address" },
            Trouble::NotConnected {
                servers: text(),
                reason: "TLS failed, look at the certificates of both sides",
            },
            Trouble::NotConnected {
                servers: text(),
                reason: "the credentials file cannot be used to log in",
            },
            Trouble::NotConnected { servers: text(), reason: "no answer yet" },
            Trouble::LoginRefused,
            Trouble::NotAllowed(text()),
            Trouble::NoAnswer,
            Trouble::NoLeader,
            Trouble::NoJetStream,
            Trouble::OldServer(text()),
            Trouble::SmallPayload { allowed: 1, needed: 2 },
            Trouble::TooFewServers { replicas: 3 },
            Trouble::NoRoom(text()),
            Trouble::Foreign(Foreign { stream: text(), field: "its subject", is: text(), wanted: text() }),
            Trouble::SubjectTaken { subject: text() },
            Trouble::Deleted { stream: text() },
            Trouble::Lost { stream: text(), name: text() },
            Trouble::Emptied { stream: text(), place: 1 },
            Trouble::Shorter { stream: text(), last: 1, reached: 2 },
            Trouble::ShorterThanSnapshot { stream: text(), last: 1, place: 2 },
            Trouble::OtherHistory { stream: text(), place: 1 },
            Trouble::RecoveredBehind { stream: text(), place: 1, reached: 2 },
            Trouble::NeedsRules { place: 1, rules: Rules(2), known: (Rules(1), Rules(1)) },
            Trouble::OtherLog { stream: text() },
            Trouble::Hole { stream: text(), first: 2, reached: 1 },
            Trouble::Snapshot { place: 1, reason: text() },
            Trouble::SameName { name: text() },
            Trouble::Differs { place: 1 },
            Trouble::Refused(text()),
        ];
        let statuses = [
            LogStatus::CatchingUp { behind: 1 },
            LogStatus::Starting,
            LogStatus::Waiting(NotPublished::NoAnswer),
            LogStatus::Waiting(NotPublished::NoStream),
            LogStatus::Waiting(NotPublished::NotRead),
            LogStatus::Waiting(NotPublished::Full),
            LogStatus::Waiting(NotPublished::TooLarge),
            LogStatus::Waiting(NotPublished::Refused(text())),
            LogStatus::Loading { place: 1 },
            LogStatus::Gap { after: 1, place: 3 },
            LogStatus::NeedsFormat { place: 1, format: 2 },
            LogStatus::NeedsRules { place: 1, rules: Rules(2), known: (Rules(1), Rules(1)) },
            LogStatus::DiskFailing(text()),
            LogStatus::Halted { place: 1, reason: text() },
        ];
        let lines = troubles.iter().map(ToString::to_string).chain(statuses.iter().map(ToString::to_string));
        let unexplained: Vec<_> = lines.filter(|line| !is_explained(line)).collect();
        assert_eq!(unexplained, Vec::<String>::new());
        for line in [
            "Qchat is stopping",
            "Qchat is starting",
            "messages cannot be stored",
            "the writer has ended",
            "what is stored cannot be read",
        ] {
            assert!(is_explained(line), "{line}");
        }
        assert!(!is_explained("something else"));
    }
}
