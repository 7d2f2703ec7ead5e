//! Places in a chat: the part of the history around one, and what is new after one.

use std::ops::ControlFlow;

use domain::{
    Chat, ChatId, Epoch, Event, Problem, Seq, UserId,
    page::{History, PAGE_EVENTS},
    place::{
        Answering, Around, EVENTS_AFTER, EVENTS_BEFORE, NEWS_EVENTS, NEWS_MENTIONS, News, Place, has_row,
        is_there, nearest,
    },
};

use super::{Engine, not_readable, pages::reactions_to};
use crate::storage::{Snapshot, StoreError};

/// How much is read for what is new, in bytes, exceeded by at most one event: others of the same thread wait for it.
const NEWS_BYTES: usize = 1024 * 1024;

impl Engine {
    /// Returns the part of a chat's history around a place, if the chat admits the reader.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, those of [`Chat::check_access`] if it does not admit the
    /// user, or [`Problem::NotReadable`] if the database cannot be read.
    pub fn around(&self, chat: ChatId, reader: UserId, place: Place) -> Result<Around, Problem> {
        let view = self.read()?;
        let chat = self.enter(&view, chat, reader)?;
        around(&view, &chat, place, reader).map_err(|error| not_readable(&error))
    }

    /// Returns what is new in a chat since the last event that a reader has seen, if the chat admits them.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, those of [`Chat::check_access`] if it does not admit the
    /// user, or [`Problem::NotReadable`] if the database cannot be read.
    pub fn news(&self, chat: ChatId, reader: UserId, after: Seq) -> Result<News, Problem> {
        let view = self.read()?;
        let chat = self.enter(&view, chat, reader)?;
        news(&view, &chat, reader, after).map_err(|error| not_readable(&error))
    }
}

/// Returns the part of a chat's history around a place: most of it before, since a page without a script opens at its end.
pub(super) fn around(
    view: &Snapshot,
    chat: &Chat,
    place: Place,
    reader: UserId,
) -> Result<Around, StoreError> {
    let at = match place {
        Place::At(seq) => seq,
        // Everything is older: the newest events are shown.
        Place::Since(time) => view.first_since(chat, time)?.unwrap_or(chat.seq),
    };
    // What there is too little of on one side is shown of the other.
    let mut after = view.events_after(chat.id, at, EVENTS_AFTER)?;
    let wanted = EVENTS_BEFORE.max(PAGE_EVENTS.saturating_sub(after.len()));
    let (mut events, earlier) = view.events_before(chat.id, Seq(at.0.saturating_add(1)), wanted)?;
    if !earlier && events.len() < EVENTS_BEFORE {
        after = view.events_after(chat.id, at, PAGE_EVENTS.saturating_sub(events.len()))?;
    }
    events.append(&mut after);
    let later = events.last().is_some_and(|last| last.seq < chat.seq);
    let shown = match place {
        Place::At(seq) => nearest(&events, seq),
        Place::Since(_) => {
            let first = events.iter().find(|event| event.seq >= at && has_row(&event.kind));
            first.map(|event| event.seq).or_else(|| nearest(&events, at))
        }
    };
    let reactions = reactions_to(view, chat.id, &events, reader)?;
    let (at, since) = (place.at(), place.since());
    Ok(Around { chat: chat.id, at, since, shown, events, earlier, later, reactions })
}

/// Returns what is around a place as the history of a page, and whether there is more after it. The cursor to resume from
/// is that of the chat, so that a client gets what comes after the newest event, and what is between by pages.
pub(super) fn history_around(
    view: &Snapshot,
    chat: &Chat,
    epoch: Epoch,
    around: Around,
) -> Result<(History, bool), StoreError> {
    let Around { events, earlier, later, reactions, .. } = around;
    let reacted = view.reacted(chat.id)?;
    Ok((History { epoch, seq: chat.seq, events, earlier, reactions, reacted }, later))
}

/// Returns why a page does not show what its address leads to. `None` if it does.
pub(super) fn notice(place: Place, events: &[Event]) -> Option<Problem> {
    let Place::At(seq) = place else { return None };
    let is_it = |event: &&Event| event.seq == seq;
    let is_gone = !events.iter().find(is_it).is_some_and(is_there);
    is_gone.then_some(Problem::MessageGone)
}

/// Returns the message that is to be answered. `None` if it is gone.
pub(super) fn answering(view: &Snapshot, chat: &Chat, message: Seq) -> Result<Option<Answering>, StoreError> {
    let event = view.event(chat.id, message)?;
    Ok(event.and_then(|event| {
        let quote = event.kind.message()?.quote(event.at);
        Some(Answering { message, quote })
    }))
}

/// Counts from the newest event back, as far as [`NEWS_EVENTS`] and [`NEWS_BYTES`] reach.
fn news(view: &Snapshot, chat: &Chat, reader: UserId, after: Seq) -> Result<News, StoreError> {
    let hidden = view.hidden(reader)?;
    let mut news =
        News { chat: chat.id, after, through: chat.seq, messages: 0, more: false, mentions: Vec::new() };
    let (mut looked_at, mut bytes) = (0, 0);
    view.scan_events_before(chat.id, Seq(chat.seq.0.saturating_add(1)), |event, size| {
        if event.seq <= after {
            return ControlFlow::Break(());
        }
        if looked_at == NEWS_EVENTS || bytes >= NEWS_BYTES {
            news.more = true;
            return ControlFlow::Break(());
        }
        (looked_at, bytes) = (looked_at + 1, bytes + size);
        let is_shown = |author: UserId| author != reader && !hidden.contains(&author);
        if let Some(message) = event.kind.message().filter(|message| is_shown(message.author)) {
            news.messages += 1;
            if news.mentions.len() < NEWS_MENTIONS && message.is_meant_for(reader) {
                news.mentions.push(event.seq);
            }
        }
        ControlFlow::Continue(())
    })?;
    news.mentions.reverse();
    Ok(news)
}
