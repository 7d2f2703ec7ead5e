//! Places in a chat: what leads to one, the events around it, and what is new after one.

use serde::{Deserialize, Serialize};

use crate::{ChatId, Event, EventKind, MessageTally, Quote, Seq, Timestamp};

/// The number of events that are shown up to a place and including it.
pub const EVENTS_BEFORE: usize = 42;
/// The number of events that are shown after a place.
pub const EVENTS_AFTER: usize = 8;
/// The maximum number of events that are looked at for what is new.
pub const NEWS_EVENTS: usize = 1_000;
/// The maximum number of mentions that are named among what is new.
pub const NEWS_MENTIONS: usize = 100;

/// A place in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// At an event, by its sequence number.
    At(Seq),
    /// At the first event since a point in time.
    Since(Timestamp),
}

/// The events around a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Around {
    /// The chat of the events.
    pub chat: ChatId,
    /// The event that was asked for. `None` if a point in time was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Seq>,
    /// The point in time that was asked for. `None` if an event was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The event to show: the one that was asked for or, if that is gone, the nearest one before it, or else after it.
    /// `None` if there are no events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Seq>,
    /// The events, oldest first, without a gap.
    pub events: Vec<Event>,
    /// Whether there are earlier ones.
    pub earlier: bool,
    /// Whether there are later ones.
    pub later: bool,
    /// The reactions to these messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<MessageTally>,
}

/// What is new in a chat for one reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// The chat.
    pub chat: ChatId,
    /// The last event that the reader has seen.
    pub after: Seq,
    /// The last event that was looked at.
    pub through: Seq,
    /// The number of messages between them, without the reader's own and those of users whom the reader has hidden.
    pub messages: usize,
    /// Whether there may be more: only the newest events are looked at, at most [`NEWS_EVENTS`], and fewer if they are long.
    pub more: bool,
    /// Those of these messages that are meant for the reader, oldest first: the newest [`NEWS_MENTIONS`].
    pub mentions: Vec<Seq>,
}

/// The message that the message being written answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answering {
    /// Its sequence number.
    pub message: Seq,
    /// What it said when the answer was begun.
    pub quote: Quote,
}

impl Place {
    /// Returns the place that a request means, by a sequence number or a point in time. `None` if it has neither.
    pub fn of(at: Option<Seq>, since: Option<Timestamp>) -> Option<Self> {
        at.map(Self::At).or_else(|| since.map(Self::Since))
    }

    /// Returns the sequence number. `None` if it is a point in time.
    pub fn at(self) -> Option<Seq> {
        match self {
            Self::At(seq) => Some(seq),
            Self::Since(_) => None,
        }
    }

    /// Returns the point in time. `None` if it is a sequence number.
    pub fn since(self) -> Option<Timestamp> {
        match self {
            Self::At(_) => None,
            Self::Since(time) => Some(time),
        }
    }
}

impl Around {
    /// Returns the place that was asked for. `None` if the answer has none.
    pub fn place(&self) -> Option<Place> {
        Place::of(self.at, self.since)
    }
}

/// Whether events of this kind are shown in a place of their own.
pub fn has_row(kind: &EventKind) -> bool {
    let changes_others = matches!(kind, EventKind::MessageRemoved { .. } | EventKind::OwnRemoved { .. });
    !changes_others && kind.amends().is_none()
}

/// Whether a link to this event leads to what it led to when it was made: it is shown, and no message that was removed.
pub fn is_there(event: &Event) -> bool {
    has_row(&event.kind) && event.kind.message_or_tombstone().is_none_or(|said| !said.content.is_removed())
}

/// Returns the event to show for a position: that itself if it has a row, or else the nearest one before it, or after it.
/// `None` if none of the events has one.
pub fn nearest(events: &[Event], at: Seq) -> Option<Seq> {
    let before = events.iter().rev().find(|event| event.seq <= at && has_row(&event.kind));
    let after = || events.iter().find(|event| event.seq > at && has_row(&event.kind));
    before.or_else(after).map(|event| event.seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, ClientId, Message, Nickname, RemovedBy, UserId, id::ID_BYTES};

    fn event(seq: u64, kind: EventKind) -> Event {
        let chat = ChatId::from_bytes([7; ID_BYTES]);
        Event { chat, seq: Seq(seq), prev: Seq(seq - 1), at: Timestamp(seq), kind }
    }

    fn said(seq: u64) -> Event {
        let (author, client_id) = (UserId::from_bytes([1; ID_BYTES]), ClientId::from_bytes([2; ID_BYTES]));
        let body = Body::parse("hello").unwrap();
        let message = Message::plain(author, Nickname::parse("Ana").unwrap(), client_id, body);
        event(seq, EventKind::Said(Box::new(message)))
    }

    fn edited(seq: u64, message: u64) -> Event {
        event(seq, EventKind::MessageEdited { message: Seq(message), wording: None })
    }

    #[test]
    fn the_nearest_event_is_the_one_asked_for_or_one_that_is_shown() {
        let events = [said(3), edited(4, 3), said(6), edited(8, 6)];
        for (at, expected) in [(6, 6), (3, 3), (4, 3), (5, 3), (7, 6), (8, 6), (99, 6), (1, 3)] {
            assert_eq!(nearest(&events, Seq(at)), Some(Seq(expected)), "{at}");
        }
        assert_eq!(nearest(&events[1..2], Seq(4)), None);
        assert_eq!(nearest(&[], Seq(4)), None);
    }

    #[test]
    fn a_message_that_was_removed_is_not_what_a_link_to_it_meant() {
        assert!(is_there(&said(3)));
        assert!(!is_there(&said(3).redact(RemovedBy::Author)));
        assert!(!is_there(&edited(4, 3)));
    }

    #[test]
    fn answers_are_written_as_the_protocol_says() {
        let chat = ChatId::from_bytes([7; ID_BYTES]);
        let around = Around {
            chat,
            at: Some(Seq(58)),
            since: None,
            shown: Some(Seq(57)),
            events: Vec::new(),
            earlier: true,
            later: false,
            reactions: Vec::new(),
        };
        let json =
            r#"{"chat":"0w3ge1r70w3ge1r7","at":58,"shown":57,"events":[],"earlier":true,"later":false}"#;
        assert_eq!(serde_json::to_string(&around).unwrap(), json);
        assert_eq!(serde_json::from_str::<Around>(json).unwrap(), around);
        let news = News {
            chat,
            after: Seq(41),
            through: Seq(90),
            messages: 37,
            more: false,
            mentions: vec![Seq(60)],
        };
        let json = r#"{"chat":"0w3ge1r70w3ge1r7","after":41,"through":90,"messages":37,"more":false,"mentions":[60]}"#;
        assert_eq!(serde_json::to_string(&news).unwrap(), json);
    }
}
