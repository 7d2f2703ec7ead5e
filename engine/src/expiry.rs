//! Expiry: the sweep, which notes in the log who is active, so that nothing in use expires, and removes what has
//! expired. What has expired is not shown even before it is removed; the sweep only frees the space.

use std::{future::ready, sync::Arc, time::Duration};

use domain::{NOTES_IN_A_LIFETIME, Problem, Proposal, Span, Timestamp};
use tokio::{
    sync::{
        oneshot::{self, error::TryRecvError},
        watch,
    },
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::{
    clock::{Clock, LeapWatch, SteadyClock},
    command_log::{Outcome, Sequencer},
    presence::{LastActive, Presence},
    storage::{ExpiredBatch, Store, StoreError},
};

/// The maximum number of users, and of chats, that one entry of the log notes as active.
const NOTED: usize = 1_024;
/// How often to check whether the wall clock was set, and who has left.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
/// The number of times that a log of several nodes is looked at within its longest silence. After the second look without a
/// new message, the node on duty writes an empty one.
const LOOKS_IN_A_SILENCE: u32 = 4;

/// Whether this node does what one node of a cluster does for all: it removes what has expired, and follows the clock.
#[derive(Debug, Clone)]
pub enum Duty {
    /// There is no other node.
    Alone,
    /// The nodes have agreed on one, which may change. Two nodes may both have the duty for a moment, or none.
    Shared(watch::Receiver<bool>),
}

impl Duty {
    /// Returns whether other nodes apply the same log.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Returns whether it is this node's duty now.
    pub fn is_mine(&self) -> bool {
        match self {
            Self::Alone => true,
            Self::Shared(is_mine) => *is_mine.borrow(),
        }
    }
}

/// The sweep and what it needs.
pub struct Sweeper {
    store: Arc<Store>,
    sequencer: Arc<dyn Sequencer>,
    presence: Arc<Presence>,
    clock: Clock,
    /// The clock of this machine. `None` if the log does not take its times from it.
    steady: Option<Arc<SteadyClock>>,
    duty: Duty,
    every: Duration,
}

/// What is known of the silence of the log.
#[derive(Default)]
struct Breaking {
    /// The place of the newest message at the last look. `None` before the first one.
    place: Option<u64>,
    /// Where the outcome of the last empty entry comes.
    waiting: Option<oneshot::Receiver<Outcome>>,
}

/// Why a sweep was not done.
#[derive(Debug, thiserror::Error)]
enum NotSwept {
    #[error("the database could not be read: {0}")]
    Unreadable(#[from] StoreError),
    #[error("{0}")]
    Refused(#[from] Problem),
}

impl Sweeper {
    /// Creates a sweeper that removes what has expired at the given interval, if that is its duty, and notes who is
    /// active at least as often. It follows `steady`, the clock of this machine, if the log takes its times from it.
    pub fn new(
        store: Arc<Store>,
        sequencer: Arc<dyn Sequencer>,
        presence: Arc<Presence>,
        clock: Clock,
        steady: Option<Arc<SteadyClock>>,
        duty: Duty,
        every: Span,
    ) -> Self {
        let every = Duration::from_millis(every.millis());
        Self { store, sequencer, presence, clock, steady, duty, every }
    }

    /// Sweeps periodically. Never returns. What is in use is noted before anything is removed, and between any two
    /// parts of a long sweep.
    pub async fn run(&self) {
        let lifetimes = self.store.lifetimes();
        let shortest = Duration::from_millis(lifetimes.chat.min(lifetimes.user).millis());
        let begun = Instant::now();
        let mut notes = interval_at(begun, self.every.min(shortest / NOTES_IN_A_LIFETIME));
        let mut sweeps = interval_at(begun + self.every, self.every);
        let mut looks = interval_at(begun, CLOCK_INTERVAL);
        let silence = Duration::from_millis(lifetimes.longest_silence().millis());
        let mut listens = interval_at(begun, silence / LOOKS_IN_A_SILENCE);
        let mut breaking = Breaking::default();
        listens.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        notes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_sweeping = false;
        let mut leaps = LeapWatch::default();
        loop {
            let done = tokio::select! {
                _ = looks.tick() => self.look(&mut leaps).await,
                _ = listens.tick(), if self.duty.is_shared() => self.break_silence(&mut breaking).await,
                _ = notes.tick() => self.note(self.presence.take_active()).await,
                () = self.presence.user_arrived() => self.note_new().await,
                () = self.presence.user_left() => self.withdraw_invites().await,
                _ = sweeps.tick(), if !is_sweeping => {
                    is_sweeping = self.duty.is_mine();
                    self.note(self.presence.take_active()).await
                }
                () = ready(()), if is_sweeping => {
                    // The note before may have taken long.
                    is_sweeping = self.duty.is_mine();
                    if is_sweeping { self.purge().await.map(|more| is_sweeping = more) } else { Ok(()) }
                }
            };
            if let Err(error) = done {
                tracing::warn!(%error, "expiry failed for now and will be retried");
                is_sweeping = false;
            }
        }
    }

    /// Does what is to be done every second.
    async fn look(&self, leaps: &mut LeapWatch) -> Result<(), NotSwept> {
        match &self.steady {
            Some(steady) => self.follow_clock(steady).await?,
            None => self.follow_stream(leaps).await?,
        }
        // Of other nodes' users it is known only after a while that they have left.
        if self.duty.is_shared() { self.withdraw_invites().await } else { Ok(()) }
    }

    /// Writes an empty entry if the log has been silent since the last look, and it is this node's duty. So the log is known
    /// to go on, its senders are known to its clock, and it is silent for long only if nobody can write.
    async fn break_silence(&self, breaking: &mut Breaking) -> Result<(), NotSwept> {
        let Some(state) = self.store.replica()? else { return Ok(()) };
        let is_silent = breaking.place.replace(state.place) == Some(state.place);
        // Those that wait would all be written when the log goes on.
        let is_waiting =
            breaking.waiting.as_mut().is_some_and(|outcome| outcome.try_recv() == Err(TryRecvError::Empty));
        if is_silent && !is_waiting && self.duty.is_mine() {
            let nothing = Proposal::Touch { users: Vec::new(), chats: Vec::new() };
            breaking.waiting = Some(self.sequencer.propose(nothing).await?);
        }
        Ok(())
    }

    /// Follows the wall clock if it was set. The times when users and chats were last active are moved by the same
    /// amount, so that none of them expires sooner or later because of it. They are moved before the clock is set
    /// forward, or after it is set back, so that nothing seems to have expired in between. The change dispatcher sets it
    /// forward, and has all pages told the time.
    async fn follow_clock(&self, steady: &SteadyClock) -> Result<(), NotSwept> {
        if !self.duty.is_mine() {
            return Ok(());
        }
        let Some(leap) = steady.leap() else { return Ok(()) };
        if leap < 0 {
            steady.take(leap);
        }
        if let Err(problem) = self.propose(Proposal::ClockSet(leap)).await {
            if leap < 0 {
                // Undone until it can be noted in the log.
                steady.take(leap.saturating_neg());
            }
            return Err(problem.into());
        }
        tracing::warn!(seconds = leap / 1_000, "the system clock was set, and Qchat follows it");
        Ok(())
    }

    /// Follows the clock of the stream that carries the log, if that was set, or another server leads it whose clock is
    /// wrong. The log knows when that is due to happen: it takes no leap by itself, and a second proposal has no effect.
    async fn follow_stream(&self, leaps: &mut LeapWatch) -> Result<(), NotSwept> {
        let replica = if self.duty.is_mine() { self.store.replica()? } else { None };
        let leap = replica.map_or(0, |replica| replica.clock.away().saturating_neg());
        let Some(leap) = leaps.see(leap, Instant::now().into_std()) else { return Ok(()) };
        self.propose(Proposal::ClockSet(leap)).await?;
        tracing::warn!(seconds = leap / 1_000, "the clock of the NATS servers was set, and Qchat follows it");
        Ok(())
    }

    /// Notes who has come online, and which chats were entered. Users and chats that were noted a short time ago are
    /// left to the next periodic note, so that loading pages does not write to the disk each time.
    async fn note_new(&self) -> Result<(), NotSwept> {
        let mut seen = self.presence.take_arrivals();
        let (now, lifetimes) = ((self.clock)(), self.store.lifetimes());
        let is_old = |noted_at: Option<Timestamp>, lifetime: Span| {
            let moment = lifetime.millis() / u64::from(2 * NOTES_IN_A_LIFETIME);
            noted_at.is_none_or(|at| now.millis_since(at) >= moment)
        };
        let view = self.store.read(now)?;
        let mut later = LastActive::default();
        for (user, at) in &seen.users {
            if !is_old(view.user_noted_at(*user)?, lifetimes.user) {
                later.users.insert(*user, *at);
            }
        }
        for (chat, at) in &seen.chats {
            if !is_old(view.chat_noted_at(*chat)?, lifetimes.chat) {
                later.chats.insert(*chat, *at);
            }
        }
        drop(view);
        seen.users.retain(|user, _| !later.users.contains_key(user));
        seen.chats.retain(|chat, _| !later.chats.contains_key(chat));
        self.presence.defer(later);
        self.note(seen).await
    }

    /// Notes who was active, except users who are not stored.
    async fn note(&self, seen: LastActive) -> Result<(), NotSwept> {
        let view = self.store.read((self.clock)())?;
        let mut users = Vec::new();
        for (user, at) in seen.users {
            if view.user_noted_at(user)?.is_some() {
                users.push((user, at));
            }
        }
        drop(view);
        let (mut users, mut chats) = (users.into_iter(), seen.chats.into_iter());
        loop {
            let (users, chats): (Vec<_>, Vec<_>) =
                (users.by_ref().take(NOTED).collect(), chats.by_ref().take(NOTED).collect());
            if users.is_empty() && chats.is_empty() {
                return Ok(());
            }
            self.propose(Proposal::Touch { users, chats }).await?;
        }
    }

    /// Removes some of what has expired. Returns whether there may be more.
    async fn purge(&self) -> Result<bool, NotSwept> {
        let (store, now) = (Arc::clone(&self.store), (self.clock)());
        // The search may take a while, and must not block other tasks.
        let looking = tokio::task::spawn_blocking(move || store.read(now)?.expired_batch());
        let sweepings = looking.await.map_err(|_| Problem::NotReadable)??;
        if sweepings == ExpiredBatch::default() {
            return Ok(false);
        }
        let ExpiredBatch { users, chats, events } = sweepings;
        self.propose(Proposal::Expire { users, chats, events }).await?;
        Ok(true)
    }

    /// Withdraws the invites of users who have gone offline: each node those of its own, and the one on duty all. If this
    /// fails, their invites end when the user expires.
    async fn withdraw_invites(&self) -> Result<(), NotSwept> {
        for user in self.presence.take_departed(self.duty.is_mine()) {
            if self.store.read((self.clock)())?.has_invited(user)? {
                self.propose(Proposal::UserLeft(user)).await?;
            }
        }
        Ok(())
    }

    async fn propose(&self, proposal: Proposal) -> Result<(), Problem> {
        let outcome = self.sequencer.propose(proposal).await?;
        outcome.await.unwrap_or(Err(Problem::NotStored)).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use domain::{
        Change, ChatId, Epoch, Event, EventKind, Lifetimes, LogClock, Nickname, Seq, Title, User, UserId,
        Visibility, id::ID_BYTES,
    };
    use tokio::{sync::Notify, task::JoinHandle, time::sleep};

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::{
        clock,
        presence::{GRACE, NodeId},
        storage::{LogState, ReplicaState},
    };

    const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
    const MINUTE: Duration = Duration::from_secs(60);
    const LIFETIMES: Lifetimes =
        Lifetimes { chat: Span::seconds(1_200), user: Span::seconds(1_200), message: Span::seconds(1_200) };

    /// A sequencer that records proposals and stores nothing.
    #[derive(Default)]
    struct RecordingSequencer {
        noted: Mutex<Vec<Proposal>>,
        proposed: Notify,
        /// The outcomes that were not told. `None` if each is told at once.
        waiting: Mutex<Option<Vec<oneshot::Sender<Outcome>>>>,
    }

    impl RecordingSequencer {
        fn take(&self) -> Vec<Proposal> {
            std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }

    impl Sequencer for RecordingSequencer {
        fn epoch(&self) -> domain::Epoch {
            domain::Epoch::from_bytes([1; ID_BYTES])
        }

        fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<oneshot::Receiver<Outcome>, Problem>> {
            let (outcome, receiver) = oneshot::channel();
            self.noted.lock().unwrap_or_else(PoisonError::into_inner).push(proposal);
            self.proposed.notify_one();
            match &mut *self.waiting.lock().unwrap() {
                Some(waiting) => waiting.push(outcome),
                None => outcome.send(Ok(Seq(1))).unwrap(),
            }
            Box::pin(async { Ok(receiver) })
        }
    }

    struct Work {
        recorder: Arc<RecordingSequencer>,
        presence: Arc<Presence>,
        running: [JoinHandle<()>; 2],
    }

    fn work(changes: &[Change], every: Span) -> Work {
        work_with(Duty::Alone, changes, every)
    }

    fn work_with(duty: Duty, changes: &[Change], every: Span) -> Work {
        let store = Arc::new(Store::in_memory(LIFETIMES).unwrap());
        store
            .write(Seq(1), Timestamp::default(), |batch| {
                changes.iter().try_for_each(|change| batch.apply(change))
            })
            .unwrap();
        work_on(store, duty, every)
    }

    fn work_on(store: Arc<Store>, duty: Duty, every: Span) -> Work {
        let steady = Arc::new(SteadyClock::new(clock::system(), clock::uptime()));
        let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, clock::system()));
        let recorder = Arc::new(RecordingSequencer::default());
        let sequencer: Arc<dyn Sequencer> = Arc::clone(&recorder) as _;
        let (presence_of_work, clock) = (Arc::clone(&presence), steady.clock());
        let sweep = Sweeper::new(store, sequencer, presence_of_work, clock, Some(steady), duty, every);
        let departing = Arc::clone(&presence);
        let running = [
            tokio::spawn(async move { sweep.run().await }),
            tokio::spawn(async move { departing.run().await }),
        ];
        Work { recorder, presence, running }
    }

    impl Drop for Work {
        fn drop(&mut self) {
            self.running.iter().for_each(JoinHandle::abort);
        }
    }

    fn user(number: u8) -> User {
        User::new(UserId::from_bytes([number; ID_BYTES]))
    }

    fn touched(proposals: &[Proposal]) -> usize {
        let of_chat = |proposal: &&Proposal| matches!(proposal, Proposal::Touch { chats, .. } if chats.iter().any(|(chat, _)| *chat == CHAT));
        proposals.iter().filter(of_chat).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_who_comes_is_noted_at_once_and_then_often_enough() {
        let work = work(&[], Span::seconds(3_600));
        sleep(MINUTE).await;
        assert_eq!(work.recorder.take(), []);
        let _guard = work.presence.join(CHAT, user(1), Arc::default());
        sleep(Duration::from_millis(1)).await;
        assert_eq!(touched(&work.recorder.take()), 1, "what was entered may have been about to expire");
        sleep(MINUTE * 20).await;
        let notes = touched(&work.recorder.take());
        assert!(notes >= NOTES_IN_A_LIFETIME as usize, "{notes} in a lifetime");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_noted_a_moment_ago_is_not_noted_with_every_page() {
        let (nickname, title) = (Nickname::friendly(1), Title::parse("Tea").unwrap());
        let (visibility, guest) = (Visibility::Public, None);
        let kind = EventKind::Started { owner: user(1).id, nickname, title, visibility, guest };
        let began =
            |at| Change::Chat(Event { chat: CHAT, seq: Seq(1), prev: Seq::ZERO, at, kind: kind.clone() });
        let now = clock::system()();
        let a_while = LIFETIMES.chat.millis() / 4;
        for (at, notes) in [(now, 0), (Timestamp(now.0 - a_while), 3)] {
            let work = work(&[began(at)], Span::seconds(3_600));
            sleep(Duration::from_millis(1)).await;
            work.recorder.take();
            for _ in 0..3 {
                work.presence.looked(Some(user(1).id), Some(CHAT));
                sleep(Duration::from_millis(1)).await;
            }
            // The sequencer stores nothing, so an old time stays old.
            assert_eq!(touched(&work.recorder.take()), notes, "noted at {at:?}");
            sleep(MINUTE * 6).await;
            assert_eq!(
                touched(&work.recorder.take()),
                usize::from(notes == 0),
                "but it is noted, a little later"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_expired_is_proposed_to_be_taken_away_until_nothing_is_left() {
        let (nickname, title) = (Nickname::friendly(1), Title::parse("Old").unwrap());
        let (visibility, guest) = (Visibility::Public, None);
        let kind = EventKind::Started { owner: user(1).id, nickname, title, visibility, guest };
        let old = Change::Chat(Event { chat: CHAT, seq: Seq(1), prev: Seq::ZERO, at: Timestamp(0), kind });
        let forgotten = Change::User { user: user(1), at: Timestamp(0) };
        let work = work(&[old, forgotten], Span::seconds(60));
        let is_expire = |proposal: &Proposal| matches!(proposal, Proposal::Expire { users, chats, events } if *users == [user(1).id] && *chats == [CHAT] && *events == [(CHAT, Seq(1))]);
        tokio::time::advance(MINUTE).await;
        // The sequencer removes nothing, so the next sweep finds the same again.
        let mut found = 0;
        while found < 2 {
            work.recorder.proposed.notified().await;
            found += work.recorder.take().iter().filter(|proposal| is_expire(proposal)).count();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_expired_is_removed_by_the_node_whose_duty_it_is_and_only_while_it_is() {
        let forgotten = Change::User { user: user(1), at: Timestamp(0) };
        let (tell, is_mine) = watch::channel(false);
        let work = work_with(Duty::Shared(is_mine), &[forgotten], Span::seconds(60));
        let expires = |work: &Work| {
            let noted = work.recorder.take();
            noted.iter().filter(|proposal| matches!(proposal, Proposal::Expire { .. })).count()
        };
        sleep(MINUTE * 10).await;
        assert_eq!(expires(&work), 0);
        tell.send(true).unwrap();
        while expires(&work) == 0 {
            work.recorder.proposed.notified().await;
        }
        // The sequencer removes nothing, so the sweep would go on as long as it may.
        tell.send(false).unwrap();
        sleep(Duration::from_secs(1)).await;
        work.recorder.take();
        sleep(MINUTE * 10).await;
        assert_eq!(expires(&work), 0);
        let _guard = work.presence.join(CHAT, user(2), Arc::default());
        sleep(Duration::from_secs(1)).await;
        assert_ne!(touched(&work.recorder.take()), 0, "who is active is noted all the same");
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_of_the_stream_is_followed_by_the_node_on_duty() {
        const HOUR: i64 = 3_600_000;
        for (is_mine, leap, after) in [(true, HOUR, 61), (true, -HOUR, 4), (false, HOUR, 600)] {
            let store = Arc::new(Store::replica_in_memory().unwrap());
            let log = LogState {
                epoch: domain::Epoch::from_bytes([1; ID_BYTES]),
                seq: Seq(1),
                at: Timestamp::default(),
            };
            let clock = LogClock::new(Timestamp(1_800_000_000_000), -leap);
            store.begin_replica(None, log, &ReplicaState::beginning(1, LIFETIMES.into(), clock)).unwrap();
            let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, clock::system()));
            let recorder = Arc::new(RecordingSequencer::default());
            let sequencer: Arc<dyn Sequencer> = Arc::clone(&recorder) as _;
            let duty = Duty::Shared(watch::Sender::new(is_mine).subscribe());
            let every = Span::seconds(3_600);
            let sweep = Sweeper::new(store, sequencer, presence, clock::system(), None, duty, every);
            let sweeping = tokio::spawn(async move { sweep.run().await });
            sleep(Duration::from_secs(after - 3)).await;
            let set = |proposed: &[Proposal]| proposed.iter().any(|one| matches!(one, Proposal::ClockSet(_)));
            assert!(!set(&recorder.take()), "{leap}");
            sleep(Duration::from_secs(4)).await;
            let proposed = recorder.take();
            assert_eq!(proposed.contains(&Proposal::ClockSet(leap)), is_mine, "{leap}: {proposed:?}");
            sweeping.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_duty_is_asked_for_again_after_a_note_that_took_long() {
        let forgotten = Change::User { user: user(1), at: Timestamp(0) };
        let (tell, is_mine) = watch::channel(true);
        let work = work_with(Duty::Shared(is_mine), &[forgotten], Span::seconds(60));
        let _guard = work.presence.join(CHAT, user(2), Arc::default());
        sleep(Duration::from_secs(59)).await;
        *work.recorder.waiting.lock().unwrap() = Some(Vec::new());
        sleep(MINUTE).await;
        tell.send(false).unwrap();
        work.recorder.take();
        let waiting = work.recorder.waiting.lock().unwrap().take().unwrap();
        waiting.into_iter().for_each(|outcome| outcome.send(Ok(Seq(1))).unwrap());
        sleep(MINUTE).await;
        let noted = work.recorder.take();
        assert!(!noted.iter().any(|proposal| matches!(proposal, Proposal::Expire { .. })), "{noted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_of_several_nodes_is_never_silent_for_long_while_one_can_write() {
        let store = Store::replica_in_memory().unwrap();
        let log =
            LogState { epoch: Epoch::from_bytes([1; ID_BYTES]), seq: Seq::ZERO, at: Timestamp::default() };
        let mut state = ReplicaState::beginning(7, LIFETIMES.into(), LogClock::default());
        store.begin_replica(None, log, &state).unwrap();
        let store = Arc::new(store);
        let (tell, is_mine) = watch::channel(false);
        let work = work_on(Arc::clone(&store), Duty::Shared(is_mine), Span::seconds(3_600));
        sleep(MINUTE + Duration::from_secs(1)).await;
        assert_eq!(work.recorder.take(), [], "another node does it");
        tell.send(true).unwrap();
        for _ in 0..10 {
            sleep(Duration::from_secs(10)).await;
            state.place += 1;
            store.begin_replica(None, log, &state).unwrap();
        }
        assert_eq!(work.recorder.take(), [], "there are others");
        sleep(Duration::from_secs(31)).await;
        let nothing = Proposal::Touch { users: Vec::new(), chats: Vec::new() };
        let noted = work.recorder.take();
        assert!(!noted.is_empty() && noted.iter().all(|proposal| *proposal == nothing), "{noted:?}");
        *work.recorder.waiting.lock().unwrap() = Some(Vec::new());
        sleep(MINUTE * 10).await;
        assert_eq!(work.recorder.take(), [nothing], "one waits, and no more");
    }

    #[tokio::test(start_paused = true)]
    async fn the_invites_of_users_who_leave_are_withdrawn_and_those_of_others_are_not() {
        let (nickname, title) = (Nickname::friendly(1), Title::parse("Two").unwrap());
        let (visibility, guest) = (Visibility::Private, Some(user(2)));
        let kind = EventKind::Started { owner: user(1).id, nickname, title, visibility, guest };
        let at = clock::system()();
        let started = Change::Chat(Event { chat: CHAT, seq: Seq(1), prev: Seq::ZERO, at, kind });
        let work = work(&[started], Span::seconds(3_600));
        let stays = [1, 2, 3].map(|number| work.presence.arrive(user(number).id, Arc::default()));
        drop(stays);
        sleep(GRACE * 2).await;
        assert_eq!(work.recorder.take(), [Proposal::UserLeft(user(1).id)]);
    }
}
