//! What a node of a cluster does beside its log, in tasks of the background.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::Timestamp;
use engine::{
    clock::ReplicaClock,
    command_log::{
        replicated::RulesProposer,
        status::{Part, StatusReceiver},
    },
    nodes::members::Standing,
    presence::Presence,
    storage::Store,
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::http::admission::Admission;

/// The file with the time of a node that cannot read the log, in the data folder. It is there only then.
pub(super) const TIME: &str = "qchat.time";
/// How often that is noted.
const TIME_INTERVAL: Duration = Duration::from_secs(10);

/// Brings newer rules into force when all nodes know them, if that is the duty of this node.
pub(super) struct RaisingRules {
    pub(super) proposer: RulesProposer,
    pub(super) duty: watch::Receiver<bool>,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) store: Arc<Store>,
}

impl RaisingRules {
    /// Never returns.
    pub(super) async fn run(&self) {
        let (mut duty, mut standing) = (self.duty.clone(), self.standing.clone());
        let mut proposed = None;
        loop {
            let is_mine = *duty.borrow_and_update();
            let due = standing.borrow_and_update().rules_due(self.store.settings().rules);
            if let Some(rules) = due.filter(|rules| is_mine && proposed < Some(*rules)) {
                tracing::info!(
                    "all nodes know the rules {rules}, which come into force: from now on there is no way back to a Qchat that does not know them"
                );
                self.proposer.propose(rules);
                proposed = due;
            }
            tokio::select! {
                Ok(()) = duty.changed() => {}
                Ok(()) = standing.changed() => {}
                // The node stops.
                else => std::future::pending().await,
            }
        }
    }
}

/// Sends people to another node while this one's log has stopped, and once when it has become another log: their pages
/// then begin anew with what that has.
pub(super) struct Admitting {
    pub(super) admission: Admission,
    pub(super) readiness: StatusReceiver,
    pub(super) store: Arc<Store>,
}

impl Admitting {
    /// Never returns.
    pub(super) async fn run(&self) {
        let mut readiness = self.readiness.clone();
        let mut epoch = self.store.epoch();
        loop {
            let now = self.store.epoch();
            let sends_away = readiness.sends_people_away();
            if sends_away || now != epoch {
                self.admission.suspend();
            }
            epoch = now;
            if !sends_away {
                self.admission.resume();
            }
            readiness.changed().await;
        }
    }
}

/// Keeps the time of a node right: it tells pages when it has leapt, and notes it while the log cannot be read, so that a
/// node that is started again meanwhile does not go back to the time of the newest message that it has, at which things
/// were there that have expired since.
pub(super) struct KeepingTime {
    pub(super) clock: Arc<ReplicaClock>,
    pub(super) presence: Arc<Presence>,
    pub(super) readiness: StatusReceiver,
    /// Where it is noted.
    pub(super) file: PathBuf,
}

impl KeepingTime {
    /// Never returns.
    pub(super) async fn run(&self) {
        let mut ticks = interval(TIME_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.clock.leapt() => self.presence.tell_time(),
                _ = ticks.tick() => if let Err(error) = self.note().await {
                    tracing::debug!(%error, "the time could not be noted");
                }
            }
        }
    }

    async fn note(&self) -> io::Result<()> {
        if !self.readiness.of(Part::Stream).is_ready() {
            return tokio::fs::write(&self.file, self.clock.now().0.to_string()).await;
        }
        match tokio::fs::remove_file(&self.file).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Returns the time that was noted in a file, or the earliest one if there is none.
pub(super) fn noted(file: &Path) -> Timestamp {
    let noted = fs::read_to_string(file).ok().and_then(|text| text.parse().ok());
    noted.map_or(Timestamp::default(), Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_was_not_noted_whole_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(TIME);
        assert_eq!(noted(&file), Timestamp::default());
        for (text, expected) in [("1800000000000", 1_800_000_000_000), ("", 0), ("18000x", 0), ("-1", 0)] {
            fs::write(&file, text).unwrap();
            assert_eq!(noted(&file), Timestamp(expected), "{text}");
        }
    }
}
