//! A snapshot of the database, from which everything is left out that has expired by a given time.

use std::collections::BTreeSet;

use domain::{Chat, ChatId, Event, Expiry, Invite, Seq, Timestamp, Tracked, User, UserId};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use super::{
    BATCH_BYTES, codec,
    derived::{Sources, derived_bytes},
    error::StoreError,
    tables::{
        CHATS, CHATS_ACTIVE, DIRECT_CHATS, EVENTS, HIDDEN, Id, LOG, LogState, POSTED, REMOVED, UNINVITED,
        USERS, USERS_ACTIVE, all_of, direct_chats_of, event, hidden_by, kept,
    },
};

/// The number of records that one sweep removes at once, so that others do not wait for long behind it.
const EXPIRED_LIMIT: usize = 512;

/// A batch of what has expired and is still stored. After it is removed, the next batch can be looked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ExpiredBatch {
    /// The expired users.
    pub users: Vec<UserId>,
    /// Expired chats without events, or whose last events are in [`ExpiredBatch::events`].
    pub chats: Vec<ChatId>,
    /// Expired events: all of a chat up to and including a sequence number.
    pub events: Vec<(ChatId, Seq)>,
}

/// A consistent, read-only snapshot of the database. What has expired by its time is left out.
pub struct Snapshot {
    pub(super) read: ReadTransaction,
    /// What has expired of events.
    pub(super) expiry: Expiry,
    /// What has expired of users and chats: as of the same time or, if the log is interrupted, an earlier one.
    pub(super) in_use: Expiry,
}

impl Snapshot {
    /// Returns the state of the log. `None` if nothing has been applied yet.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn log(&self) -> Result<Option<LogState>, StoreError> {
        let log = self.read.open_table(LOG)?;
        Ok(log.get(())?.map(|bytes| codec::decode(bytes.value())).transpose()?)
    }

    /// Returns a user as stored, or with the default nickname if none is stored.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn user(&self, id: UserId) -> Result<User, StoreError> {
        Ok(self.known_user(id)?.unwrap_or_else(|| User::new(id)))
    }

    /// Returns a user as stored. `None` if the user is not stored or has expired.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn known_user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let kept: Option<Tracked<User>> =
            kept(&self.read.open_table(USERS)?, &self.read.open_table(USERS_ACTIVE)?, id.bytes())?;
        Ok(kept.filter(|kept| !self.in_use.of_user(kept.active_at)).map(|known| known.value))
    }

    /// Returns a chat. `None` if it does not exist or has expired.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn chat(&self, id: ChatId) -> Result<Option<Chat>, StoreError> {
        let kept: Option<Tracked<Chat>> =
            kept(&self.read.open_table(CHATS)?, &self.read.open_table(CHATS_ACTIVE)?, id.bytes())?;
        Ok(kept.filter(|kept| !self.in_use.of_chat(kept.active_at)).map(|kept| kept.value))
    }

    /// Returns when a user was last active according to the database, expired or not. `None` if the user is not stored.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn user_noted_at(&self, id: UserId) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.read.open_table(USERS_ACTIVE)?.get(id.bytes())?.map(|at| Timestamp(at.value())))
    }

    /// Returns when a chat was last active according to the database, expired or not. `None` if it is not stored.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn chat_noted_at(&self, id: ChatId) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.read.open_table(CHATS_ACTIVE)?.get(id.bytes())?.map(|at| Timestamp(at.value())))
    }

    /// Returns all chats that have not expired, with the time when each was last active.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn chats(&self) -> Result<Vec<Tracked<Chat>>, StoreError> {
        let (chats, active) = (self.read.open_table(CHATS)?, self.read.open_table(CHATS_ACTIVE)?);
        let mut all = Vec::new();
        for found in chats.iter()? {
            let (id, record) = found?;
            let active_at = active.get(id.value())?.map_or(0, |at| at.value());
            let kept = Tracked { value: codec::decode(record.value())?, active_at: Timestamp(active_at) };
            if !self.in_use.of_chat(kept.active_at) {
                all.push(kept);
            }
        }
        Ok(all)
    }

    /// Returns whether a user has posted a message in a chat before a sequence number, removed or not.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn has_said_before(&self, chat: ChatId, author: UserId, before: Seq) -> Result<bool, StoreError> {
        for table in [POSTED, REMOVED] {
            for message in self.read.open_table(table)?.range(all_of(chat, author))? {
                if message?.1.value() < before.0 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Returns the authors of messages in a chat since a time, removed or not, and the sequence number of the first
    /// event looked at in that time. Looks at the newest `limit` events at most. If there are none since then, the
    /// sequence number is the greatest possible.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn authors_since(
        &self,
        chat: ChatId,
        since: Timestamp,
        limit: usize,
    ) -> Result<(Vec<UserId>, Seq), StoreError> {
        let chat = chat.bytes();
        let (mut authors, mut begins) = (BTreeSet::new(), Seq(u64::MAX));
        for found in self.events()?.range((chat, 0)..=(chat, u64::MAX))?.rev().take(limit) {
            let (place, record) = found?;
            let event: Event = codec::decode(record.value())?;
            if event.at < since {
                break;
            }
            begins = Seq(place.value().1);
            authors.extend(event.kind.message_or_tombstone().map(|message| message.author));
        }
        Ok((authors.into_iter().collect(), begins))
    }

    /// Returns the direct chat of two users. `None` if they have none or it has expired.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn direct_chat_with(&self, one: UserId, other: UserId) -> Result<Option<Chat>, StoreError> {
        let found = self.read.open_table(DIRECT_CHATS)?.get((one.bytes(), other.bytes()))?;
        found.map_or(Ok(None), |chat| self.chat(ChatId::from_bytes(chat.value())))
    }

    /// Returns the other user of each direct chat of a user.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn partners(&self, of: UserId) -> Result<Vec<UserId>, StoreError> {
        let direct_chats = direct_chats_of(&self.read.open_table(DIRECT_CHATS)?, of)?;
        Ok(direct_chats.into_iter().map(|(peer, _)| peer).collect())
    }

    /// Returns the users that a user has hidden.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn hidden(&self, user: UserId) -> Result<Vec<UserId>, StoreError> {
        // It expires with the user.
        if self.user_noted_at(user)?.is_none_or(|at| self.in_use.of_user(at)) {
            return Ok(Vec::new());
        }
        hidden_by(&self.read.open_table(HIDDEN)?, user)
    }

    /// Returns whether a user accepts invites. A refusal of invites expires with the user.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn takes_invites(&self, user: UserId) -> Result<bool, StoreError> {
        if self.user_noted_at(user)?.is_none_or(|at| self.in_use.of_user(at)) {
            return Ok(true);
        }
        Ok(self.read.open_table(UNINVITED)?.get(user.bytes())?.is_none())
    }

    /// Returns the event of a chat with a sequence number, [complete](Snapshot::complete). `None` if there is none or it has expired.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn event(&self, chat: ChatId, seq: Seq) -> Result<Option<Event>, StoreError> {
        let event = event(&self.events()?, chat, seq)?.filter(|event| !self.expiry.of_event(event.at));
        event.map(|event| self.complete(event)).transpose()
    }

    /// Returns the invites that wait for an answer of a user, the oldest first, without those from users they have
    /// hidden. Empty if the user does not accept invites.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn invites_of(&self, user: UserId) -> Result<Vec<Invite>, StoreError> {
        self.invites_seen(user, &self.hidden(user)?)
    }

    /// Returns the same as [`Snapshot::invites_of`], with the given users taken as hidden.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn invites_seen(&self, user: UserId, hidden: &[UserId]) -> Result<Vec<Invite>, StoreError> {
        if !self.takes_invites(user)? {
            return Ok(Vec::new());
        }
        let mut invites = Vec::new();
        for (peer, chat) in direct_chats_of(&self.read.open_table(DIRECT_CHATS)?, user)? {
            if hidden.contains(&peer) {
                continue;
            }
            if let Some(chat) = self.chat(chat)?.filter(|chat| chat.invited() == Some(user)) {
                invites.push((chat.seq, Invite { chat: chat.id, from: self.user(peer)? }));
            }
        }
        // New invites go to the end, so that none moves just when the user is about to answer it.
        invites.sort_by_key(|(seq, _)| *seq);
        Ok(invites.into_iter().map(|(_, invite)| invite).collect())
    }

    /// Returns whether a user has an invite to another user that is not answered yet.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn has_invited(&self, user: UserId) -> Result<bool, StoreError> {
        for (peer, chat) in direct_chats_of(&self.read.open_table(DIRECT_CHATS)?, user)? {
            if self.chat(chat)?.is_some_and(|chat| chat.invited() == Some(peer)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns a batch of what has expired and is still stored. Empty if there is none.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn expired_batch(&self) -> Result<ExpiredBatch, StoreError> {
        let mut batch = ExpiredBatch::default();
        for found in self.read.open_table(USERS_ACTIVE)?.iter()? {
            let (id, at) = found?;
            if batch.users.len() < EXPIRED_LIMIT && self.in_use.of_user(Timestamp(at.value())) {
                batch.users.push(UserId::from_bytes(id.value()));
            }
        }
        let (events, mut left) = (self.events()?, EXPIRED_LIMIT);
        for found in self.read.open_table(CHATS_ACTIVE)?.iter()? {
            let (id, at) = found?;
            if left == 0 {
                break;
            }
            let (chat, expired) = (id.value(), self.in_use.of_chat(Timestamp(at.value())));
            let (mut through, mut ahead) = (None, 0);
            let mut rest = events.range((chat, 0)..=(chat, u64::MAX))?;
            let is_empty = loop {
                let Some(found) = rest.next() else { break true };
                let (place, record) = found?;
                let at = codec::decode::<Event>(record.value())?.at;
                let gone = expired || self.expiry.of_event(at);
                // An event whose time is in the future was stored before the clock was set back. It is removed with the
                // events after it.
                if left == 0 || ahead == EXPIRED_LIMIT || !(gone || at > self.expiry.now) {
                    break false;
                }
                if gone {
                    left -= 1;
                    through = Some(Seq(place.value().1));
                } else {
                    // Limited, so that other chats do not have to wait for these.
                    ahead += 1;
                }
            };
            let chat = ChatId::from_bytes(chat);
            batch.events.extend(through.map(|through| (chat, through)));
            if expired && is_empty {
                left = left.saturating_sub(1);
                batch.chats.push(chat);
            }
        }
        Ok(batch)
    }

    /// Returns the next events of a chat after a sequence number, [complete](Snapshot::complete) and oldest first: at most `limit`, and no more once they
    /// and what they quote take [`BATCH_BYTES`]. Empty if there are no more.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn events_after(&self, chat: ChatId, after: Seq, limit: usize) -> Result<Vec<Event>, StoreError> {
        let table = self.events()?;
        let (mut events, mut sources) = (Vec::new(), Sources::default());
        let mut bytes = 0;
        for found in range_after(&table, chat, after)? {
            let (_, record) = found?;
            let event: Event = codec::decode(record.value())?;
            if self.expiry.of_event(event.at) {
                continue;
            }
            let event = self.complete_from(&table, event, &mut sources)?;
            bytes += record.value().len() + derived_bytes(&event.kind);
            events.push(event);
            if bytes + sources.bytes >= BATCH_BYTES || events.len() >= limit {
                break;
            }
        }
        Ok(events)
    }

    /// Returns whether a client can resume from a cursor: everything after it is stored, and that is at most `limit`
    /// events.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn can_resume(&self, chat: &Chat, cursor: Seq, limit: usize) -> Result<bool, StoreError> {
        let table = self.events()?;
        let mut after = range_after(&table, chat.id, cursor)?;
        let Some(first) = after.next() else { return Ok(cursor == chat.seq) };
        let first: Event = codec::decode(first?.1.value())?;
        let goes_on = first.prev == cursor && !self.expiry.of_event(first.at);
        Ok(goes_on && after.take(limit).count() < limit)
    }

    /// Returns the newest events of a chat, [complete](Snapshot::complete) and oldest first, and whether there are older ones: at most `limit`, and no
    /// more once they and what they quote take [`BATCH_BYTES`].
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn newest_events(&self, chat: ChatId, limit: usize) -> Result<(Vec<Event>, bool), StoreError> {
        self.events_before(chat, Seq(u64::MAX), limit)
    }

    /// Returns the last events of a chat before a sequence number, [complete](Snapshot::complete) and oldest first, and whether there are older ones: at
    /// most `limit`, and no more once they and what they quote take [`BATCH_BYTES`].
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn events_before(
        &self,
        chat: ChatId,
        before: Seq,
        limit: usize,
    ) -> Result<(Vec<Event>, bool), StoreError> {
        let chat = chat.bytes();
        let (mut newest, mut sources) = (Vec::new(), Sources::default());
        let mut earlier = false;
        let mut bytes = 0;
        let table = self.events()?;
        for found in table.range((chat, 0)..(chat, before.0))?.rev() {
            let (_, record) = found?;
            let event: Event = codec::decode(record.value())?;
            // Everything older than an expired event has expired as well.
            if self.expiry.of_event(event.at) {
                break;
            }
            if newest.len() == limit || bytes + sources.bytes >= BATCH_BYTES {
                earlier = true;
                break;
            }
            let event = self.complete_from(&table, event, &mut sources)?;
            bytes += record.value().len() + derived_bytes(&event.kind);
            newest.push(event);
        }
        newest.reverse();
        Ok((newest, earlier))
    }

    pub(super) fn events(&self) -> Result<ReadOnlyTable<(Id, u64), &'static [u8]>, StoreError> {
        Ok(self.read.open_table(EVENTS)?)
    }
}

fn range_after(
    events: &ReadOnlyTable<(Id, u64), &'static [u8]>,
    chat: ChatId,
    after: Seq,
) -> Result<redb::Range<'static, (Id, u64), &'static [u8]>, StoreError> {
    let chat = chat.bytes();
    Ok(events.range((chat, after.0.saturating_add(1))..=(chat, u64::MAX))?)
}
