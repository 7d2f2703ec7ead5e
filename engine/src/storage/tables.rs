//! The tables of the database, and the reads that snapshots and write transactions have in common.

use std::ops::RangeInclusive;

use domain::{
    ChatId, Emoji, Epoch, Event, Seq, Timestamp, Tracked, UserId, id::ID_BYTES, reaction::EMOJI_BYTES,
};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{codec, error::StoreError};

/// The bytes of an id, of which keys are made.
pub(super) type Id = [u8; ID_BYTES];

/// The bytes of an emoji, of which keys are made: zeros follow it. Keys of one length are known to be whole.
pub(super) type EmojiKey = [u8; EMOJI_BYTES];

/// The key that is before those of all emoji.
pub(super) const EMOJI_FIRST: EmojiKey = [0; EMOJI_BYTES];

/// The state of the log: its epoch, and the newest entry that was applied.
pub(super) const LOG: TableDefinition<(), &[u8]> = TableDefinition::new("log");
/// Users who have chosen a nickname, by id.
pub(super) const USERS: TableDefinition<Id, &[u8]> = TableDefinition::new("users");
/// Chats, by id.
pub(super) const CHATS: TableDefinition<Id, &[u8]> = TableDefinition::new("chats");
/// When each user was last active, in milliseconds since 1970.
pub(super) const USERS_ACTIVE: TableDefinition<Id, u64> = TableDefinition::new("users_active");
/// When each chat was last active, in milliseconds since 1970.
pub(super) const CHATS_ACTIVE: TableDefinition<Id, u64> = TableDefinition::new("chats_active");
/// Direct chats, by both of their users, once in each order.
pub(super) const DIRECT_CHATS: TableDefinition<(Id, Id), Id> = TableDefinition::new("pairs");
/// Events, by chat and sequence number.
pub(super) const EVENTS: TableDefinition<(Id, u64), &[u8]> = TableDefinition::new("events");
/// The sequence number of each message, by chat, author and client id.
pub(super) const POSTED: TableDefinition<(Id, Id, Id), u64> = TableDefinition::new("posted");

/// The sequence number of each message that was removed, by the same key. Older versions of Qchat left these in
/// [`POSTED`].
pub(super) const REMOVED: TableDefinition<(Id, Id, Id), u64> = TableDefinition::new("removed");

/// Pairs of a user and a user they have hidden.
pub(super) const HIDDEN: TableDefinition<(Id, Id), ()> = TableDefinition::new("hidden");

/// Users who do not accept invites.
pub(super) const UNINVITED: TableDefinition<Id, ()> = TableDefinition::new("uninvited");

/// Who has reacted to which message, with which emoji: by chat, sequence number of the message and user.
pub(super) const REACTIONS: TableDefinition<(Id, u64, Id, EmojiKey), ()> = TableDefinition::new("reactions");

/// The same, by chat, user and sequence number of the message.
pub(super) const REACTED_BY: TableDefinition<(Id, Id, u64, EmojiKey), ()> =
    TableDefinition::new("reacted_by");

/// The tally of each message that was reacted to, by chat and sequence number of the message.
pub(super) const TALLIES: TableDefinition<(Id, u64), &[u8]> = TableDefinition::new("tallies");

/// The sequence number of each message that was reacted to, by chat and sequence number of the newest change of its tally.
pub(super) const TALLIED: TableDefinition<(Id, u64), u64> = TableDefinition::new("tallied");

/// Who is meant by which message: by user, chat and sequence number of the message.
pub(super) const MENTIONS: TableDefinition<(Id, Id, u64), ()> = TableDefinition::new("mentions");

/// What is stored of each picture, by chat, sequence number of its message and id.
pub(super) const PICTURES: TableDefinition<(Id, u64, Id), &[u8]> = TableDefinition::new("pictures");

/// The chat and the sequence number of the message of each picture.
pub(super) const PICTURE_OF: TableDefinition<Id, (Id, u64)> = TableDefinition::new("picture_of");

/// The state of a replicated log. Only in the view of one.
pub(super) const REPLICA: TableDefinition<(), &[u8]> = TableDefinition::new("replica");

/// What is known of the senders of the messages of a replicated log, by incarnation. Only in the view of one.
pub(super) const PRODUCERS: TableDefinition<Id, &[u8]> = TableDefinition::new("producers");

/// The number of bytes stored: keys and values of the tables that grow with use.
pub(super) const BYTES: TableDefinition<(), u64> = TableDefinition::new("bytes");

/// The state of the log, as far as it was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogState {
    /// The epoch, which identifies this history of the log. Generated with the database, and again when entries may
    /// have been lost.
    pub epoch: Epoch,
    /// The sequence number of the newest entry.
    pub seq: Seq,
    /// The time of the newest entry.
    pub at: Timestamp,
}

/// Reads a record. `None` if it is not stored.
pub(super) fn get<T: for<'de> Deserialize<'de>>(
    table: &impl ReadableTable<Id, &'static [u8]>,
    id: Id,
) -> Result<Option<T>, StoreError> {
    Ok(table.get(id)?.map(|bytes| codec::decode(bytes.value())).transpose()?)
}

/// Reads a record with the time when it was last active. `None` if it is not stored.
pub(super) fn kept<T: for<'de> Deserialize<'de>>(
    table: &impl ReadableTable<Id, &'static [u8]>,
    active: &impl ReadableTable<Id, u64>,
    id: Id,
) -> Result<Option<Tracked<T>>, StoreError> {
    let Some(value) = get(table, id)? else { return Ok(None) };
    let active_at = Timestamp(active.get(id)?.map_or(0, |at| at.value()));
    Ok(Some(Tracked { value, active_at }))
}

/// Creates the tables that readers need, as far as they are missing.
pub(super) fn create(write: &WriteTransaction) -> Result<(), StoreError> {
    write.open_table(LOG)?;
    write.open_table(USERS)?;
    write.open_table(USERS_ACTIVE)?;
    write.open_table(CHATS)?;
    write.open_table(CHATS_ACTIVE)?;
    write.open_table(DIRECT_CHATS)?;
    write.open_table(EVENTS)?;
    write.open_table(POSTED)?;
    write.open_table(REMOVED)?;
    write.open_table(HIDDEN)?;
    write.open_table(UNINVITED)?;
    write.open_table(BYTES)?;
    write.open_table(REACTIONS)?;
    write.open_table(REACTED_BY)?;
    write.open_table(TALLIES)?;
    write.open_table(TALLIED)?;
    write.open_table(MENTIONS)?;
    write.open_table(PICTURES)?;
    write.open_table(PICTURE_OF)?;
    Ok(())
}

/// Returns the key of an emoji.
pub(super) fn emoji_key(emoji: &Emoji) -> EmojiKey {
    let mut key = EMOJI_FIRST;
    for (place, byte) in key.iter_mut().zip(emoji.as_str().bytes()) {
        *place = byte;
    }
    key
}

/// Returns the emoji of a key. `None` if it is the key of none.
pub(super) fn emoji_of(key: EmojiKey) -> Option<Emoji> {
    let end = key.iter().rposition(|byte| *byte != 0)? + 1;
    let text = str::from_utf8(key.get(..end)?).ok()?;
    Emoji::try_from(text.to_owned()).ok()
}

/// Reads an event of a chat as it is stored. `None` if it is not.
pub(super) fn event(
    events: &impl ReadableTable<(Id, u64), &'static [u8]>,
    chat: ChatId,
    seq: Seq,
) -> Result<Option<Event>, StoreError> {
    let found = events.get((chat.bytes(), seq.0))?;
    Ok(found.map(|record| codec::decode(record.value())).transpose()?)
}

/// Returns the range of all keys that begin with a user.
pub(super) fn all_with(user: UserId) -> RangeInclusive<(Id, Id)> {
    (user.bytes(), [0; ID_BYTES])..=(user.bytes(), [u8::MAX; ID_BYTES])
}

/// Returns the range of all keys of an author's messages in a chat.
pub(super) fn all_of(chat: ChatId, author: UserId) -> RangeInclusive<(Id, Id, Id)> {
    let (chat, author) = (chat.bytes(), author.bytes());
    (chat, author, [0; ID_BYTES])..=(chat, author, [u8::MAX; ID_BYTES])
}

/// Returns the users that a user has hidden.
pub(super) fn hidden_by(
    hidden: &impl ReadableTable<(Id, Id), ()>,
    user: UserId,
) -> Result<Vec<UserId>, StoreError> {
    let mut found = Vec::new();
    for pair in hidden.range(all_with(user))? {
        found.push(UserId::from_bytes(pair?.0.value().1));
    }
    Ok(found)
}

/// Returns the direct chats of a user, each with its other user.
pub(super) fn direct_chats_of(
    direct_chats: &impl ReadableTable<(Id, Id), Id>,
    user: UserId,
) -> Result<Vec<(UserId, ChatId)>, StoreError> {
    let mut found = Vec::new();
    for pair in direct_chats.range(all_with(user))? {
        let (key, chat) = pair?;
        found.push((UserId::from_bytes(key.value().1), ChatId::from_bytes(chat.value())));
    }
    Ok(found)
}
