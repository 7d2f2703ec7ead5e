//! A write transaction: the changes applied in it, their record in the write-ahead log, and the count of the bytes
//! stored.

use std::borrow::Borrow;

use domain::{
    Change, Chat, ChatId, ClientId, Emoji, Event, EventKind, Message, MessageRef, PictureId, PictureRecord,
    RemovedBy, Seq, StateReader, Tally, Timestamp, Tracked, User, UserId, Wording,
};
use redb::{Key, ReadableTable, Table, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{
    belongings::Belongings,
    codec,
    error::StoreError,
    record_cache::RecordCache,
    tables::{
        BYTES, CHATS, CHATS_ACTIVE, DIRECT_CHATS, EVENTS, HIDDEN, Id, LOG, LogState, POSTED, REMOVED,
        UNINVITED, USERS, USERS_ACTIVE, all_of, all_with, direct_chats_of, event, hidden_by,
    },
    write_ahead_log::{self, Found},
};

/// The head of a record of the write-ahead log. The changes of the transaction follow it, up to the end of the record.
#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    /// The sequence number of the newest entry that was applied before this transaction.
    pub(super) after: Seq,
    /// The state of the log after this transaction.
    pub(super) log: LogState,
}

/// How far a write-ahead log was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplayEnd {
    All,
    /// Up to something that is not a complete record.
    Torn,
    /// Up to a record of another database, or of another state of this one.
    Foreign,
}

/// A write transaction. Reads through it see its own writes.
pub struct Transaction<'txn> {
    log: Table<'txn, (), &'static [u8]>,
    users: RecordCache<'txn, User>,
    chats: RecordCache<'txn, Chat>,
    direct_chats: Table<'txn, (Id, Id), Id>,
    events: Table<'txn, (Id, u64), &'static [u8]>,
    posted: Table<'txn, (Id, Id, Id), u64>,
    removed: Table<'txn, (Id, Id, Id), u64>,
    hidden: Table<'txn, (Id, Id), ()>,
    uninvited: Table<'txn, Id, ()>,
    belongings: Belongings<'txn>,
    total: Table<'txn, (), u64>,
    /// The number of bytes stored, as of now.
    bytes: u64,
    /// The record of this transaction for the write-ahead log.
    pub(super) record: Vec<u8>,
}

impl<'txn> Transaction<'txn> {
    pub(super) fn open(write: &'txn WriteTransaction) -> Result<Self, StoreError> {
        let total = write.open_table(BYTES)?;
        let bytes = total.get(())?.map_or(0, |bytes| bytes.value());
        Ok(Self {
            total,
            bytes,
            record: Vec::new(),
            log: write.open_table(LOG)?,
            users: RecordCache::new(write.open_table(USERS)?, write.open_table(USERS_ACTIVE)?),
            chats: RecordCache::new(write.open_table(CHATS)?, write.open_table(CHATS_ACTIVE)?),
            direct_chats: write.open_table(DIRECT_CHATS)?,
            events: write.open_table(EVENTS)?,
            posted: write.open_table(POSTED)?,
            removed: write.open_table(REMOVED)?,
            hidden: write.open_table(HIDDEN)?,
            uninvited: write.open_table(UNINVITED)?,
            belongings: Belongings::new(write),
        })
    }

    /// Writes the cached records and the number of bytes stored, and returns that number.
    pub(super) fn close(mut self) -> Result<u64, StoreError> {
        self.users.close(&mut self.bytes)?;
        self.chats.close(&mut self.bytes)?;
        let before = self.total.get(())?.map_or(0, |bytes| bytes.value());
        if before != self.bytes {
            self.total.insert((), self.bytes)?;
        }
        Ok(self.bytes)
    }

    pub(super) fn state(&self) -> Result<Option<LogState>, StoreError> {
        Ok(self.log.get(())?.map(|bytes| codec::decode(bytes.value())).transpose()?)
    }

    /// Sets the state of the log.
    pub(super) fn advance(&mut self, state: LogState) -> Result<(), StoreError> {
        self.log.insert((), codec::encode(&state)?.as_slice())?;
        Ok(())
    }

    /// Begins to apply the log up to `log.seq`: sets the state of the log, and begins the record for the write-ahead
    /// log.
    pub(super) fn begin(&mut self, log: LogState) -> Result<(), StoreError> {
        let after = self.state()?.map_or(Seq::ZERO, |before| before.seq);
        if log.seq <= after {
            return Err(StoreError::OutOfOrder(log.seq, after));
        }
        self.advance(log)?;
        self.record = write_ahead_log::begin(&Head { after, log })?;
        Ok(())
    }

    /// Applies the records of a write-ahead log that are not in the database yet. Returns the state of the log after
    /// them, and how far the write-ahead log was applied.
    pub(super) fn replay(
        &mut self,
        wal: &[u8],
        mut log: LogState,
    ) -> Result<(LogState, ReplayEnd), StoreError> {
        let mut rest = wal;
        loop {
            let (record, behind) = match write_ahead_log::first(rest) {
                Found::Record(record, behind) => (record, behind),
                Found::End => return Ok((log, ReplayEnd::All)),
                Found::Torn => return Ok((log, ReplayEnd::Torn)),
            };
            let (head, mut changes): (Head, _) = write_ahead_log::head(record)?;
            if head.log.seq > log.seq {
                if (head.log.epoch, head.after) != (log.epoch, log.seq) {
                    return Ok((log, ReplayEnd::Foreign));
                }
                while !changes.is_empty() {
                    let (change, others) = write_ahead_log::next(changes)?;
                    self.store(&change)?;
                    changes = others;
                }
                log = head.log;
            }
            rest = behind;
        }
    }

    /// Applies a change, and adds it to the record for the write-ahead log.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read or written.
    pub fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        self.store(change)?;
        self.record = write_ahead_log::add(std::mem::take(&mut self.record), change)?;
        Ok(())
    }

    fn store(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::User { user, at } => {
                let id = user.id.bytes();
                // Never earlier than before, since the clock may be about to be set.
                let seen = self.users.kept(id)?.map_or(*at, |kept| kept.active_at.max(*at));
                self.users.put(id, user.clone())?;
                self.users.touch(id, seen)?;
            }
            Change::Chat(event) => self.append(event)?,
            Change::Hidden { from, person, is_hidden } => {
                let pair = (from.bytes(), person.bytes());
                if *is_hidden {
                    let was_there = self.hidden.insert(pair, ())?.is_some();
                    came(&mut self.bytes, was_there, HIDDEN_BYTES);
                } else {
                    let was_there = self.hidden.remove(pair)?.is_some();
                    went(&mut self.bytes, was_there, HIDDEN_BYTES);
                }
            }
            Change::InvitesSet { user, are_taken } => {
                if *are_taken {
                    let was_there = self.uninvited.remove(user.bytes())?.is_some();
                    went(&mut self.bytes, was_there, UNINVITED_BYTES);
                } else {
                    let was_there = self.uninvited.insert(user.bytes(), ())?.is_some();
                    came(&mut self.bytes, was_there, UNINVITED_BYTES);
                }
            }
            Change::UserTouched(user, at) => {
                self.users.touch(user.bytes(), *at)?;
            }
            Change::ChatTouched(chat, at) => {
                self.chats.touch(chat.bytes(), *at)?;
            }
            Change::UserExpired(user) => {
                self.users.remove(user.bytes(), &mut self.bytes)?;
                for pair in self.hidden.extract_from_if(all_with(*user), |_, ()| true)? {
                    pair?;
                    went(&mut self.bytes, true, HIDDEN_BYTES);
                }
                let was_there = self.uninvited.remove(user.bytes())?.is_some();
                went(&mut self.bytes, was_there, UNINVITED_BYTES);
            }
            Change::Reacted(reaction) => self.belongings.reacted(reaction, &mut self.bytes)?,
            Change::ChatExpired(chat) => self.remove(chat)?,
            Change::Expired { chat, through } => self.forget(*chat, *through)?,
            Change::ClockSet(by) => {
                self.users.move_times(*by)?;
                self.chats.move_times(*by)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, event: &Event) -> Result<(), StoreError> {
        let id = event.chat.bytes();
        let before = self.chats.kept(id)?;
        // Never earlier than before, since the clock may be about to be set.
        let active_at = before.as_ref().map_or(event.at, |kept| kept.active_at.max(event.at));
        if let Some(chat) = event.apply_to(before.map(|kept| kept.value)) {
            self.chats.put(id, chat.clone())?;
            self.chats.touch(id, active_at)?;
            if let (EventKind::Started { .. }, Some(guest)) = (&event.kind, chat.guest) {
                let (owner, guest) = (chat.owner.bytes(), guest.id.bytes());
                for pair in [(owner, guest), (guest, owner)] {
                    let was_there = self.direct_chats.insert(pair, id)?.is_some();
                    came(&mut self.bytes, was_there, PAIR_BYTES);
                }
            }
        }
        if let Some((authors, by)) = event.clears() {
            for author in authors {
                self.redact_all(event.chat, author, (by, event.at))?;
            }
        }
        put(&mut self.events, (id, event.seq.0), &*event.stored(), &mut self.bytes)?;
        if let Some(message) = event.kind.message() {
            self.belongings.said(event.chat, event.seq, message, &mut self.bytes)?;
        }
        if let Some(MessageRef { author, client_id, .. }) = event.kind.posted_message() {
            let was_there =
                self.posted.insert((id, author.bytes(), client_id.bytes()), event.seq.0)?.is_some();
            came(&mut self.bytes, was_there, POSTED_BYTES);
        }
        match &event.kind {
            EventKind::MessageRemoved { message, by } => {
                self.redact(event.chat, *message, (*by, event.at))?;
            }
            EventKind::MessageEdited { message, wording: Some(wording) } => {
                self.edit(event.chat, *message, (Wording::clone(wording), event.at))?;
            }
            EventKind::MessageRestored { message, said: Some(said) } => {
                self.restore(event.chat, *message, said)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Removes the text of a message and what belongs to it.
    fn redact(
        &mut self,
        chat: ChatId,
        message: Seq,
        (by, at): (RemovedBy, Timestamp),
    ) -> Result<(), StoreError> {
        let Some(event) = StateReader::event(self, chat, message)? else { return Ok(()) };
        if let Some(said) = event.kind.message() {
            let key = (chat.bytes(), said.author.bytes(), said.client_id.bytes());
            if self.posted.remove(key)?.is_some() {
                self.removed.insert(key, message.0)?;
            }
            self.belongings.removed(chat, message, said, at, &mut self.bytes)?;
        }
        put(&mut self.events, (chat.bytes(), message.0), &event.redact(by), &mut self.bytes)
    }

    /// Gives a message other words.
    fn edit(
        &mut self,
        chat: ChatId,
        message: Seq,
        (wording, at): (Wording, Timestamp),
    ) -> Result<(), StoreError> {
        let Some(before) = StateReader::event(self, chat, message)? else { return Ok(()) };
        let after = before.clone().edit(wording, at);
        if let (Some(before), Some(after)) = (before.kind.message(), after.kind.message()) {
            self.belongings.edited(chat, message, (before, after), &mut self.bytes)?;
        }
        put(&mut self.events, (chat.bytes(), message.0), &after, &mut self.bytes)
    }

    /// Gives a message that was removed its text back.
    fn restore(&mut self, chat: ChatId, message: Seq, said: &Message) -> Result<(), StoreError> {
        let Some(event) = StateReader::event(self, chat, message)? else { return Ok(()) };
        let key = (chat.bytes(), said.author.bytes(), said.client_id.bytes());
        let was_removed = self.removed.remove(key)?.is_some();
        let was_there = self.posted.insert(key, message.0)?.is_some();
        came(&mut self.bytes, was_removed || was_there, POSTED_BYTES);
        self.belongings.said(chat, message, said, &mut self.bytes)?;
        let event = event.restore(Box::new(said.clone()));
        put(&mut self.events, (chat.bytes(), message.0), &event, &mut self.bytes)
    }

    /// Redacts all messages of an author in a chat. Messages that were redacted before are not read again.
    fn redact_all(
        &mut self,
        chat: ChatId,
        author: UserId,
        by: (RemovedBy, Timestamp),
    ) -> Result<(), StoreError> {
        let mut said = Vec::new();
        for message in self.posted.range(all_of(chat, author))? {
            said.push(Seq(message?.1.value()));
        }
        said.into_iter().try_for_each(|message| self.redact(chat, message, by))
    }

    fn remove(&mut self, chat: &Chat) -> Result<(), StoreError> {
        let id = chat.id.bytes();
        self.chats.remove(id, &mut self.bytes)?;
        if let Some(guest) = chat.guest {
            let (owner, guest) = (chat.owner.bytes(), guest.id.bytes());
            for pair in [(owner, guest), (guest, owner)] {
                // The two users may have started another chat since this one expired.
                if self.direct_chats.get(pair)?.is_some_and(|found| found.value() == id) {
                    let was_there = self.direct_chats.remove(pair)?.is_some();
                    went(&mut self.bytes, was_there, PAIR_BYTES);
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, chat: ChatId, through: Seq) -> Result<(), StoreError> {
        let id = chat.bytes();
        let (mut posted, mut meant) = (Vec::new(), Vec::new());
        for gone in self.events.extract_from_if((id, 0)..=(id, through.0), |_, _| true)? {
            let (_, record) = gone?;
            self.bytes = self.bytes.saturating_sub(len(record.value()) + KEY_BYTES);
            let event: Event = codec::decode(record.value())?;
            if let Some(MessageRef { author, client_id, .. }) = event.kind.message_or_tombstone() {
                posted.push((id, author.bytes(), client_id.bytes()));
            }
            if let Some(message) = event.kind.message() {
                meant.extend(message.meant().into_iter().map(|user| (event.seq, user)));
            }
        }
        self.belongings.forget(chat, through, meant, &mut self.bytes)?;
        for key in posted {
            let was_there = self.posted.remove(key)?.is_some() || self.removed.remove(key)?.is_some();
            went(&mut self.bytes, was_there, POSTED_BYTES);
        }
        Ok(())
    }
}

impl StateReader for Transaction<'_> {
    type Error = StoreError;

    fn user(&self, id: UserId) -> Result<Option<Tracked<User>>, StoreError> {
        self.users.kept(id.bytes())
    }

    fn chat(&self, id: ChatId) -> Result<Option<Tracked<Chat>>, StoreError> {
        self.chats.kept(id.bytes())
    }

    fn posted(&self, chat: ChatId, author: UserId, client_id: ClientId) -> Result<Option<Seq>, StoreError> {
        let key = (chat.bytes(), author.bytes(), client_id.bytes());
        let place = self.posted.get(key)?.map(|seq| Seq(seq.value()));
        if place.is_some() {
            return Ok(place);
        }
        Ok(self.removed.get(key)?.map(|seq| Seq(seq.value())))
    }

    fn has_messages_by(&self, chat: ChatId, author: UserId) -> Result<bool, StoreError> {
        Ok(self.posted.range(all_of(chat, author))?.next().transpose()?.is_some())
    }

    fn direct_chats(&self, user: UserId) -> Result<Vec<ChatId>, StoreError> {
        Ok(direct_chats_of(&self.direct_chats, user)?.into_iter().map(|(_, chat)| chat).collect())
    }

    fn event(&self, chat: ChatId, seq: Seq) -> Result<Option<Event>, StoreError> {
        Ok(event(&self.events, chat, seq)?.map(Event::upgraded))
    }

    fn any_event_after(
        &self,
        chat: ChatId,
        after: Seq,
        limit: usize,
        is_such: impl Fn(&Event) -> bool,
    ) -> Result<Option<bool>, StoreError> {
        let (id, mut count, mut is_any) = (chat.bytes(), 0, false);
        for found in self.events.range((id, after.0.saturating_add(1))..=(id, u64::MAX))? {
            let (_, record) = found?;
            count += 1;
            if count > limit {
                return Ok(None);
            }
            is_any = is_any || is_such(&codec::decode::<Event>(record.value())?);
        }
        Ok(Some(is_any))
    }

    fn hidden(&self, user: UserId) -> Result<Vec<UserId>, StoreError> {
        hidden_by(&self.hidden, user)
    }

    fn takes_invites(&self, user: UserId) -> Result<bool, StoreError> {
        Ok(self.uninvited.get(user.bytes())?.is_none())
    }

    fn has_reacted(
        &self,
        chat: ChatId,
        message: Seq,
        user: UserId,
        emoji: &Emoji,
    ) -> Result<bool, StoreError> {
        self.belongings.has_reacted(chat, message, user, emoji)
    }

    fn tally(&self, chat: ChatId, message: Seq) -> Result<Option<Tally>, StoreError> {
        self.belongings.tally(chat, message)
    }

    fn picture(
        &self,
        chat: ChatId,
        message: Seq,
        picture: PictureId,
    ) -> Result<Option<PictureRecord>, StoreError> {
        self.belongings.picture(chat, message, picture)
    }

    fn message_of_picture(&self, picture: PictureId) -> Result<Option<(ChatId, Seq)>, StoreError> {
        self.belongings.message_of_picture(picture)
    }
}

/// What is counted for a record besides its value: roughly the size of its key, in bytes.
const KEY_BYTES: u64 = 18;
/// What is counted for the sequence number of a message, in bytes.
const POSTED_BYTES: u64 = 38;
/// What is counted for a user who is hidden by another, in bytes.
const HIDDEN_BYTES: u64 = 20;
/// What is counted for a user who does not accept invites, in bytes.
const UNINVITED_BYTES: u64 = 10;
/// What is counted for each of the two entries of a direct chat, in bytes.
const PAIR_BYTES: u64 = 30;
/// What is counted for the time when a user or a chat was last active, in bytes.
pub(super) const ACTIVE_BYTES: u64 = 18;

/// Adds the size of a new row to `bytes`, unless it replaces one.
pub(super) fn came(bytes: &mut u64, was_there: bool, size: u64) {
    *bytes += if was_there { 0 } else { size };
}

/// Subtracts the size of a removed row from `bytes`, if there was one.
pub(super) fn went(bytes: &mut u64, was_there: bool, size: u64) {
    *bytes = bytes.saturating_sub(if was_there { size } else { 0 });
}

/// Sets when a user or a chat was last active, and updates `bytes`.
pub(super) fn touch(
    table: &mut Table<'_, Id, u64>,
    id: Id,
    at: Timestamp,
    bytes: &mut u64,
) -> Result<(), StoreError> {
    let was_there = table.insert(id, at.0)?.is_some();
    came(bytes, was_there, ACTIVE_BYTES);
    Ok(())
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Stores a record, replacing the previous one, and updates `bytes`.
pub(super) fn put<'key, K: Key + Borrow<K::SelfType<'key>> + 'key, T: Serialize>(
    table: &mut Table<'_, K, &'static [u8]>,
    key: K,
    value: &T,
    bytes: &mut u64,
) -> Result<(), StoreError> {
    let record = codec::encode(value)?;
    let before = table.insert(key, record.as_slice())?.map_or(0, |before| len(before.value()) + KEY_BYTES);
    *bytes = bytes.saturating_sub(before) + len(&record) + KEY_BYTES;
    Ok(())
}

/// Removes a record, and updates `bytes`.
pub(super) fn take<'key, K: Key + Borrow<K::SelfType<'key>> + 'key>(
    table: &mut Table<'_, K, &'static [u8]>,
    key: K,
    bytes: &mut u64,
) -> Result<(), StoreError> {
    let before = table.remove(key)?.map_or(0, |before| len(before.value()) + KEY_BYTES);
    *bytes = bytes.saturating_sub(before);
    Ok(())
}
