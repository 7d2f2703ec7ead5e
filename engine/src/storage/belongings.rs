//! What belongs to messages beside their events, in a write transaction: who is meant by them, their pictures and the
//! reactions to them. Most messages have none of it, so its tables are opened when they are needed first.

use std::cell::RefCell;

use domain::{
    ChatId, Emoji, Message, PictureId, PictureRecord, Reaction, Seq, Tally, Timestamp, UserId, id::ID_BYTES,
};
use redb::{Key, ReadableTable, Table, TableDefinition, Value, WriteTransaction};

use super::{
    codec,
    error::StoreError,
    tables::{
        EMOJI_FIRST, EmojiKey, Id, MENTIONS, PICTURE_OF, PICTURES, REACTED_BY, REACTIONS, TALLIED, TALLIES,
        emoji_key,
    },
    transaction::{came, put, take, went},
};

/// What is counted for a user who is meant by a message, in bytes.
const MENTION_BYTES: u64 = 30;
/// What is counted for the entry of a picture that leads to its message, in bytes.
const PICTURE_OF_BYTES: u64 = 30;
/// What is counted for the two entries of a reaction, in bytes.
const REACTION_BYTES: u64 = 152;
/// What is counted for the entry of a tally by its newest change, in bytes.
const TALLIED_BYTES: u64 = 26;

/// A table that is opened when it is needed first.
struct Lazy<'txn, K: Key + 'static, V: Value + 'static> {
    write: &'txn WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    table: RefCell<Option<Table<'txn, K, V>>>,
}

impl<'txn, K: Key + 'static, V: Value + 'static> Lazy<'txn, K, V> {
    fn new(write: &'txn WriteTransaction, definition: TableDefinition<'static, K, V>) -> Self {
        Self { write, definition, table: RefCell::new(None) }
    }

    fn with<R>(
        &self,
        work: impl FnOnce(&mut Table<'txn, K, V>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        match &mut *self.table.borrow_mut() {
            Some(table) => work(table),
            none => work(none.insert(self.write.open_table(self.definition)?)),
        }
    }
}

/// The tables of what belongs to messages.
pub(super) struct Belongings<'txn> {
    mentions: Lazy<'txn, (Id, Id, u64), ()>,
    pictures: Lazy<'txn, (Id, u64, Id), &'static [u8]>,
    picture_of: Lazy<'txn, Id, (Id, u64)>,
    reactions: Lazy<'txn, (Id, u64, Id, EmojiKey), ()>,
    reacted_by: Lazy<'txn, (Id, Id, u64, EmojiKey), ()>,
    tallies: Lazy<'txn, (Id, u64), &'static [u8]>,
    tallied: Lazy<'txn, (Id, u64), u64>,
}

impl<'txn> Belongings<'txn> {
    pub(super) fn new(write: &'txn WriteTransaction) -> Self {
        Self {
            mentions: Lazy::new(write, MENTIONS),
            pictures: Lazy::new(write, PICTURES),
            picture_of: Lazy::new(write, PICTURE_OF),
            reactions: Lazy::new(write, REACTIONS),
            reacted_by: Lazy::new(write, REACTED_BY),
            tallies: Lazy::new(write, TALLIES),
            tallied: Lazy::new(write, TALLIED),
        }
    }

    /// Stores what belongs to a message that was posted or restored.
    pub(super) fn said(
        &self,
        chat: ChatId,
        seq: Seq,
        message: &Message,
        bytes: &mut u64,
    ) -> Result<(), StoreError> {
        self.means(chat, seq, message.meant(), bytes)?;
        for picture in &message.pictures {
            let record = PictureRecord::of(picture);
            self.pictures
                .with(|table| put(table, (chat.bytes(), seq.0, picture.id.bytes()), &record, bytes))?;
            let message = (chat.bytes(), seq.0);
            let was_there =
                self.picture_of.with(|table| Ok(table.insert(picture.id.bytes(), message)?.is_some()))?;
            came(bytes, was_there, PICTURE_OF_BYTES);
        }
        Ok(())
    }

    /// Stores what changes with the words of a message.
    pub(super) fn edited(
        &self,
        chat: ChatId,
        seq: Seq,
        (before, after): (&Message, &Message),
        bytes: &mut u64,
    ) -> Result<(), StoreError> {
        let (before, after) = (before.meant(), after.meant());
        self.means_no_more(chat, seq, before.difference(&after).copied(), bytes)?;
        self.means(chat, seq, after.difference(&before).copied(), bytes)
    }

    /// Removes what belongs to a message that is removed at a time, but for its pictures: these are noted as removed, and
    /// go when the message expires.
    pub(super) fn removed(
        &self,
        chat: ChatId,
        seq: Seq,
        message: &Message,
        at: Timestamp,
        bytes: &mut u64,
    ) -> Result<(), StoreError> {
        self.means_no_more(chat, seq, message.meant(), bytes)?;
        for picture in &message.pictures {
            let record = PictureRecord { removed_at: Some(at), ..PictureRecord::of(picture) };
            self.pictures
                .with(|table| put(table, (chat.bytes(), seq.0, picture.id.bytes()), &record, bytes))?;
        }
        self.forget_reactions(chat, seq.0..=seq.0, bytes)
    }

    /// Moves the times at which pictures were removed by so many milliseconds, back if negative.
    pub(super) fn move_times(&self, by: i64, bytes: &mut u64) -> Result<(), StoreError> {
        self.pictures.with(|table| {
            let mut moved = Vec::new();
            for row in table.iter()? {
                let (key, record) = row?;
                let record: PictureRecord = codec::decode(record.value())?;
                let removed_at = record.removed_at.map(|at| at.moved(by));
                moved.extend(
                    removed_at.is_some().then_some((key.value(), PictureRecord { removed_at, ..record })),
                );
            }
            moved.iter().try_for_each(|(key, record)| put(table, *key, record, bytes))
        })
    }

    /// Stores a reaction.
    pub(super) fn reacted(&self, reaction: &Reaction, bytes: &mut u64) -> Result<(), StoreError> {
        let Reaction { chat, message, emoji, by, is_on, seq } = reaction;
        let (id, user, emoji) = (chat.bytes(), by.id.bytes(), emoji_key(emoji));
        let (by_message, by_user) = ((id, message.0, user, emoji), (id, user, message.0, emoji));
        if *is_on {
            let was_there = self.reactions.with(|table| Ok(table.insert(by_message, ())?.is_some()))?;
            self.reacted_by.with(|table| Ok(table.insert(by_user, ())?.is_some()))?;
            came(bytes, was_there, REACTION_BYTES);
        } else {
            let was_there = self.reactions.with(|table| Ok(table.remove(by_message)?.is_some()))?;
            self.reacted_by.with(|table| Ok(table.remove(by_user)?.is_some()))?;
            went(bytes, was_there, REACTION_BYTES);
        }
        let before = self.tally(*chat, *message)?;
        let had_place = match &before {
            Some(tally) => self.tallied.with(|table| Ok(table.remove((id, tally.changed.0))?.is_some()))?,
            None => false,
        };
        let after = before.unwrap_or_default().after(reaction);
        self.tallies.with(|table| put(table, (id, message.0), &after, bytes))?;
        self.tallied.with(|table| Ok(table.insert((id, seq.0), message.0)?.is_some()))?;
        came(bytes, had_place, TALLIED_BYTES);
        Ok(())
    }

    /// Removes what belongs to the messages of a chat up to a sequence number. `meant` is whom they are meant for, by
    /// message.
    pub(super) fn forget(
        &self,
        chat: ChatId,
        through: Seq,
        meant: Vec<(Seq, UserId)>,
        bytes: &mut u64,
    ) -> Result<(), StoreError> {
        for (message, user) in meant {
            self.means_no_more(chat, message, [user], bytes)?;
        }
        let id = chat.bytes();
        let gone = self.pictures.with(|table| {
            let mut gone = Vec::new();
            let all = (id, 0, [0; ID_BYTES])..=(id, through.0, [u8::MAX; ID_BYTES]);
            for row in table.range(all)? {
                gone.push(row?.0.value());
            }
            gone.iter().try_for_each(|key| take(table, *key, bytes))?;
            Ok(gone)
        })?;
        for (.., picture) in gone {
            let was_there = self.picture_of.with(|table| Ok(table.remove(picture)?.is_some()))?;
            went(bytes, was_there, PICTURE_OF_BYTES);
        }
        self.forget_reactions(chat, 0..=through.0, bytes)
    }

    /// Removes the reactions to messages of a chat with these sequence numbers.
    fn forget_reactions(
        &self,
        chat: ChatId,
        messages: std::ops::RangeInclusive<u64>,
        bytes: &mut u64,
    ) -> Result<(), StoreError> {
        let (id, first, last) = (chat.bytes(), *messages.start(), *messages.end());
        let tallies = self.tallies.with(|table| {
            let mut gone = Vec::new();
            for row in table.range((id, first)..=(id, last))? {
                let (key, tally) = row?;
                let tally: Tally = codec::decode(tally.value())?;
                gone.push((key.value(), tally.changed));
            }
            gone.iter().try_for_each(|(key, _)| take(table, *key, bytes))?;
            Ok(gone)
        })?;
        // Without a tally there are no reactions.
        if tallies.is_empty() {
            return Ok(());
        }
        for (_, changed) in tallies {
            let was_there = self.tallied.with(|table| Ok(table.remove((id, changed.0))?.is_some()))?;
            went(bytes, was_there, TALLIED_BYTES);
        }
        let gone = self.reactions.with(|table| {
            let mut gone = Vec::new();
            let all = (id, first, [0; ID_BYTES], EMOJI_FIRST)..=(id, last, [u8::MAX; ID_BYTES], [u8::MAX; _]);
            for row in table.extract_from_if(all, |_, ()| true)? {
                gone.push(row?.0.value());
            }
            Ok(gone)
        })?;
        for (id, message, user, emoji) in gone {
            self.reacted_by.with(|table| Ok(table.remove((id, user, message, emoji))?.is_some()))?;
            went(bytes, true, REACTION_BYTES);
        }
        Ok(())
    }

    fn means(
        &self,
        chat: ChatId,
        seq: Seq,
        users: impl IntoIterator<Item = UserId>,
        bytes: &mut u64,
    ) -> Result<(), StoreError> {
        for user in users {
            let key = (user.bytes(), chat.bytes(), seq.0);
            let was_there = self.mentions.with(|table| Ok(table.insert(key, ())?.is_some()))?;
            came(bytes, was_there, MENTION_BYTES);
        }
        Ok(())
    }

    fn means_no_more(
        &self,
        chat: ChatId,
        seq: Seq,
        users: impl IntoIterator<Item = UserId>,
        bytes: &mut u64,
    ) -> Result<(), StoreError> {
        for user in users {
            let key = (user.bytes(), chat.bytes(), seq.0);
            let was_there = self.mentions.with(|table| Ok(table.remove(key)?.is_some()))?;
            went(bytes, was_there, MENTION_BYTES);
        }
        Ok(())
    }

    pub(super) fn has_reacted(
        &self,
        chat: ChatId,
        message: Seq,
        user: UserId,
        emoji: &Emoji,
    ) -> Result<bool, StoreError> {
        let key = (chat.bytes(), message.0, user.bytes(), emoji_key(emoji));
        self.reactions.with(|table| Ok(table.get(key)?.is_some()))
    }

    pub(super) fn tally(&self, chat: ChatId, message: Seq) -> Result<Option<Tally>, StoreError> {
        self.tallies.with(|table| {
            let record = table.get((chat.bytes(), message.0))?;
            Ok(record.map(|record| codec::decode(record.value())).transpose()?)
        })
    }

    pub(super) fn picture(
        &self,
        chat: ChatId,
        message: Seq,
        picture: PictureId,
    ) -> Result<Option<PictureRecord>, StoreError> {
        self.pictures.with(|table| {
            let record = table.get((chat.bytes(), message.0, picture.bytes()))?;
            Ok(record.map(|record| codec::decode(record.value())).transpose()?)
        })
    }

    pub(super) fn message_of_picture(&self, picture: PictureId) -> Result<Option<(ChatId, Seq)>, StoreError> {
        self.picture_of.with(|table| {
            let found = table.get(picture.bytes())?.map(|found| found.value());
            Ok(found.map(|(chat, seq)| (ChatId::from_bytes(chat), Seq(seq))))
        })
    }
}
