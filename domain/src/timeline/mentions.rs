//! The messages that are meant for the reader, and that the reader has not seen.

use super::Timeline;
use crate::{Event, EventKind, Seq, UserId};

/// The maximum number of messages that are remembered as meant for the reader. Later ones are not counted.
pub const MENTIONS_REMEMBERED: usize = 100;

/// A message that is meant for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mentioned {
    seq: Seq,
    /// The author. `None` if it is not known.
    author: Option<UserId>,
}

impl Mentioned {
    /// Whether it comes after a position. `None` is before all.
    pub(super) fn is_after(&self, position: Option<Seq>) -> bool {
        Some(self.seq) > position
    }
}

impl Timeline {
    /// Returns the positions of the messages that mention or answer the reader and that the reader has not seen, oldest
    /// first, loaded or not, without those of hidden users. At most [`MENTIONS_REMEMBERED`].
    pub fn mentions(&self) -> impl Iterator<Item = Seq> {
        let is_shown = |author: UserId| !self.hidden.contains(&author);
        let unseen = self.mentions.iter().filter(|mentioned| mentioned.seq > self.seen);
        unseen.filter(move |mentioned| mentioned.author.is_none_or(is_shown)).map(|mentioned| mentioned.seq)
    }

    /// Adds messages that are meant for the reader and may not be loaded, as the server has found them.
    pub fn add_mentions(&mut self, found: impl IntoIterator<Item = Seq>) {
        for seq in found {
            self.remember(Mentioned { seq, author: None });
        }
    }

    /// Remembers a message if it is meant for the reader, who has not seen it.
    pub(super) fn note_mention(&mut self, event: &Event) {
        let Some(message) = event.kind.message().filter(|message| message.is_meant_for(self.me)) else {
            return;
        };
        let author = message.author;
        if event.seq > self.seen && author != self.me {
            self.remember(Mentioned { seq: event.seq, author: Some(author) });
        }
    }

    /// Forgets the messages that an event removes.
    pub(super) fn forget_removed_mentions(&mut self, event: &Event) {
        if let EventKind::MessageRemoved { message, .. } = &event.kind {
            self.mentions.retain(|mentioned| mentioned.seq != *message);
        }
        if let Some((authors, _)) = event.clears() {
            // Those whose author is not known may be among what is gone, and then nothing would lead to them.
            let is_left = |author: UserId| !authors.contains(&author);
            let event = event.seq;
            self.mentions.retain(|mentioned| mentioned.author.map_or(mentioned.seq > event, is_left));
        }
    }

    fn remember(&mut self, new: Mentioned) {
        self.mentions.retain(|mentioned| mentioned.seq > self.seen);
        match self.mentions.binary_search_by_key(&new.seq, |mentioned| mentioned.seq) {
            Ok(place) => {
                if let Some(mentioned) = self.mentions.get_mut(place) {
                    mentioned.author = mentioned.author.or(new.author);
                }
            }
            Err(place) if self.mentions.len() < MENTIONS_REMEMBERED => self.mentions.insert(place, new),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Body, ChatId, ClientId, Epoch, Expiry, Lifetimes, Message, RemovedBy, Timestamp, User, id::ID_BYTES,
        page::History,
    };

    const ME: UserId = UserId::from_bytes([1; ID_BYTES]);
    const OTHER: UserId = UserId::from_bytes([2; ID_BYTES]);

    fn event(seq: u64, kind: EventKind) -> Event {
        let chat = ChatId::from_bytes([7; ID_BYTES]);
        Event { chat, seq: Seq(seq), prev: Seq(seq - 1), at: Timestamp(seq), kind }
    }

    fn said(seq: u64, author: UserId, mentions: &[UserId]) -> Event {
        let (client_id, body) = (ClientId::from_bytes([9; ID_BYTES]), Body::parse("hello").unwrap());
        let message = Message::plain(author, User::new(author).nickname, client_id, body);
        event(seq, EventKind::Said(Box::new(Message { mentions: mentions.to_vec(), ..message })))
    }

    fn history(events: Vec<Event>) -> History {
        let seq = events.last().map_or(Seq::ZERO, |event| event.seq);
        History {
            epoch: Epoch::from_bytes([1; ID_BYTES]),
            seq,
            events,
            earlier: true,
            reactions: Vec::new(),
            reacted: Seq::ZERO,
        }
    }

    /// A timeline with these events after the first page, which is empty.
    fn with(events: impl IntoIterator<Item = Event>) -> Timeline {
        let mut timeline = Timeline::new(ME, history(Vec::new()));
        for event in events {
            timeline.apply(event);
        }
        timeline
    }

    fn mentions(timeline: &Timeline) -> Vec<u64> {
        timeline.mentions().map(|Seq(seq)| seq).collect()
    }

    #[test]
    fn messages_that_mention_or_answer_the_reader_are_counted_until_they_are_seen() {
        let answer = match said(2, OTHER, &[]).kind {
            EventKind::Said(said) => {
                event(2, EventKind::Said(Box::new(Message { reply_author: Some(ME), ..*said })))
            }
            other => event(2, other),
        };
        let mut timeline = with([
            said(1, OTHER, &[ME]),
            answer,
            said(3, OTHER, &[OTHER]),
            said(4, ME, &[ME]),
            said(5, OTHER, &[]),
        ]);
        assert_eq!(mentions(&timeline), [1, 2]);
        assert_eq!(timeline.unread_count(), 4);
        timeline.mark_seen();
        assert!(mentions(&timeline).is_empty());
        timeline.apply(said(6, OTHER, &[ME]));
        assert_eq!(mentions(&timeline), [6]);
    }

    #[test]
    fn what_is_removed_hidden_or_meant_for_another_reader_counts_no_more() {
        let mut timeline = with((1..=3).map(|seq| said(seq, OTHER, &[ME])));
        timeline.apply(event(4, EventKind::MessageRemoved { message: Seq(2), by: RemovedBy::Author }));
        assert_eq!(mentions(&timeline), [1, 3]);
        timeline.set_hidden([OTHER]);
        assert!(mentions(&timeline).is_empty());
        timeline.set_hidden([]);
        assert_eq!(mentions(&timeline), [1, 3]);
        timeline.apply(event(5, EventKind::OwnRemoved { user: OTHER }));
        assert!(mentions(&timeline).is_empty());
        timeline.apply(said(6, OTHER, &[ME]));
        timeline.set_reader(OTHER);
        assert!(mentions(&timeline).is_empty());
    }

    #[test]
    fn an_edit_counts_nothing_anew() {
        let mut timeline = with([said(1, OTHER, &[])]);
        let EventKind::Said(said) = said(1, OTHER, &[ME]).kind else { return };
        let wording = Some(Box::new(said.wording()));
        timeline.apply(event(2, EventKind::MessageEdited { message: Seq(1), wording }));
        assert!(mentions(&timeline).is_empty());
    }

    #[test]
    fn those_that_the_server_has_found_are_added_once_and_in_order() {
        let mut timeline = Timeline::new(ME, history(vec![said(9, OTHER, &[])]));
        timeline.apply(said(10, OTHER, &[ME]));
        timeline.add_mentions([Seq(12), Seq(10), Seq(11)]);
        assert_eq!(mentions(&timeline), [10, 11, 12]);
        timeline.add_mentions((20..400).map(Seq));
        assert_eq!(mentions(&timeline).len(), MENTIONS_REMEMBERED);
    }

    #[test]
    fn those_of_an_author_who_is_not_known_are_forgotten_when_someone_s_messages_are_removed() {
        let mut timeline = Timeline::new(ME, history(vec![said(9, OTHER, &[])]));
        timeline.begin_seen(Epoch::from_bytes([1; ID_BYTES]), Seq(1));
        timeline.add_mentions([Seq(2), Seq(3)]);
        timeline.apply(said(10, OTHER, &[ME]));
        assert_eq!(mentions(&timeline), [2, 3, 10]);
        timeline.apply(event(11, EventKind::OwnRemoved { user: UserId::from_bytes([3; ID_BYTES]) }));
        assert_eq!(mentions(&timeline), [10]);
        timeline.add_mentions([Seq(15)]);
        timeline.apply(event(12, EventKind::OwnRemoved { user: OTHER }));
        assert_eq!(mentions(&timeline), [15], "it was posted later");
    }

    #[test]
    fn after_a_snapshot_those_in_it_count_and_expired_ones_do_not() {
        let mut timeline = with([said(1, OTHER, &[ME])]);
        timeline.reset(history(vec![said(1, OTHER, &[ME]), said(2, OTHER, &[ME])]));
        assert_eq!(mentions(&timeline), [1, 2]);
        let lifetimes = Lifetimes::default();
        timeline.drop_expired(Expiry { now: Timestamp(lifetimes.message.millis() + 1), lifetimes });
        assert_eq!(mentions(&timeline), [2]);
    }
}
