//! What a node of a cluster does beside its log, in tasks of the background.

use std::sync::Arc;

use engine::{
    clock::ReplicaClock,
    command_log::{replicated::RulesProposer, status::StatusReceiver},
    nodes::members::Standing,
    presence::Presence,
    storage::Store,
};
use tokio::sync::watch;

use crate::http::admission::Admission;

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
        let mut epoch = self.store.epoch();
        loop {
            let now = self.store.epoch();
            if now != epoch {
                // What was proposed may have been dropped with the log before.
                (epoch, proposed) = (now, None);
            }
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

/// Tells pages the time when the time of a node has leapt.
pub(super) struct TellingTime {
    pub(super) clock: Arc<ReplicaClock>,
    pub(super) presence: Arc<Presence>,
}

impl TellingTime {
    /// Never returns.
    pub(super) async fn run(&self) {
        loop {
            self.clock.leapt().await;
            self.presence.tell_time();
        }
    }
}
