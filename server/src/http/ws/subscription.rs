//! One chat that one connection watches: a cursor, a seat, and what was sent of the roster.

use std::sync::Arc;

use bytes::Bytes;
use domain::{
    ChatId, Problem, Seq, UserId,
    frame::{Cursor, RESUME_EVENTS, Reached, ServerFrame},
};
use engine::{
    Engine,
    fanout::{Batch, CatchUp, Encoded, FrameSink, Full, Subscriber, Subscription},
    not_readable,
    presence::{MemberGuard, News, TYPING_SIGNALS},
    wire::encode,
};
use tokio::{sync::Notify, time::Instant};

use super::write_half::WriteHalf;

/// Events of the database that are sent at once before the connection looks at anything else.
const BATCH: usize = 128;

/// A watched chat. Dropping it stops watching and leaves.
pub(super) struct ChatSubscription {
    chat: ChatId,
    user: UserId,
    /// Where to begin.
    begins: Seq,
    /// Whether events after the cursor may be in the database that the tail will not show.
    behind: bool,
    subscriber: Arc<Subscriber>,
    subscription: Subscription,
    member_guard: MemberGuard,
    roster: Option<u64>,
    typed_at: Option<Instant>,
}

/// What became of an attempt to send what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// There was nothing.
    Nothing,
    /// A batch, and there may be more.
    Batch,
    /// Nothing can be sent before what waits has gone out.
    Stuck,
    /// Whoever watches was removed from the chat.
    Removed,
}

impl ChatSubscription {
    /// Starts to watch: first the tail, then a look at the database, so that nothing falls between. Gives the frame
    /// that answers the client, after which [`ChatSubscription::send_news`] begins.
    pub(super) fn start(
        engine: &Engine,
        chat: ChatId,
        user: UserId,
        after: Option<Cursor>,
        write_half: &Arc<WriteHalf>,
        wake: &Arc<Notify>,
    ) -> Result<(Self, ServerFrame), Problem> {
        // before the seat: nobody takes a seat in a chat that is not there, or not for them
        engine.enter(&engine.read()?, chat, user)?;
        let subscriber = Subscriber::new(user, Arc::clone(write_half) as _, Arc::clone(wake));
        let (member_guard, subscription) = engine.join(chat, user, &subscriber, wake)?;
        let view = engine.read()?;
        let found = engine.enter(&view, chat, user)?;
        let watch = |begins, behind| Self {
            chat,
            user,
            begins,
            behind,
            subscriber,
            subscription,
            member_guard,
            roster: None,
            typed_at: None,
        };
        if let Some(Cursor { seq, .. }) = after.filter(|cursor| cursor.epoch == engine.epoch())
            && view.can_resume(&found, seq, RESUME_EVENTS).map_err(|error| not_readable(&error))?
        {
            return Ok((watch(seq, true), ServerFrame::Resumed { chat, seq }));
        }
        let history = engine.history(&view, &found)?;
        Ok((watch(history.seq, false), ServerFrame::Snapshot { chat: found, history }))
    }

    /// Sends a batch of what is new.
    pub(super) fn send_news(&mut self, engine: &Engine, write_half: &WriteHalf) -> Result<Sent, Problem> {
        let subscriber = Arc::clone(&self.subscriber);
        let mut cursor = subscriber.cursor();
        let after = *cursor.get_or_insert(self.begins);
        let batch = self.news(engine, after)?;
        // looked at behind the reading: what was said after somebody was removed is not for them
        if !self.member_guard.is_kept() {
            return Ok(Sent::Removed);
        }
        let Some(batch) = batch else { return Ok(Sent::Nothing) };
        Ok(match write_half.try_send(batch.frames()) {
            Ok(()) => {
                *cursor = Some(batch.last());
                Sent::Batch
            }
            Err(Full) => Sent::Stuck,
        })
    }

    /// Which chat.
    pub(super) fn chat(&self) -> ChatId {
        self.chat
    }

    /// What was sent of it.
    pub(super) fn reached(&self) -> Reached {
        Reached { chat: self.chat, seq: self.subscriber.cursor().unwrap_or(self.begins) }
    }

    /// Whoever watches is typing. Where they may not write, nobody is told. More signals than one a second are not looked at.
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

    /// Whoever watches has said something: what they type next is worth telling at once.
    pub(super) fn said(&mut self) {
        self.typed_at = None;
    }

    fn news(&mut self, engine: &Engine, after: Seq) -> Result<Option<Batch>, Problem> {
        if !self.behind {
            match self.subscription.after(after) {
                CatchUp::Nothing => return Ok(None),
                CatchUp::Events(batch) => return Ok(Some(batch)),
                CatchUp::Evicted => self.behind = true,
            }
        }
        let view = engine.read()?;
        if let Err(Problem::Removed) = engine.enter(&view, self.chat, self.user) {
            // the database knows it sooner than the seat does, which is lost next
            return Ok(None);
        }
        let stored = view.events_after(self.chat, after, BATCH).map_err(|error| not_readable(&error))?;
        self.behind = !stored.is_empty();
        let events: Vec<Encoded> = stored.iter().filter_map(Encoded::new).collect();
        Ok(Batch::of(&events))
    }

    /// Who came and who left since this was last asked; nothing where nobody did.
    pub(super) fn roster(&mut self) -> Option<Bytes> {
        let chat = self.chat;
        let (version, frame) = self.member_guard.news(self.roster, |news| {
            encode(&match news {
                News::Whole(roster) => ServerFrame::Roster { chat, roster },
                News::Change(change) => ServerFrame::RosterChange { chat, change },
            })
        })?;
        self.roster = Some(version);
        Some(frame)
    }
}

impl Drop for ChatSubscription {
    fn drop(&mut self) {
        // a shard that is writing to all who followed a moment ago passes them by
        *self.subscriber.cursor() = None;
    }
}
