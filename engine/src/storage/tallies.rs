//! The reactions to messages, as readers are sent them: those to the messages of a page, and those that have changed.

use std::{collections::BTreeSet, ops::RangeInclusive};

use domain::{ChatId, Emoji, MessageTally, Seq, Tally, UserId, reaction::EMOJI_BYTES, tally::TALLIES_LIMIT};

use super::{
    BATCH_BYTES, codec,
    error::StoreError,
    snapshot::Snapshot,
    tables::{EMOJI_FIRST, EmojiKey, Id, REACTED_BY, TALLIED, TALLIES, emoji_key, event},
};

/// The size in bytes of the tallies of a page, as they are stored, beyond which nobody is named in them: those of fifty
/// messages that everybody has reacted to would be larger than what was said.
const NAMED_BYTES: usize = 64 * 1024;

/// The key that is after those of all emoji.
const EMOJI_LAST: EmojiKey = [u8::MAX; EMOJI_BYTES];

/// The reactions to messages of a chat that have changed after a position of the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ChangedTallies {
    /// The position up to which all changes are known with these.
    pub reacted: Seq,
    /// The messages in the order of their newest changes. It is not filled in which reactions are a reader's own.
    pub tallies: Vec<MessageTally>,
}

impl Snapshot {
    /// Returns the position of the newest change of reactions in a chat. [`Seq::ZERO`] if there are none.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn reacted(&self, chat: ChatId) -> Result<Seq, StoreError> {
        let chat = chat.bytes();
        let newest = self.read.open_table(TALLIED)?.range((chat, 0)..=(chat, u64::MAX))?.next_back();
        Ok(newest.transpose()?.map_or(Seq::ZERO, |(key, _)| Seq(key.value().1)))
    }

    /// Returns whether a user has reacted to any message of a chat.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn has_reacted_in(&self, chat: ChatId, user: UserId) -> Result<bool, StoreError> {
        let all = by_user(chat, user, Seq::ZERO..=Seq(u64::MAX));
        Ok(self.read.open_table(REACTED_BY)?.range(all)?.next().transpose()?.is_some())
    }

    /// Returns whether a client can resume from a change of reactions: those to at most [`TALLIES_LIMIT`] messages have
    /// changed since.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn can_resume_reactions(&self, chat: ChatId, after: Seq) -> Result<bool, StoreError> {
        let chat = chat.bytes();
        let tallied = self.read.open_table(TALLIED)?;
        let changed = tallied.range((chat, after.0.saturating_add(1))..=(chat, u64::MAX))?;
        Ok(changed.take(TALLIES_LIMIT + 1).count() <= TALLIES_LIMIT)
    }

    /// Returns the reactions to messages that have changed after a position of the log, and up to and including another
    /// one: at most [`TALLIES_LIMIT`], and no more once they take [`BATCH_BYTES`]. A message whose reactions have changed
    /// later as well is left out. So is one that has expired.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn tallies_since(&self, chat: ChatId, after: Seq, to: Seq) -> Result<ChangedTallies, StoreError> {
        let mut changed = ChangedTallies { reacted: after.max(to), tallies: Vec::new() };
        if after >= to {
            return Ok(changed);
        }
        let id = chat.bytes();
        let (events, tallies) = (self.events()?, self.read.open_table(TALLIES)?);
        let tallied = self.read.open_table(TALLIED)?;
        let mut bytes = 0;
        for (number, found) in tallied.range((id, after.0.saturating_add(1))..=(id, to.0))?.enumerate() {
            let (key, message) = found?;
            let (_, seq) = key.value();
            if number >= TALLIES_LIMIT || bytes >= BATCH_BYTES {
                // that one is the first of the next
                changed.reacted = Seq(seq.saturating_sub(1));
                break;
            }
            let message = Seq(message.value());
            let is_there =
                event(&events, chat, message)?.is_some_and(|event| !self.expiry.of_event(event.at));
            let Some(record) = tallies.get((id, message.0))?.filter(|_| is_there) else { continue };
            bytes += record.value().len();
            let tally: Tally = codec::decode(record.value())?;
            changed.tallies.push(MessageTally::new(message, tally, |_| false));
        }
        Ok(changed)
    }

    /// Returns the reactions to those messages of a chat that are in a range, for a reader, by sequence number. Messages
    /// without any are left out. If there are very many reactions, users are only named for the newest messages.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn tallies_of(
        &self,
        chat: ChatId,
        messages: RangeInclusive<Seq>,
        reader: UserId,
    ) -> Result<Vec<MessageTally>, StoreError> {
        let id = chat.bytes();
        let (mut found, mut bytes) = (Vec::new(), 0);
        let tallies = self.read.open_table(TALLIES)?;
        let mut own = None;
        for row in tallies.range((id, messages.start().0)..=(id, messages.end().0))?.rev() {
            let (key, record) = row?;
            let message = Seq(key.value().1);
            let mut tally: Tally = codec::decode(record.value())?;
            if tally.of.is_empty() {
                continue;
            }
            bytes += record.value().len();
            if bytes > NAMED_BYTES {
                tally.of.iter_mut().for_each(|count| count.newest.clear());
            }
            let own = match &mut own {
                Some(own) => own,
                // most pages have no reactions, and are read without
                none => none.insert(self.reactions_by(chat, messages.clone(), reader)?),
            };
            let is_mine = |emoji: &Emoji| own.contains(&(message.0, emoji_key(emoji)));
            found.push(MessageTally::new(message, tally, is_mine));
        }
        found.reverse();
        Ok(found)
    }

    /// Returns the reactions of a user to those messages of a chat that are in a range.
    fn reactions_by(
        &self,
        chat: ChatId,
        messages: RangeInclusive<Seq>,
        user: UserId,
    ) -> Result<BTreeSet<(u64, EmojiKey)>, StoreError> {
        let mut own = BTreeSet::new();
        for row in self.read.open_table(REACTED_BY)?.range(by_user(chat, user, messages))? {
            let (_, _, message, emoji) = row?.0.value();
            own.insert((message, emoji));
        }
        Ok(own)
    }
}

/// Returns the range of the keys of a user's reactions to messages of a chat that are in a range.
fn by_user(
    chat: ChatId,
    user: UserId,
    messages: RangeInclusive<Seq>,
) -> RangeInclusive<(Id, Id, u64, EmojiKey)> {
    let (chat, user) = (chat.bytes(), user.bytes());
    let (Seq(first), Seq(last)) = messages.into_inner();
    (chat, user, first, EMOJI_FIRST)..=(chat, user, last, EMOJI_LAST)
}
