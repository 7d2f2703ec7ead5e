//! The sweep: notes in the log who was here, so that what is needed stays, and takes away what has expired. What has
//! expired is not shown even before it is swept: the sweep only tidies.

use std::{sync::Arc, time::Duration};

use domain::{Problem, Proposal, Span};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    clock::Clock,
    presence::{Presence, Seen},
    sequencer::Sequencer,
    store::{Store, StoreError, Sweepings},
};

/// Users and chats that are noted by one entry of the log.
const NOTED: usize = 1_024;
/// What is needed is noted this many times in its lifetime at least, so that it never seems to have expired.
const NOTES_IN_A_LIFETIME: u32 = 4;

/// The sweep and what it needs.
pub struct Sweep {
    store: Arc<Store>,
    sequencer: Arc<dyn Sequencer>,
    presence: Arc<Presence>,
    clock: Clock,
    every: Duration,
}

/// Why a sweep was not done.
#[derive(Debug, thiserror::Error)]
enum NotSwept {
    #[error("the database could not be read: {0}")]
    Unreadable(#[from] StoreError),
    #[error("{0}")]
    Refused(#[from] Problem),
}

impl Sweep {
    /// Puts the parts together. It sweeps at this interval, and notes who is here as often or more often.
    pub fn new(
        store: Arc<Store>,
        sequencer: Arc<dyn Sequencer>,
        presence: Arc<Presence>,
        clock: Clock,
        every: Span,
    ) -> Self {
        let every = Duration::from_millis(every.millis());
        Self { store, sequencer, presence, clock, every }
    }

    /// Sweeps for ever.
    pub async fn run(&self) {
        let lifetimes = self.store.lifetimes();
        let shortest = Duration::from_millis(lifetimes.chat.min(lifetimes.user).millis());
        let mut notes = interval(self.every.min(shortest / NOTES_IN_A_LIFETIME));
        notes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_sweep = Instant::now() + self.every;
        loop {
            let done = tokio::select! {
                now = notes.tick() => {
                    let is_due = now >= next_sweep;
                    if is_due {
                        next_sweep = now + self.every;
                    }
                    self.tidy(is_due).await
                }
                () = self.presence.somebody_left() => self.see_off().await,
            };
            if let Err(error) = done {
                tracing::warn!(%error, "a sweep was not done, the next one will");
            }
        }
    }

    /// What is needed is noted before anything is taken away.
    async fn tidy(&self, sweeps: bool) -> Result<(), NotSwept> {
        let Seen { users, chats } = self.presence.take_seen();
        let (mut users, mut chats) = (users.into_iter(), chats.into_iter());
        loop {
            let touch = (users.by_ref().take(NOTED).collect(), chats.by_ref().take(NOTED).collect());
            let (users, chats): (Vec<_>, Vec<_>) = touch;
            if users.is_empty() && chats.is_empty() {
                break;
            }
            self.propose(Proposal::Touch { users, chats }).await?;
        }
        if sweeps { self.take_away().await } else { Ok(()) }
    }

    async fn take_away(&self) -> Result<(), NotSwept> {
        loop {
            let sweepings = self.store.read((self.clock)())?.sweepings()?;
            if sweepings == Sweepings::default() {
                return Ok(());
            }
            let Sweepings { users, chats, events } = sweepings;
            self.propose(Proposal::Expire { users, chats, events }).await?;
        }
    }

    /// Takes back the invites of those who have gone.
    async fn see_off(&self) -> Result<(), NotSwept> {
        for user in self.presence.take_gone() {
            if self.store.read((self.clock)())?.has_invited(user)? {
                self.propose(Proposal::Left(user)).await?;
            }
        }
        Ok(())
    }

    async fn propose(&self, proposal: Proposal) -> Result<(), Problem> {
        let outcome = self.sequencer.propose(proposal).await?;
        outcome.await.unwrap_or(Err(Problem::NotStored)).map(|_| ())
    }
}
