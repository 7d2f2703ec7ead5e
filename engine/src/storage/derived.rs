//! What is not stored with an event and found when it is read: the words of a message are stored in its own event alone.
//! So what quotes, edits or restores it has the words that it has now, and none once it is gone.

use domain::{ChatId, Event, EventKind, Marks, Message, Seq, Timestamp};
use redb::ReadableTable;

use super::{
    error::StoreError,
    snapshot::Snapshot,
    tables::{Id, event},
};
use crate::formatting;

impl Snapshot {
    /// Returns an event with what is found when it is read: the quote of a message that answers another, and the words of
    /// a message that was edited or restored, as they are now. A message that was stored by rules 1 is upgraded.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn complete(&self, event: Event) -> Result<Event, StoreError> {
        if is_complete(&event.kind) { Ok(event) } else { self.complete_from(&self.events()?, event) }
    }

    /// Returns an event with what is found when it is read, given the table of the events.
    pub(super) fn complete_from(
        &self,
        events: &impl ReadableTable<(Id, u64), &'static [u8]>,
        mut event: Event,
    ) -> Result<Event, StoreError> {
        event = formatted(event);
        let chat = event.chat;
        match &mut event.kind {
            EventKind::Said(message) => self.quote(events, chat, message)?,
            EventKind::MessageEdited { message, wording } => {
                let found = self.message(events, chat, *message)?;
                *wording = found.map(|(message, _)| Box::new(message.wording()));
            }
            EventKind::MessageRestored { message, said } => {
                let mut found = self.message(events, chat, *message)?;
                if let Some((message, _)) = &mut found {
                    self.quote(events, chat, message)?;
                }
                *said = found.map(|(message, _)| message);
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
    ) -> Result<(), StoreError> {
        if let Some(answered) = message.reply_to {
            message.quote = self.message(events, chat, answered)?.map(|(answered, at)| answered.quote(at));
        }
        Ok(())
    }

    /// Returns a message without its quote, and when it was posted. `None` if it was removed, has expired or never existed.
    fn message(
        &self,
        events: &impl ReadableTable<(Id, u64), &'static [u8]>,
        chat: ChatId,
        seq: Seq,
    ) -> Result<Option<(Box<Message>, Timestamp)>, StoreError> {
        let found = event(events, chat, seq)?.filter(|event| !self.expiry.of_event(event.at));
        Ok(found.map(formatted).and_then(|event| match event.kind {
            EventKind::Said(message) => Some((message, event.at)),
            _ => None,
        }))
    }
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
