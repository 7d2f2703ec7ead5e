//! A view of the database at a moment, and what has expired by then.

use std::collections::BTreeSet;

use domain::{
    Chat, ChatId, Event, EventKind, Expiry, Invite, Message, Seq, Timestamp, Tombstone, Tracked, User, UserId,
};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use super::{
    BATCH_BYTES, CHATS, CHATS_ACTIVE, DIRECT_CHATS, EVENTS, HIDDEN, Id, LOG, LogState, POSTED, REMOVED,
    StoreError, UNINVITED, USERS, USERS_ACTIVE, all_of, codec, direct_chats_of, event, hidden_by, kept,
};

/// RecordCache that one sweep takes away at once, so that nobody waits for long behind it.
const SWEEPINGS: usize = 512;

/// What a sweep would take away: some of what has expired, to be proposed and then looked for again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ExpiredBatch {
    /// Users.
    pub users: Vec<UserId>,
    /// Chats without events, or whose last events are among these.
    pub chats: Vec<ChatId>,
    /// Events, by chat and up to a place.
    pub events: Vec<(ChatId, Seq)>,
}

/// A consistent view of the database at a moment: what has expired by then is not there.
pub struct Snapshot {
    pub(super) read: ReadTransaction,
    pub(super) expiry: Expiry,
}

impl Snapshot {
    /// The log as far as it was applied.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn log(&self) -> Result<Option<LogState>, StoreError> {
        let log = self.read.open_table(LOG)?;
        Ok(log.get(())?.map(|bytes| codec::decode(bytes.value())).transpose()?)
    }

    /// The user as stored, or as everybody is before they chose a nickname.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn user(&self, id: UserId) -> Result<User, StoreError> {
        Ok(self.known_user(id)?.unwrap_or_else(|| User::new(id)))
    }

    /// The user as stored; nothing where nothing is known of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn known_user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let kept: Option<Tracked<User>> =
            kept(&self.read.open_table(USERS)?, &self.read.open_table(USERS_ACTIVE)?, id.bytes())?;
        Ok(kept.filter(|kept| !self.expiry.of_user(kept.active_at)).map(|known| known.value))
    }

    /// The chat, where there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn chat(&self, id: ChatId) -> Result<Option<Chat>, StoreError> {
        let kept: Option<Tracked<Chat>> =
            kept(&self.read.open_table(CHATS)?, &self.read.open_table(CHATS_ACTIVE)?, id.bytes())?;
        Ok(kept.filter(|kept| !self.expiry.of_chat(kept.active_at)).map(|kept| kept.value))
    }

    /// When a user was last noted, expired or not; nothing where nothing is stored of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn user_noted_at(&self, id: UserId) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.read.open_table(USERS_ACTIVE)?.get(id.bytes())?.map(|at| Timestamp(at.value())))
    }

    /// When a chat was last noted, expired or not; nothing where there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn chat_noted_at(&self, id: ChatId) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.read.open_table(CHATS_ACTIVE)?.get(id.bytes())?.map(|at| Timestamp(at.value())))
    }

    /// Every chat there is, and when it was last active.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn chats(&self) -> Result<Vec<Tracked<Chat>>, StoreError> {
        let (chats, active) = (self.read.open_table(CHATS)?, self.read.open_table(CHATS_ACTIVE)?);
        let mut all = Vec::new();
        for found in chats.iter()? {
            let (id, record) = found?;
            let active_at = active.get(id.value())?.map_or(0, |at| at.value());
            let kept = Tracked { value: codec::decode(record.value())?, active_at: Timestamp(active_at) };
            if !self.expiry.of_chat(kept.active_at) {
                all.push(kept);
            }
        }
        Ok(all)
    }

    /// Whether somebody said something in a chat before a place, removed or not.
    ///
    /// # Errors
    /// When the database cannot be read.
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

    /// Who said something in a chat since a time, removed or not, and the place where that begins. Looks at the newest
    /// `limit` events at most.
    ///
    /// # Errors
    /// When the database cannot be read.
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
            match event.kind {
                EventKind::Posted(Message { author, .. })
                | EventKind::Tombstone(Tombstone { author, .. }) => {
                    authors.insert(author);
                }
                _ => {}
            }
        }
        Ok((authors.into_iter().collect(), begins))
    }

    /// The chat of these two, where there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn chat_of_two(&self, one: UserId, other: UserId) -> Result<Option<Chat>, StoreError> {
        let found = self.read.open_table(DIRECT_CHATS)?.get((one.bytes(), other.bytes()))?;
        found.map_or(Ok(None), |chat| self.chat(ChatId::from_bytes(chat.value())))
    }

    /// Who has a chat of two with a user.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn partners(&self, of: UserId) -> Result<Vec<UserId>, StoreError> {
        let pairs = direct_chats_of(&self.read.open_table(DIRECT_CHATS)?, of)?;
        Ok(pairs.into_iter().map(|(peer, _)| peer).collect())
    }

    /// Whom a user has hidden.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn hidden(&self, user: UserId) -> Result<Vec<UserId>, StoreError> {
        // known for as long as the user is
        if self.user_noted_at(user)?.is_none_or(|at| self.expiry.of_user(at)) {
            return Ok(Vec::new());
        }
        hidden_by(&self.read.open_table(HIDDEN)?, user)
    }

    /// Whether a user can be invited: false where they said so, for as long as they are known.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn takes_invites(&self, user: UserId) -> Result<bool, StoreError> {
        if self.user_noted_at(user)?.is_none_or(|at| self.expiry.of_user(at)) {
            return Ok(true);
        }
        Ok(self.read.open_table(UNINVITED)?.get(user.bytes())?.is_none())
    }

    /// The event at a place of a chat, where there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn event(&self, chat: ChatId, seq: Seq) -> Result<Option<Event>, StoreError> {
        Ok(event(&self.events()?, chat, seq)?.filter(|event| !self.expiry.of_event(event.at)))
    }

    /// Who waits for an answer of a user and is not hidden from them, those who have waited longest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn invites_of(&self, user: UserId) -> Result<Vec<Invite>, StoreError> {
        self.invites_seen(user, &self.hidden(user)?)
    }

    /// The same, with these people hidden.
    ///
    /// # Errors
    /// When the database cannot be read.
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
        // what comes goes below: nothing moves that somebody is about to answer
        invites.sort_by_key(|(seq, _)| *seq);
        Ok(invites.into_iter().map(|(_, invite)| invite).collect())
    }

    /// Whether a user waits for an answer of somebody.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn has_invited(&self, user: UserId) -> Result<bool, StoreError> {
        for (peer, chat) in direct_chats_of(&self.read.open_table(DIRECT_CHATS)?, user)? {
            if self.chat(chat)?.is_some_and(|chat| chat.invited() == Some(peer)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Some of what has expired and is still stored; nothing where there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn sweepings(&self) -> Result<ExpiredBatch, StoreError> {
        let mut sweepings = ExpiredBatch::default();
        for found in self.read.open_table(USERS_ACTIVE)?.iter()? {
            let (id, at) = found?;
            if sweepings.users.len() < SWEEPINGS && self.expiry.of_user(Timestamp(at.value())) {
                sweepings.users.push(UserId::from_bytes(id.value()));
            }
        }
        let (events, mut left) = (self.events()?, SWEEPINGS);
        for found in self.read.open_table(CHATS_ACTIVE)?.iter()? {
            let (id, at) = found?;
            if left == 0 {
                break;
            }
            let (chat, expired) = (id.value(), self.expiry.of_chat(Timestamp(at.value())));
            let (mut through, mut ahead) = (None, 0);
            let mut rest = events.range((chat, 0)..=(chat, u64::MAX))?;
            let is_empty = loop {
                let Some(found) = rest.next() else { break true };
                let (place, record) = found?;
                let at = codec::decode::<Event>(record.value())?.at;
                let gone = expired || self.expiry.of_event(at);
                // what seems to come later is from before the clock was set back, and goes with what follows it
                if left == 0 || ahead == SWEEPINGS || !(gone || at > self.expiry.now) {
                    break false;
                }
                if gone {
                    left -= 1;
                    through = Some(Seq(place.value().1));
                } else {
                    // other chats are not to wait for these
                    ahead += 1;
                }
            };
            let chat = ChatId::from_bytes(chat);
            sweepings.events.extend(through.map(|through| (chat, through)));
            if expired && is_empty {
                left = left.saturating_sub(1);
                sweepings.chats.push(chat);
            }
        }
        Ok(sweepings)
    }

    /// The next events of a chat after a place, oldest first: `limit` at most, and no more once they take
    /// [`BATCH_BYTES`]. Nothing says that there is no more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events_after(&self, chat: ChatId, after: Seq, limit: usize) -> Result<Vec<Event>, StoreError> {
        let mut events = Vec::new();
        let mut bytes = 0;
        for found in self.range_after(chat, after)? {
            let (_, record) = found?;
            let event: Event = codec::decode(record.value())?;
            if self.expiry.of_event(event.at) {
                continue;
            }
            events.push(event);
            bytes += record.value().len();
            if bytes >= BATCH_BYTES || events.len() >= limit {
                break;
            }
        }
        Ok(events)
    }

    /// Whether a cursor into a chat can be continued: everything after it is here, and that is `limit` events at
    /// most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn can_resume(&self, chat: &Chat, cursor: Seq, limit: usize) -> Result<bool, StoreError> {
        let mut after = self.range_after(chat.id, cursor)?;
        let Some(first) = after.next() else { return Ok(cursor == chat.seq) };
        let first: Event = codec::decode(first?.1.value())?;
        let goes_on = first.prev == cursor && !self.expiry.of_event(first.at);
        Ok(goes_on && after.take(limit).count() < limit)
    }

    fn range_after(
        &self,
        chat: ChatId,
        after: Seq,
    ) -> Result<redb::Range<'static, (Id, u64), &'static [u8]>, StoreError> {
        let chat = chat.bytes();
        Ok(self.events()?.range((chat, after.0.saturating_add(1))..=(chat, u64::MAX))?)
    }

    /// The newest events of a chat, oldest first, and whether there are older ones: `limit` at most, and no more once they
    /// take [`BATCH_BYTES`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn newest_events(&self, chat: ChatId, limit: usize) -> Result<(Vec<Event>, bool), StoreError> {
        self.events_before(chat, Seq(u64::MAX), limit)
    }

    /// The last events of a chat before a place, oldest first, and whether there are older ones: `limit` at most, and no
    /// more once they take [`BATCH_BYTES`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn events_before(
        &self,
        chat: ChatId,
        before: Seq,
        limit: usize,
    ) -> Result<(Vec<Event>, bool), StoreError> {
        let chat = chat.bytes();
        let mut newest = Vec::new();
        let mut earlier = false;
        let mut bytes = 0;
        for found in self.events()?.range((chat, 0)..(chat, before.0))?.rev() {
            let (_, record) = found?;
            let event: Event = codec::decode(record.value())?;
            // what is older than something expired has expired as well
            if self.expiry.of_event(event.at) {
                break;
            }
            if newest.len() == limit || bytes >= BATCH_BYTES {
                earlier = true;
                break;
            }
            bytes += record.value().len();
            newest.push(event);
        }
        newest.reverse();
        Ok((newest, earlier))
    }

    fn events(&self) -> Result<ReadOnlyTable<(Id, u64), &'static [u8]>, StoreError> {
        Ok(self.read.open_table(EVENTS)?)
    }
}
