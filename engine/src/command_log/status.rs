//! How a replicated log is doing: what `/readyz` says of it.

use domain::Rules;
use tokio::sync::watch;

use super::{envelope::FORMAT, transport::NotPublished};

/// A part of the replicated log that has a status of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The connection to the servers that carry the log, and the stream on them.
    Stream,
    /// What publishes the proposals of this node.
    Publisher,
    /// What applies the messages of all nodes.
    Applier,
    /// The place of this node among the others.
    Membership,
}

/// The number of [`Part`]s.
const PARTS: usize = 4;

/// How a part of the replicated log is doing. Its `Display` form is a line for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogStatus {
    /// It does what it has to.
    #[error("it is well")]
    Well,
    /// The messages of the log are applied as they come.
    #[error("the log is applied as it comes, {behind} messages are waiting")]
    Live {
        /// The number of messages that are in the stream after the newest one that was taken.
        behind: u64,
    },
    /// The messages of the log are read, and there are older ones to come.
    #[error("{behind} messages of the log are still to be read")]
    CatchingUp {
        /// The number of messages that are in the stream after the newest one that was taken.
        behind: u64,
    },
    /// Nothing has been read yet.
    #[error("the log has not been read yet")]
    Starting,
    /// Proposals cannot be published for now, and wait.
    #[error("what people write waits: {0}")]
    Waiting(NotPublished),
    /// What is wrong with the servers, the stream or the other nodes, in a sentence.
    #[error("{0}")]
    Trouble(String),
    /// A snapshot is loaded.
    #[error("the snapshot of place {place} is being loaded")]
    Loading {
        /// The place of the snapshot.
        place: u64,
    },
    /// Messages are missing. Nothing after them is applied.
    #[error("place {place} of the log was read after place {after}: what is between them is missing")]
    Gap {
        /// The place of the newest message before them.
        after: u64,
        /// The place of the first message after them.
        place: u64,
    },
    /// There is a message of a newer format. Nothing from it on is applied.
    #[error(
        "place {place} of the log has format {format}, and this Qchat reads up to {FORMAT}: upgrade this node"
    )]
    NeedsFormat {
        /// The place of the message.
        place: u64,
        /// Its format.
        format: u8,
    },
    /// Newer rules hold from a message on. Nothing from it on is applied.
    #[error(
        "from place {place} of the log on the rules {rules} hold, and this Qchat decides by the rules {} to {}: upgrade this node",
        known.0, known.1
    )]
    NeedsRules {
        /// The place of the message.
        place: u64,
        /// The rules.
        rules: Rules,
        /// The oldest and the newest rules by which this node can decide.
        known: (Rules, Rules),
    },
    /// The database cannot be written.
    #[error("the database of this node cannot be written: {0}")]
    DiskFailing(String),
    /// What this node has stored is not what most others have.
    #[error(
        "this node has decided differently from most others up to place {place} of the log: a snapshot takes the place of its database"
    )]
    Differs {
        /// The place at which it was noticed.
        place: u64,
    },
    /// A message cannot be applied. Nothing from it on is applied.
    #[error("place {place} of the log cannot be applied, and this node has stopped there: {reason}")]
    Halted {
        /// The place of the message.
        place: u64,
        /// Why.
        reason: String,
    },
}

impl LogStatus {
    /// Returns whether a node with this status can serve people.
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Well | Self::Live { .. })
    }

    /// Returns whether it belongs to each start, and to whatever is made up for: nothing has to be done about it.
    const fn is_start(&self) -> bool {
        matches!(self, Self::Starting | Self::CatchingUp { .. } | Self::Loading { .. })
    }

    /// Returns whether people have to go to another node: this one does not apply what they write, or shows them what the
    /// others do not have. With any other status they can stay, and what they write waits.
    pub const fn sends_people_away(&self) -> bool {
        matches!(
            self,
            Self::Gap { .. }
                | Self::NeedsFormat { .. }
                | Self::NeedsRules { .. }
                | Self::Differs { .. }
                | Self::Halted { .. }
        )
    }

    /// Returns whether it tells an operator the same as another one. Counts do not matter.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Live { .. }, Self::Live { .. }) | (Self::CatchingUp { .. }, Self::CatchingUp { .. }) => {
                true
            }
            _ => self == other,
        }
    }
}

/// Sets the status of the parts of the replicated log. Each change is logged once.
#[derive(Debug, Clone)]
pub struct StatusSender(watch::Sender<[LogStatus; PARTS]>);

/// Tells how the replicated log is doing.
#[derive(Debug, Clone)]
pub struct StatusReceiver(watch::Receiver<[LogStatus; PARTS]>);

/// Creates both ends. At first the log is starting.
pub fn channel() -> (StatusSender, StatusReceiver) {
    use LogStatus::{Starting, Well};
    // In the order of `Part`.
    let (sender, receiver) = watch::channel([Starting, Well, Starting, Well]);
    (StatusSender(sender), StatusReceiver(receiver))
}

impl StatusSender {
    /// Sets the status of a part.
    pub fn set(&self, part: Part, status: LogStatus) {
        self.0.send_if_modified(|parts| {
            // What keeps several parts from their work is logged by the first of them.
            let is_known = !status.is_ready() && parts.contains(&status);
            let Some(now) = parts.get_mut(part as usize) else { return false };
            if *now == status {
                return false;
            }
            if !is_known && !now.is_like(&status) {
                match status.is_ready() || status.is_start() {
                    true => tracing::info!(?part, "the replicated log: {status}"),
                    false => tracing::warn!(?part, "the replicated log: {status}"),
                }
            }
            *now = status;
            true
        });
    }

    /// Notes that the stream has got ahead of what applies it while it was not read. Changes nothing if that is known, or if
    /// there is something else to tell of what applies it.
    pub fn overtaken(&self, behind: u64) {
        if matches!(self.subscribe().of(Part::Applier), LogStatus::Live { .. }) {
            self.set(Part::Applier, LogStatus::CatchingUp { behind });
        }
    }

    /// Returns a receiver of this sender.
    pub fn subscribe(&self) -> StatusReceiver {
        StatusReceiver(self.0.subscribe())
    }
}

impl StatusReceiver {
    /// Returns the status of a part.
    pub fn of(&self, part: Part) -> LogStatus {
        self.0.borrow().get(part as usize).cloned().unwrap_or(LogStatus::Starting)
    }

    /// Returns whether all parts are ready.
    pub fn is_ready(&self) -> bool {
        self.0.borrow().iter().all(LogStatus::is_ready)
    }

    /// Returns whether people have to go to another node.
    pub fn sends_people_away(&self) -> bool {
        self.0.borrow().iter().any(LogStatus::sends_people_away)
    }

    /// Returns why the log is not ready, one line for each reason.
    pub fn troubles(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for status in self.0.borrow().iter().filter(|status| !status.is_ready()) {
            let line = status.to_string();
            // At the start, two parts have the same.
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }

    /// Waits until the status of a part changes. Returns at once if it has changed since the last call, and never again
    /// once all senders are gone.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until all parts are ready. Never returns if all senders are gone before.
    pub async fn ready(&mut self) {
        if self.0.wait_for(|parts| parts.iter().all(LogStatus::is_ready)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_log_is_ready_when_all_its_parts_are() {
        let (sender, mut receiver) = channel();
        assert!(!receiver.is_ready());
        assert_eq!(receiver.troubles(), ["the log has not been read yet"]);
        sender.set(Part::Stream, LogStatus::Well);
        sender.set(Part::Applier, LogStatus::CatchingUp { behind: 8 });
        assert_eq!(receiver.troubles(), ["8 messages of the log are still to be read"]);
        sender.set(Part::Applier, LogStatus::Live { behind: 0 });
        receiver.ready().await;
        sender.set(Part::Publisher, LogStatus::Waiting(NotPublished::Full));
        assert_eq!(receiver.troubles(), ["what people write waits: the stream is full"]);
        assert_eq!(receiver.of(Part::Applier), LogStatus::Live { behind: 0 });
    }

    #[test]
    fn people_stay_while_the_log_waits_and_go_elsewhere_when_it_has_stopped() {
        let (sender, receiver) = channel();
        sender.set(Part::Stream, LogStatus::Trouble("NATS is away".to_owned()));
        sender.set(Part::Publisher, LogStatus::Waiting(NotPublished::NoAnswer));
        assert!(!receiver.sends_people_away());
        sender.set(Part::Membership, LogStatus::Differs { place: 1_024 });
        assert!(receiver.sends_people_away());
        sender.set(Part::Membership, LogStatus::Well);
        assert!(!receiver.sends_people_away());
        sender.set(Part::Applier, LogStatus::NeedsFormat { place: 9, format: 2 });
        assert!(receiver.sends_people_away());
    }

    #[test]
    fn what_applies_the_log_is_overtaken_only_if_it_keeps_up() {
        let (sender, receiver) = channel();
        sender.overtaken(8);
        assert_eq!(receiver.of(Part::Applier), LogStatus::Starting);
        sender.set(Part::Applier, LogStatus::Live { behind: 1 });
        sender.overtaken(8);
        assert_eq!(receiver.of(Part::Applier), LogStatus::CatchingUp { behind: 8 });
        let failing = LogStatus::DiskFailing("it is full".to_owned());
        sender.set(Part::Applier, failing.clone());
        sender.overtaken(9);
        assert_eq!(receiver.of(Part::Applier), failing);
    }

    #[test]
    fn a_node_that_is_too_old_says_what_it_needs() {
        let status = LogStatus::NeedsRules { place: 812, rules: Rules(3), known: (Rules(1), Rules(2)) };
        assert_eq!(
            status.to_string(),
            "from place 812 of the log on the rules 3 hold, and this Qchat decides by the rules 1 to 2: upgrade this node"
        );
    }
}
