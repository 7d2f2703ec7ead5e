//! The rows of a timeline: what is shown of the events, grouped by day and author.

use std::{cell::Cell, sync::Arc};

use super::{Pending, Timeline};
use crate::{ClientId, Event, EventKind, MessageRef, MessageTally, Nickname, Seq, Timestamp, User, UserId};

/// The longest time between two messages of one author in the same group, in milliseconds.
const GROUP_MILLIS: u64 = 5 * 60 * 1000;

const MINUTE_MILLIS: i64 = 60_000;
const QUARTER_MILLIS: u64 = 15 * 60_000;

/// A row of the timeline, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it shows.
    pub content: RowContent,
    /// Whether it is the first row of a day.
    pub starts_day: bool,
    /// Whether it shows the author's name, instead of belonging to the group of the row above.
    pub starts_group: bool,
    /// The reactions to the message that it shows. `None` if there are none.
    pub tally: Option<Arc<MessageTally>>,
}

/// The content of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowContent {
    /// A stored event.
    Stored(Arc<Event>),
    /// An own message that is not stored yet.
    Pending(Pending),
    /// Adjacent messages of a user whom the reader has hidden.
    Hidden(HiddenMessages),
}

/// Messages that are not shown, as one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HiddenMessages {
    /// The author, with their nickname in the last of these messages.
    pub person: User,
    /// The sequence number of the first.
    pub first: Seq,
    /// The number of messages.
    pub count: usize,
}

/// Identifies a row. The key stays the same for as long as the row is shown: when its message is stored or removed, or
/// becomes the first of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// An event, by its sequence number.
    Seq(Seq),
    /// An own message, by its id.
    Own(ClientId),
    /// Hidden messages, by the sequence number of the first.
    Hidden(Seq),
}

impl Row {
    /// Returns the key of the row within a timeline read by `me`.
    pub fn key(&self, me: UserId) -> RowKey {
        match &self.content {
            RowContent::Pending(pending) => RowKey::Own(pending.client_id),
            RowContent::Hidden(hidden) => RowKey::Hidden(hidden.first),
            RowContent::Stored(event) => match event.kind.message_or_tombstone() {
                Some(message) if message.author == me => RowKey::Own(message.client_id),
                _ => RowKey::Seq(event.seq),
            },
        }
    }
}

impl Timeline {
    /// Returns the rows to show. Days and groups follow the local time: `offset_minutes` gives its offset east of UTC
    /// at a point in time.
    pub fn rows(&self, offset_minutes: impl Fn(Timestamp) -> i32) -> Vec<Row> {
        // Asking a browser for the offset costs more than all else of a row, and it changes at full quarters only.
        let known = Cell::new(None::<(u64, i32)>);
        let day = |at: Timestamp| {
            let quarter = at.0 / QUARTER_MILLIS;
            let offset = match known.get() {
                Some((same, offset)) if same == quarter => offset,
                _ => offset_minutes(at),
            };
            known.set(Some((quarter, offset)));
            local_time(at, offset).utc_day()
        };
        let stored = self
            .shown_events()
            .into_iter()
            .map(|event| (event.at, author_of(&event), RowContent::Stored(event)));
        let pending =
            self.pending.iter().map(|own| (own.at, Some(self.me), RowContent::Pending(own.clone())));
        let mut before: Option<(Timestamp, Option<UserId>)> = None;
        let mut rows: Vec<Row> = Vec::new();
        for (at, author, content) in stored.chain(pending) {
            let starts_day = before.is_none_or(|(then, _)| day(at) != day(then));
            let starts_group = starts_day
                || author.is_none()
                || before.is_none_or(|(then, who)| who != author || at.0.abs_diff(then.0) > GROUP_MILLIS);
            before = Some((at, author));
            let content = self.replace_if_hidden(content);
            match (rows.last_mut().map(|row| &mut row.content), &content) {
                (Some(RowContent::Hidden(above)), RowContent::Hidden(next))
                    if above.person.id == next.person.id && !starts_day =>
                {
                    above.person = next.person.clone();
                    above.count += 1;
                }
                _ => {
                    let tally = match &content {
                        RowContent::Stored(event) => self.tally(event.seq).cloned(),
                        RowContent::Pending(_) | RowContent::Hidden(_) => None,
                    };
                    rows.push(Row { content, starts_day, starts_group, tally });
                }
            }
        }
        rows
    }

    /// Returns the content to show: that of the row, or its replacement if it is a message of a hidden user.
    pub(super) fn replace_if_hidden(&self, content: RowContent) -> RowContent {
        let RowContent::Stored(event) = &content else { return content };
        let Some(MessageRef { author: id, nickname, .. }) = event.kind.message_or_tombstone() else {
            return content;
        };
        if !self.hidden.contains(&id) {
            return content;
        }
        let person = User { id, nickname: nickname.clone() };
        RowContent::Hidden(HiddenMessages { person, first: event.seq, count: 1 })
    }

    /// Whether the event at this place ends a row: it has one, which no later event shares. Renames of one user share a
    /// row, unless they lead back to the first name, and messages of a hidden user do.
    pub(super) fn ends_row(&self, place: usize) -> bool {
        let Some((event, later)) = self.events.get(place..).and_then(<[_]>::split_first) else {
            return false;
        };
        match &event.kind {
            _ if self.has_no_row(event) => false,
            EventKind::Renamed { user, to, .. } => {
                let by_them = |event: &Arc<Event>| as_rename(event).is_some_and(|(same, ..)| same == *user);
                if later.first().is_some_and(by_them) {
                    return false;
                }
                let earlier = self.events[..place].iter().rev().take_while(|event| by_them(event));
                as_rename(earlier.last().unwrap_or(event)).is_some_and(|(_, from, _)| from != to)
            }
            _ => author_of(event).filter(|author| self.hidden.contains(author)).is_none_or(|author| {
                later.iter().find(|event| !self.has_no_row(event)).and_then(|event| author_of(event))
                    != Some(author)
            }),
        }
    }

    /// Whether an event is not shown, or only in place of a message.
    fn has_no_row(&self, event: &Event) -> bool {
        match &event.kind {
            EventKind::MessageRemoved { .. }
            | EventKind::MessageEdited { .. }
            | EventKind::MessageRestored { .. }
            | EventKind::OwnRemoved { .. } => true,
            // a hidden user gets none to say things with
            EventKind::Renamed { user, .. } => self.hidden.contains(user),
            _ => false,
        }
    }

    /// Returns the events worth showing: renames of one user in a row are merged.
    pub(super) fn shown_events(&self) -> Vec<Arc<Event>> {
        let mut shown: Vec<Arc<Event>> = Vec::with_capacity(self.events.len());
        for event in &self.events {
            let before = shown.last().and_then(|before| as_rename(before));
            match (before, as_rename(event)) {
                (Some((who, from, _)), Some((same, _, to))) if who == same => {
                    let kind = EventKind::Renamed { user: who, from: from.clone(), to: to.clone() };
                    shown.pop();
                    shown.push(Arc::new(Event { kind, ..Event::clone(event) }));
                }
                _ => shown.push(Arc::clone(event)),
            }
        }
        // a rename that ends at the first name needs no row
        shown.retain(|event| {
            !self.has_no_row(event) && as_rename(event).is_none_or(|(_, from, to)| from != to)
        });
        shown
    }
}

/// Returns the author of the message that an event is, stored or removed. `None` if the event is another.
pub fn author_of(event: &Event) -> Option<UserId> {
    event.kind.message_or_tombstone().map(|message| message.author)
}

/// Returns who was renamed, from what and to what. `None` if the event is no rename.
fn as_rename(event: &Event) -> Option<(UserId, &Nickname, &Nickname)> {
    match &event.kind {
        EventKind::Renamed { user, from, to } => Some((*user, from, to)),
        _ => None,
    }
}

/// Returns a point in time moved so that its UTC reading is the local time, `offset_minutes` east of UTC.
pub fn local_time(at: Timestamp, offset_minutes: i32) -> Timestamp {
    Timestamp(at.0.saturating_add_signed(i64::from(offset_minutes) * MINUTE_MILLIS))
}
