//! What is not stored with an event and found when it is read: the words of a message are stored in its own event alone.
//! So what quotes, edits or restores it has the words that it has now, and none once it is gone.

use std::collections::HashMap;

use domain::{ChatId, Event, EventKind, Marks, Message, Quote, Seq, Timestamp};
use redb::ReadableTable;

use super::{codec, error::StoreError, snapshot::Snapshot, tables::Id};
use crate::formatting;

/// What was read to complete the events of a batch of one chat.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The quotes of messages, `None` of those that are gone. Many may answer the same long one.
    quotes: HashMap<Seq, Option<Quote>>,
    /// The size in bytes of the messages that were read to quote them.
    pub(super) bytes: usize,
}

impl Snapshot {
    /// Returns an event with what is found when it is read: the quote of a message that answers another, and the words of
    /// a message that was edited or restored, as they are now. A message that was stored by rules 1 is upgraded.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn complete(&self, event: Event) -> Result<Event, StoreError> {
        if is_complete(&event.kind) {
            return Ok(event);
        }
        self.complete_from(&self.events()?, event, &mut Sources::default())
    }

    /// Returns an event with what is found when it is read, given the table of the events, and what was read to complete
    /// others of the same chat.
    pub(super) fn complete_from(
        &self,
        events: &impl ReadableTable<(Id, u64), &'static [u8]>,
        mut event: Event,
        sources: &mut Sources,
    ) -> Result<Event, StoreError> {
        event = formatted(event);
        let chat = event.chat;
        match &mut event.kind {
            EventKind::Said(message) => self.quote(events, chat, message, sources)?,
            EventKind::MessageEdited { message, wording } => {
                let found = self.message(events, chat, *message)?;
                *wording = found.map(|found| Box::new(found.message.wording()));
            }
            EventKind::MessageRestored { message, said } => {
                let mut found = self.message(events, chat, *message)?;
                if let Some(found) = &mut found {
                    self.quote(events, chat, &mut found.message, sources)?;
                }
                *said = found.map(|found| found.message);
            }
            _ => {}
        }
        Ok(event)
    }

    /// Quotes what a message answers, if that is there.
    fn quote(
        &self,
        events: &impl ReadableTable<(Id, u64), &'static [u8]>,
        chat: ChatId,
        message: &mut Message,
        sources: &mut Sources,
    ) -> Result<(), StoreError> {
        let Some(answered) = message.reply_to else { return Ok(()) };
        if let Some(quote) = sources.quotes.get(&answered) {
            message.quote.clone_from(quote);
            return Ok(());
        }
        let found = self.message(events, chat, answered)?;
        sources.bytes += found.as_ref().map_or(0, |found| found.bytes);
        message.quote = found.map(|found| found.message.quote(found.at));
        sources.quotes.insert(answered, message.quote.clone());
        Ok(())
    }

    /// Returns a message without its quote. `None` if it was removed, has expired or never existed.
    fn message(
        &self,
        events: &impl ReadableTable<(Id, u64), &'static [u8]>,
        chat: ChatId,
        seq: Seq,
    ) -> Result<Option<Found>, StoreError> {
        let Some(record) = events.get((chat.bytes(), seq.0))? else { return Ok(None) };
        let bytes = record.value().len();
        let event: Event = codec::decode(record.value())?;
        if self.expiry.of_event(event.at) {
            return Ok(None);
        }
        let Event { at, kind, .. } = formatted(event);
        Ok(match kind {
            EventKind::Said(message) => Some(Found { message, at, bytes }),
            _ => None,
        })
    }
}

/// A message that was read for another event.
struct Found {
    message: Box<Message>,
    /// When it was posted.
    at: Timestamp,
    /// The size of its record in bytes.
    bytes: usize,
}

/// Returns an event with the marks of a message that was stored by rules 1, which did not know any.
fn formatted(event: Event) -> Event {
    if !matches!(event.kind, EventKind::Posted(_)) {
        return event;
    }
    let mut event = event.upgraded();
    if let EventKind::Said(message) = &mut event.kind {
        message.marks = formatting::marks(&message.body);
    }
    event
}

/// Whether there is nothing to be found for an event that was read.
pub(crate) fn is_complete(kind: &EventKind) -> bool {
    match kind {
        EventKind::Posted(_) | EventKind::MessageEdited { .. } | EventKind::MessageRestored { .. } => false,
        EventKind::Said(message) => message.reply_to.is_none(),
        _ => true,
    }
}

/// Returns the number of bytes that an event has got beside its record, when it was completed.
pub(super) fn derived_bytes(kind: &EventKind) -> usize {
    let of_text = |text: &str, marks: &Marks| text.len() + marks.iter().count() * size_of::<domain::Mark>();
    match kind {
        EventKind::MessageEdited { wording: Some(wording), .. } => {
            of_text(wording.body.as_str(), &wording.marks)
        }
        EventKind::MessageRestored { said: Some(said), .. } => of_text(said.body.as_str(), &said.marks),
        _ => 0,
    }
}
