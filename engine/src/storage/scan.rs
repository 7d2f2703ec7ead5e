//! Ways back through the events of a chat, for searches.

use std::ops::ControlFlow;

use domain::{Chat, ChatId, Event, Seq, Timestamp, UserId};

use super::{
    codec,
    error::StoreError,
    snapshot::Snapshot,
    tables::{EVENTS, MENTIONS},
};

impl Snapshot {
    /// Passes the events of a chat before a sequence number to `visit`, newest first and each with the size of its record
    /// in bytes, until that breaks or none are left that have not expired. They are upgraded, and not
    /// [complete](Snapshot::complete).
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub(crate) fn scan_events_before(
        &self,
        chat: ChatId,
        before: Seq,
        mut visit: impl FnMut(Event, usize) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let chat = chat.bytes();
        let events = self.read.open_table(EVENTS)?;
        for found in events.range((chat, 0)..(chat, before.0))?.rev() {
            let (_, record) = found?;
            if self.visit(record.value(), &mut visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Passes the messages of a chat that are meant for a user to `visit`, in the same way.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub(crate) fn scan_mentions_before(
        &self,
        user: UserId,
        chat: ChatId,
        before: Seq,
        mut visit: impl FnMut(Event, usize) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let (user, chat) = (user.bytes(), chat.bytes());
        let (events, mentions) = (self.read.open_table(EVENTS)?, self.read.open_table(MENTIONS)?);
        for found in mentions.range((user, chat, 0)..(user, chat, before.0))?.rev() {
            let (_, _, seq) = found?.0.value();
            let Some(record) = events.get((chat, seq))? else { continue };
            if self.visit(record.value(), &mut visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Returns the position of the first event of a chat since a point in time. `None` if all are older. Where the clock
    /// was set back, times are in no order, and it is one of several.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub(crate) fn first_since(&self, chat: &Chat, since: Timestamp) -> Result<Option<Seq>, StoreError> {
        let id = chat.id.bytes();
        let events = self.read.open_table(EVENTS)?;
        let first_from = |from: u64| -> Result<Option<(u64, Timestamp)>, StoreError> {
            let Some(found) = events.range((id, from)..=(id, u64::MAX))?.next() else { return Ok(None) };
            let (place, record) = found?;
            let event: Event = codec::decode(record.value())?;
            Ok(Some((place.value().1, event.at)))
        };
        // All events before `low` are older; all from `high` on are not.
        let (mut low, mut high) = (0, chat.seq.0.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            match first_from(middle)? {
                Some((seq, at)) if at < since => low = seq.saturating_add(1),
                _ => high = middle,
            }
        }
        Ok(first_from(low)?.filter(|(_, at)| *at >= since).map(|(seq, _)| Seq(seq)))
    }

    /// Passes an event to `visit`. Breaks if it has expired, since everything older has expired as well.
    fn visit(
        &self,
        record: &[u8],
        visit: &mut impl FnMut(Event, usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let event: Event = codec::decode(record)?;
        if self.expiry.of_event(event.at) {
            return Ok(ControlFlow::Break(()));
        }
        Ok(visit(event.upgraded(), record.len()))
    }
}
