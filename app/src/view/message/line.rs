//! The lines of a timeline.

use std::sync::Arc;

use domain::{
    ClientId, MessageContent, MessageRef, MessageTally, Nickname, Picture, Quote, Seq, Timestamp, UserId,
    timeline::{Delivery, Pending, Row, RowContent, RowKey, Timeline, local_time},
};

/// A line of the timeline.
#[derive(Clone)]
pub enum Line {
    /// The beginning of a day.
    Day(Timestamp),
    /// The line above the messages that are new since the reader looked away.
    New,
    /// Events between the lines above and below are not loaded.
    Gap,
    /// A message, an event or an own message that waits.
    Row(Row),
}

/// Identifies a line across versions of the timeline.
#[derive(PartialEq, Eq, Hash)]
pub enum LineKey {
    /// A day, by its number of days since 1970 in the reader's time zone.
    Day(u64),
    /// The line above the new messages.
    New,
    /// The gap of events that are not loaded.
    Gap,
    /// A row, by its key.
    Row(RowKey),
}

/// Returns the lines of a timeline, in order.
pub fn lines(
    timeline: &Timeline,
    offset: impl Fn(Timestamp) -> i32 + Copy,
    first_new: Option<Seq>,
) -> Vec<Line> {
    let rows = timeline.rows(offset);
    let mut lines = Vec::with_capacity(rows.len() + 2);
    let mut has_gap = timeline.has_later();
    for row in rows {
        if has_gap && matches!(row.content, RowContent::Pending(_)) {
            has_gap = false;
            lines.push(Line::Gap);
        }
        let (at, seq) = match &row.content {
            RowContent::Stored(event) => (event.at, Some(event.seq)),
            RowContent::Pending(pending) => (pending.at, None),
            RowContent::Hidden(hidden) => {
                (timeline.event(hidden.first).map(|event| event.at).unwrap_or_default(), None)
            }
        };
        if row.starts_day {
            lines.push(Line::Day(at));
        }
        if seq.is_some() && seq == first_new {
            lines.push(Line::New);
        }
        lines.push(Line::Row(row));
    }
    lines
}

impl Line {
    /// Returns the key of the line. `offset` returns the reader's offset from UTC at a point in time, in minutes.
    pub fn key(&self, me: UserId, offset: impl Fn(Timestamp) -> i32) -> LineKey {
        match self {
            Self::Day(at) => LineKey::Day(local_time(*at, offset(*at)).utc_day()),
            Self::New => LineKey::New,
            Self::Gap => LineKey::Gap,
            Self::Row(row) => LineKey::Row(row.key(me)),
        }
    }

    /// Returns the position of the stored event that the line shows, the first of several. `None` for other lines.
    pub fn seq(&self) -> Option<Seq> {
        match self {
            Self::Row(Row { content: RowContent::Stored(event), .. }) => Some(event.seq),
            Self::Row(Row { content: RowContent::Hidden(hidden), .. }) => Some(hidden.first),
            _ => None,
        }
    }

    /// Whether the line shows a message that is meant for this user: it mentions or answers them.
    pub(super) fn is_meant_for(&self, user: UserId) -> bool {
        let Self::Row(Row { content: RowContent::Stored(event), .. }) = self else { return false };
        event.kind.message().is_some_and(|message| message.is_meant_for(user))
    }

    /// Returns the message that the line shows, by its position, and the reactions to it. `None` if there are none.
    pub(super) fn tally(&self) -> Option<(Seq, &MessageTally)> {
        let Self::Row(Row { content: RowContent::Stored(event), tally, .. }) = self else { return None };
        tally.as_deref().map(|tally| (event.seq, tally))
    }

    /// Whether the line shows a message that says what its author does.
    pub(super) fn is_action(&self) -> bool {
        match self {
            Self::Row(Row { content: RowContent::Stored(event), .. }) => {
                event.kind.message().is_some_and(|message| message.is_action)
            }
            Self::Row(Row { content: RowContent::Pending(pending), .. }) => pending.is_action,
            _ => false,
        }
    }

    /// Returns the message that the one in this line answers, with its quote: `None` inside if that is gone, and no quote
    /// where it is not known since the message waits. `None` if it answers nothing.
    pub(super) fn answers(&self) -> Option<(Seq, Option<Option<&Quote>>)> {
        let Self::Row(row) = self else { return None };
        match &row.content {
            RowContent::Stored(event) => {
                let message = event.kind.message()?;
                Some((message.reply_to?, Some(message.quote.as_ref())))
            }
            RowContent::Pending(pending) => Some((pending.reply_to?, None)),
            RowContent::Hidden(_) => None,
        }
    }

    /// Returns when the message that the line shows was edited. `None` if it was not, or the line shows none.
    pub(super) fn edited_at(&self) -> Option<Timestamp> {
        match self {
            Self::Row(Row { content: RowContent::Stored(event), .. }) => event.kind.message()?.edited_at,
            _ => None,
        }
    }

    /// Returns the message that the line shows. `None` if it shows none.
    pub(super) fn message(&self) -> Option<ShownMessage<'_>> {
        let Self::Row(row) = self else { return None };
        let message = |author, nickname, client_id, at, content, pictures, delivery| {
            Some(ShownMessage { author, nickname, client_id, at, content, pictures, delivery })
        };
        match &row.content {
            RowContent::Stored(event) => {
                let MessageRef { author, nickname, client_id, content } =
                    event.kind.message_or_tombstone()?;
                let delivery = Delivery::Stored(event.seq);
                let pictures = event.kind.message().map(|said| &*said.pictures).unwrap_or_default();
                let pictures = ShownPictures::Stored(pictures);
                message(Some(author), Some(nickname), client_id, event.at, content, pictures, delivery)
            }
            RowContent::Pending(Pending { client_id, body, at, problem, pictures, .. }) => {
                let (content, delivery) = (MessageContent::Text(body, None), Delivery::Waits(*problem));
                let pictures = ShownPictures::Waiting(pictures.len());
                message(None, None, *client_id, *at, content, pictures, delivery)
            }
            RowContent::Hidden(_) => None,
        }
    }
}

/// Whether two tallies are one. A changed one is a new one.
fn is_same_tally(one: &Option<Arc<MessageTally>>, other: &Option<Arc<MessageTally>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

impl PartialEq for Line {
    /// Whether the line looks the same. Only meaningful for lines with the same key.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Row(one), Self::Row(other)) => {
                let is_same = match (&one.content, &other.content) {
                    (RowContent::Stored(one), RowContent::Stored(other)) => Arc::ptr_eq(one, other),
                    (RowContent::Pending(one), RowContent::Pending(other)) => one.problem == other.problem,
                    (RowContent::Hidden(one), RowContent::Hidden(other)) => one.count == other.count,
                    _ => false,
                };
                is_same && one.starts_group == other.starts_group && is_same_tally(&one.tally, &other.tally)
            }
            (Self::Day(one), Self::Day(other)) => one == other,
            _ => true,
        }
    }
}

/// A message, stored or waiting.
pub(super) struct ShownMessage<'a> {
    /// The author. `None` if the message waits: then it is the reader's.
    pub(super) author: Option<UserId>,
    /// The author's nickname, stored with the message. `None` if the message waits.
    pub(super) nickname: Option<&'a Nickname>,
    /// The id that the client made for it.
    pub(super) client_id: ClientId,
    /// When it was stored, or written if it waits.
    pub(super) at: Timestamp,
    /// The text, unless it was removed.
    pub(super) content: MessageContent<'a>,
    /// The pictures.
    pub(super) pictures: ShownPictures<'a>,
    /// Whether it is stored.
    pub(super) delivery: Delivery,
}

/// The pictures of a message.
pub(super) enum ShownPictures<'a> {
    /// Those of a stored message.
    Stored(&'a [Picture]),
    /// The number of those of a message that waits. They cannot be shown yet.
    Waiting(usize),
}
