//! One chat that one connection watches: a cursor, a seat, and what was sent of the roster.

use axum::extract::ws::Utf8Bytes;
use domain::{
    ChatId, Problem, Seq, UserId,
    frame::{Cursor, RESUME_EVENTS, Reached, ServerFrame},
};

use super::connection::encode;
use tokio::time::Instant;

use crate::{
    presence::{News, Seat, TYPING_SIGNALS},
    service::{Service, not_readable},
    tail::{Ahead, Bell, Encoded, Watching},
};

/// Events that are sent at once before the connection looks at anything else.
const BATCH: usize = 128;

/// A watched chat. Dropping it stops watching and leaves.
pub(super) struct Watch {
    chat: ChatId,
    user: UserId,
    cursor: Seq,
    /// Whether events after the cursor may be in the database that the tail will not show.
    behind: bool,
    tail: Watching,
    seat: Seat,
    roster: Option<u64>,
    typed_at: Option<Instant>,
}

impl Watch {
    /// Starts to watch: first the bell, then a look at the database, so that nothing falls between. Gives the frame
    /// that answers the client, after which [`Watch::news`] goes on.
    pub(super) fn start(
        service: &Service,
        chat: ChatId,
        user: UserId,
        after: Option<Cursor>,
        bell: &Bell,
    ) -> Result<(Self, ServerFrame), Problem> {
        // before the seat: nobody takes a seat in a chat that is not there, or not for them
        service.enter(&service.read()?, chat, user)?;
        let (seat, tail) = service.join(chat, user, bell)?;
        let view = service.read()?;
        let found = service.enter(&view, chat, user)?;
        if let Some(Cursor { seq, .. }) = after.filter(|cursor| cursor.epoch == service.epoch())
            && view.can_resume(&found, seq, RESUME_EVENTS).map_err(|error| not_readable(&error))?
        {
            let watch =
                Self { chat, user, cursor: seq, behind: true, tail, seat, roster: None, typed_at: None };
            return Ok((watch, ServerFrame::Resumed { chat, seq }));
        }
        let history = service.history(&view, &found)?;
        let cursor = history.seq;
        let watch = Self { chat, user, cursor, behind: false, tail, seat, roster: None, typed_at: None };
        Ok((watch, ServerFrame::Snapshot { chat: found, history }))
    }

    /// The frames to send now, a batch of them at most. An empty batch says that the client has everything.
    pub(super) fn news(&mut self, service: &Service) -> Result<Vec<Utf8Bytes>, Problem> {
        let events = self.events(service)?;
        if let Some(newest) = events.last() {
            self.cursor = newest.seq;
        }
        let mut frames: Vec<Utf8Bytes> = events.into_iter().map(|event| event.frame).collect();
        frames.extend(self.roster());
        Ok(frames)
    }

    /// What was sent of it.
    pub(super) fn reached(&self) -> Reached {
        Reached { chat: self.chat, seq: self.cursor }
    }

    /// Whether whoever watches was removed from the chat.
    pub(super) fn is_removed(&self) -> bool {
        !self.seat.is_kept()
    }

    /// Whoever watches is typing. Where they may not write, nobody is told. More signals than one a second are not looked at.
    pub(super) fn typing(&mut self, service: &Service) {
        let now = Instant::now();
        if self.typed_at.is_some_and(|at| now < at + TYPING_SIGNALS) {
            return;
        }
        self.typed_at = Some(now);
        if service.may_write(self.chat, self.user).is_ok() {
            self.seat.typing();
        }
    }

    fn events(&mut self, service: &Service) -> Result<Vec<Encoded>, Problem> {
        if !self.behind {
            match self.tail.after(self.cursor, BATCH) {
                Ahead::Nothing => return Ok(Vec::new()),
                Ahead::Events(events) => return Ok(events),
                Ahead::InStore => self.behind = true,
            }
        }
        let view = service.read()?;
        if let Err(Problem::Removed) = service.enter(&view, self.chat, self.user) {
            // the database knows it sooner than the seat does, which is lost next
            return Ok(Vec::new());
        }
        let stored =
            view.events_after(self.chat, self.cursor, BATCH).map_err(|error| not_readable(&error))?;
        self.behind = !stored.is_empty();
        Ok(stored.iter().filter_map(Encoded::new).collect())
    }

    fn roster(&mut self) -> Option<Utf8Bytes> {
        let chat = self.chat;
        let (version, frame) = match self.seat.news(self.roster)? {
            News::Whole(roster) => (roster.version, ServerFrame::Roster { chat, roster }),
            News::Change(change) => (change.version, ServerFrame::RosterChange { chat, change }),
        };
        self.roster = Some(version);
        encode(&frame)
    }
}
