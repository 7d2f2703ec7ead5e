//! A chat that a connection watches: its cursor, its member guard, and the version of the roster that was sent.

use std::sync::Arc;

use bytes::Bytes;
use domain::{
    ChatId, Problem, Seq, UserId,
    frame::{Cursor, RESUME_EVENTS, Reached, ServerFrame},
};
use engine::{
    Engine,
    fanout::{CatchUp, EncodedEvent, EventBatch, FrameSink, Full, Subscriber, Subscription},
    not_readable,
    presence::{MemberGuard, RosterUpdate, TYPING_SIGNALS},
    storage::{ChangedTallies, StoreError},
    websocket_frame::encode,
};
use tokio::{sync::Notify, time::Instant};

use super::write_half::WriteHalf;

/// The maximum number of events read from the database and sent at once.
const BATCH: usize = 128;

/// A watched chat. Dropping it unsubscribes and leaves the chat.
pub(super) struct ChatSubscription {
    chat: ChatId,
    user: UserId,
    /// The cursor to begin with.
    begins: Seq,
    /// Whether the database may have events after the cursor that the replay buffer does not have.
    behind: bool,
    subscriber: Arc<Subscriber>,
    subscription: Subscription,
    member_guard: MemberGuard,
    /// The newest change of reactions that was sent.
    reacted: Seq,
    /// The newest one there was when the subscription began.
    reacted_before: Seq,
    roster: Option<u64>,
    typed_at: Option<Instant>,
}

/// The result of an attempt to send what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// There is nothing new.
    Nothing,
    /// A batch was sent, and there may be more.
    Batch,
    /// Earlier frames have to be sent first.
    Stuck,
    /// The user was removed from the chat.
    Removed,
}

impl ChatSubscription {
    /// Starts to watch a chat: subscribes to the fan-out, then reads the database, so that no event is missed. Returns
    /// the frame that answers the client; [`ChatSubscription::send_news`] continues after it.
    pub(super) fn start(
        engine: &Engine,
        chat: ChatId,
        user: UserId,
        after: Option<Cursor>,
        write_half: &Arc<WriteHalf>,
        wake: &Arc<Notify>,
    ) -> Result<(Self, ServerFrame), Problem> {
        // before joining: users cannot join a chat that does not exist or does not admit them
        engine.enter(&engine.read()?, chat, user)?;
        let subscriber = Subscriber::new(user, Arc::clone(write_half) as _, Arc::clone(wake));
        let (member_guard, subscription) = engine.join(chat, user, &subscriber, wake)?;
        let view = engine.read()?;
        let found = engine.enter(&view, chat, user)?;
        let before = view.reacted(chat).map_err(|error| not_readable(&error))?;
        let watch = |begins, behind, reacted| Self {
            chat,
            user,
            begins,
            behind,
            subscriber,
            subscription,
            member_guard,
            reacted,
            reacted_before: before,
            roster: None,
            typed_at: None,
        };
        let can_resume = |Cursor { seq, reacted, .. }: &Cursor| {
            Ok(view.can_resume(&found, *seq, RESUME_EVENTS)?
                && reacted.map_or(Ok(true), |reacted| view.can_resume_reactions(chat, reacted))?)
        };
        if let Some(cursor) = after.filter(|cursor| cursor.epoch == engine.epoch())
            && can_resume(&cursor).map_err(|error: StoreError| not_readable(&error))?
        {
            let Cursor { seq, reacted, .. } = cursor;
            return Ok((watch(seq, true, reacted.unwrap_or(before)), ServerFrame::Resumed { chat, seq }));
        }
        let history = engine.history(&view, &found, user)?;
        let (seq, reacted) = (history.seq, history.reacted);
        Ok((watch(seq, false, reacted), ServerFrame::Snapshot { chat: found, history }))
    }

    /// Sends a batch of new events.
    pub(super) fn send_news(&mut self, engine: &Engine, write_half: &WriteHalf) -> Result<Sent, Problem> {
        let subscriber = Arc::clone(&self.subscriber);
        let mut cursor = subscriber.cursor();
        let after = *cursor.get_or_insert(self.begins);
        let batch = self.news(engine, after)?;
        // checked after reading: events after the user was removed must not be sent
        if !self.member_guard.is_kept() {
            return Ok(Sent::Removed);
        }
        let Some(batch) = batch else { return Ok(Sent::Nothing) };
        Ok(match write_half.try_send(batch.frames()) {
            Ok(()) => {
                self.subscription.count_deliveries(&batch, after);
                *cursor = Some(batch.last());
                Sent::Batch
            }
            Err(Full) => Sent::Stuck,
        })
    }

    /// Returns the chat.
    pub(super) fn chat(&self) -> ChatId {
        self.chat
    }

    /// Returns the last position that was sent.
    pub(super) fn reached(&self) -> Reached {
        Reached { chat: self.chat, seq: self.subscriber.cursor().unwrap_or(self.begins) }
    }

    /// Records that the user is typing. Ignored where they may not write, and more often than once a second.
    pub(super) fn typing(&mut self, engine: &Engine) {
        let now = Instant::now();
        if self.typed_at.is_some_and(|at| now < at + TYPING_SIGNALS) {
            return;
        }
        self.typed_at = Some(now);
        if engine.may_write(self.chat, self.user).is_ok() {
            self.member_guard.typing();
        }
    }

    /// Records that the user posted a message: the next typing signal is passed on at once.
    pub(super) fn said(&mut self) {
        self.typed_at = None;
    }

    fn news(&mut self, engine: &Engine, after: Seq) -> Result<Option<EventBatch>, Problem> {
        if !self.behind {
            match self.subscription.after(after) {
                CatchUp::Nothing => return Ok(None),
                CatchUp::Events(batch) => return Ok(Some(batch)),
                CatchUp::Evicted => self.behind = true,
            }
        }
        let view = engine.read()?;
        if let Err(Problem::Removed) = engine.enter(&view, self.chat, self.user) {
            // the database knows of the removal before the guard, which is revoked next
            return Ok(None);
        }
        let stored = view.events_after(self.chat, after, BATCH).map_err(|error| not_readable(&error))?;
        self.behind = !stored.is_empty();
        let events: Vec<EncodedEvent> = stored.iter().filter_map(EncodedEvent::new).collect();
        Ok(EventBatch::of(&events))
    }

    /// Returns the position up to which the connection has been notified of reactions. What is sent of them may not be
    /// newer: the events before that position are in the replay buffer, so a reader who was sent these has all messages
    /// that the reactions belong to.
    pub(super) fn notified_of_reactions(&self) -> Seq {
        self.member_guard.reacted().max(self.reacted_before)
    }

    /// Returns the reactions that have changed up to a position since the last call, encoded, and whether there are more
    /// of them. `None` if there are no changes. May only be called if all events were sent that there were when the
    /// position was returned.
    pub(super) fn reactions(&mut self, engine: &Engine, to: Seq) -> Result<Option<(Bytes, bool)>, Problem> {
        let after = self.reacted;
        if to <= after || !self.member_guard.is_kept() {
            return Ok(None);
        }
        if let Some((reacted, frame)) =
            self.member_guard.known_reactions(after).filter(|(known, _)| *known <= to)
        {
            self.reacted = reacted;
            return Ok(Some((frame, reacted < to)));
        }
        let view = engine.read()?;
        let ChangedTallies { reacted, tallies: changes } =
            view.tallies_since(self.chat, after, to).map_err(|error| not_readable(&error))?;
        self.reacted = reacted;
        // Of messages that were removed since, there is nothing to be sent.
        if changes.is_empty() && reacted >= to {
            return Ok(None);
        }
        let frame = ServerFrame::Reactions { chat: self.chat, reacted, changes };
        let Some(frame) = encode(&frame) else { return Ok(None) };
        self.member_guard.keep_reactions((after, reacted), to, &frame);
        Ok(Some((frame, reacted < to)))
    }

    /// Returns the members who joined, left or changed since the last call, encoded, or `None` if there are no changes.
    pub(super) fn roster(&mut self) -> Option<Bytes> {
        let chat = self.chat;
        let (version, frame) = self.member_guard.news(self.roster, |news| {
            encode(&match news {
                RosterUpdate::Whole(roster) => ServerFrame::Roster { chat, roster },
                RosterUpdate::Change(change) => ServerFrame::RosterChange { chat, change },
            })
        })?;
        self.roster = Some(version);
        Some(frame)
    }
}

impl Drop for ChatSubscription {
    fn drop(&mut self) {
        // a shard that is in the middle of a fan-out skips this subscriber
        *self.subscriber.cursor() = None;
    }
}
