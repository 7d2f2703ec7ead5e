//! The tables of a snapshot file, by number, and the check of their records.

use std::{collections::HashMap, fmt};

use domain::{Chat, ChatId, Event, PictureRecord, Seq, Tally, User, reaction::REACTIONS_LIMIT};
use redb::{Key, TableDefinition, Value};
use serde::Deserialize;

use super::{ExportError, Head, Rows};
use crate::{
    incarnation::Incarnation,
    storage::{
        LogState, Producer, ReplicaState, codec,
        tables::{
            BYTES, CHATS, CHATS_ACTIVE, DIRECT_CHATS, EVENTS, EmojiKey, HIDDEN, Id, LOG, MENTIONS,
            PICTURE_OF, PICTURES, POSTED, PRODUCERS, REACTED_BY, REACTIONS, REMOVED, REPLICA, TALLIED,
            TALLIES, UNINVITED, USERS, USERS_ACTIVE, emoji_of,
        },
    },
};

/// The tables, by the numbers that they have in snapshot files. The numbers never change: new tables are added at the
/// end, and are refused by earlier versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Log,
    Users,
    UsersActive,
    Chats,
    ChatsActive,
    DirectChats,
    Events,
    Posted,
    Removed,
    Hidden,
    Uninvited,
    Bytes,
    Replica,
    Producers,
    Reactions,
    ReactedBy,
    Tallies,
    Tallied,
    Mentions,
    Pictures,
    PictureOf,
}

/// Does something with a table.
pub(super) trait Visitor {
    fn visit<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: Table,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<(), ExportError>;
}

/// Takes the rows of all tables, in order.
pub(super) trait Sink {
    fn row<K: Key, V: Value>(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), ExportError>;
}

impl Table {
    pub(super) const ALL: [Self; 21] = [
        Self::Log,
        Self::Users,
        Self::UsersActive,
        Self::Chats,
        Self::ChatsActive,
        Self::DirectChats,
        Self::Events,
        Self::Posted,
        Self::Removed,
        Self::Hidden,
        Self::Uninvited,
        Self::Bytes,
        Self::Replica,
        Self::Producers,
        Self::Reactions,
        Self::ReactedBy,
        Self::Tallies,
        Self::Tallied,
        Self::Mentions,
        Self::Pictures,
        Self::PictureOf,
    ];

    pub(super) fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    pub(super) fn number(self) -> u8 {
        self as u8
    }

    /// Returns the name of the table in the database.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Users => "users",
            Self::UsersActive => "users_active",
            Self::Chats => "chats",
            Self::ChatsActive => "chats_active",
            Self::DirectChats => "pairs",
            Self::Events => "events",
            Self::Posted => "posted",
            Self::Removed => "removed",
            Self::Hidden => "hidden",
            Self::Uninvited => "uninvited",
            Self::Bytes => "bytes",
            Self::Replica => "replica",
            Self::Producers => "producers",
            Self::Reactions => "reactions",
            Self::ReactedBy => "reacted_by",
            Self::Tallies => "tallies",
            Self::Tallied => "tallied",
            Self::Mentions => "mentions",
            Self::Pictures => "pictures",
            Self::PictureOf => "picture_of",
        }
    }

    pub(super) fn visit(self, visitor: &mut impl Visitor) -> Result<(), ExportError> {
        match self {
            Self::Log => visitor.visit(self, LOG),
            Self::Users => visitor.visit(self, USERS),
            Self::UsersActive => visitor.visit(self, USERS_ACTIVE),
            Self::Chats => visitor.visit(self, CHATS),
            Self::ChatsActive => visitor.visit(self, CHATS_ACTIVE),
            Self::DirectChats => visitor.visit(self, DIRECT_CHATS),
            Self::Events => visitor.visit(self, EVENTS),
            Self::Posted => visitor.visit(self, POSTED),
            Self::Removed => visitor.visit(self, REMOVED),
            Self::Hidden => visitor.visit(self, HIDDEN),
            Self::Uninvited => visitor.visit(self, UNINVITED),
            Self::Bytes => visitor.visit(self, BYTES),
            Self::Replica => visitor.visit(self, REPLICA),
            Self::Producers => visitor.visit(self, PRODUCERS),
            Self::Reactions => visitor.visit(self, REACTIONS),
            Self::ReactedBy => visitor.visit(self, REACTED_BY),
            Self::Tallies => visitor.visit(self, TALLIES),
            Self::Tallied => visitor.visit(self, TALLIED),
            Self::Mentions => visitor.visit(self, MENTIONS),
            Self::Pictures => visitor.visit(self, PICTURES),
            Self::PictureOf => visitor.visit(self, PICTURE_OF),
        }
    }
}

/// What a database or a snapshot file contains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The version of Qchat that wrote it.
    pub made_by: String,
    /// The state of the log. `None` if nothing was ever stored.
    pub log: Option<LogState>,
    /// The state of the replicated log. `None` if it is not that of a node of a cluster.
    pub replica: Option<ReplicaState>,
    /// The number of the newest applied message of each sender. Empty if it is not that of a node of a cluster.
    pub applied: HashMap<Incarnation, u64>,
    /// The number of users with a nickname.
    pub users: u64,
    /// The number of chats.
    pub chats: u64,
    /// The number of events, of which most are messages.
    pub events: u64,
    /// The number of files of pictures in a snapshot file: two of each picture. 0 of a database.
    pub files: u64,
}

impl fmt::Display for Contents {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, chats, events, log, files, .. } = self;
        let seq = log.map_or(Seq::ZERO, |log| log.seq);
        write!(to, "users: {users}, chats: {chats}, events: {events}, newest entry of the log: {seq}")?;
        if *files > 0 { write!(to, ", files of pictures: {files}") } else { Ok(()) }
    }
}

/// A check of all records: each can be decoded and is stored under its own key, keys are in order and none is there
/// twice, and the events of each chat follow each other without a gap.
#[derive(Debug, Default)]
pub(super) struct RecordCheck {
    contents: Contents,
    rows: u64,
    /// The table and the key of the newest row.
    newest: Option<(Table, Vec<u8>)>,
    /// The newest event.
    event: Option<(ChatId, Seq)>,
}

impl RecordCheck {
    /// Returns the number of rows that were checked.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the check of a file, or of a database, that has to have had a number of rows.
    pub(super) fn end(self, head: Head, rows: u64) -> Result<Contents, ExportError> {
        if self.rows != rows {
            return Err(ExportError::Incomplete);
        }
        Ok(Contents { made_by: head.made_by, ..self.contents })
    }

    fn record(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), ExportError> {
        let is_right = match table {
            Table::Log => {
                self.contents.log = Some(decode(table, value)?);
                true
            }
            Table::Users => {
                self.contents.users += 1;
                decode::<User>(table, value)?.id.bytes() == key
            }
            Table::Chats => {
                self.contents.chats += 1;
                decode::<Chat>(table, value)?.id.bytes() == key
            }
            Table::Events => {
                self.contents.events += 1;
                let event: Event = decode(table, value)?;
                let (chat, seq) = <(Id, u64) as Value>::from_bytes(key);
                let before = self.event.replace((event.chat, event.seq));
                let follows = before.is_none_or(|(of, seq)| of != event.chat || seq == event.prev);
                (event.chat.bytes(), event.seq.0) == (chat, seq) && follows
            }
            Table::Replica => {
                self.contents.replica = Some(decode(table, value)?);
                true
            }
            Table::Producers => {
                let newest = decode::<Producer>(table, value)?.number;
                self.contents.applied.insert(Incarnation::from_bytes(<Id as Value>::from_bytes(key)), newest);
                true
            }
            Table::Reactions => {
                let (.., emoji) = <(Id, u64, Id, EmojiKey) as Value>::from_bytes(key);
                emoji_of(emoji).is_some()
            }
            Table::ReactedBy => {
                let (.., emoji) = <(Id, Id, u64, EmojiKey) as Value>::from_bytes(key);
                emoji_of(emoji).is_some()
            }
            Table::Tallies => {
                let Tally { changed, of } = decode(table, value)?;
                let (_, message) = <(Id, u64) as Value>::from_bytes(key);
                changed > Seq(message) && of.len() <= REACTIONS_LIMIT
            }
            Table::Tallied => {
                let (_, changed) = <(Id, u64) as Value>::from_bytes(key);
                changed > <u64 as Value>::from_bytes(value)
            }
            Table::Pictures => {
                decode::<PictureRecord>(table, value)?;
                true
            }
            Table::Mentions
            | Table::PictureOf
            | Table::UsersActive
            | Table::ChatsActive
            | Table::DirectChats
            | Table::Posted
            | Table::Removed
            | Table::Hidden
            | Table::Uninvited
            | Table::Bytes => true,
        };
        if is_right { Ok(()) } else { Err(ExportError::Contradiction(table.name())) }
    }
}

impl Sink for RecordCheck {
    fn row<K: Key, V: Value>(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), ExportError> {
        // redb panics on bytes of another width.
        let fits = |width: Option<usize>, bytes: &[u8]| width.is_none_or(|width| width == bytes.len());
        let is_after = || match &self.newest {
            Some((of, before)) if *of == table => K::compare(before, key).is_lt(),
            Some((of, _)) => *of < table,
            None => true,
        };
        if !fits(K::fixed_width(), key) || !fits(V::fixed_width(), value) || !is_after() {
            return Err(ExportError::Contradiction(table.name()));
        }
        self.record(table, key, value)?;
        self.rows += 1;
        let (_, mut newest) = self.newest.take().unwrap_or((table, Vec::new()));
        newest.clear();
        newest.extend_from_slice(key);
        self.newest = Some((table, newest));
        Ok(())
    }
}

fn decode<T: for<'de> Deserialize<'de>>(table: Table, value: &[u8]) -> Result<T, ExportError> {
    codec::decode(value).map_err(|error| ExportError::Record { table: table.name(), error })
}

/// Checks the rows of one part of a snapshot file.
pub(super) struct CheckRows<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) check: &'a mut RecordCheck,
}

impl Visitor for CheckRows<'_> {
    fn visit<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: Table,
        _definition: TableDefinition<'static, K, V>,
    ) -> Result<(), ExportError> {
        for row in &mut self.rows {
            let (key, value) = row.ok_or(ExportError::Contradiction(table.name()))?;
            self.check.row::<K, V>(table, key, value)?;
        }
        Ok(())
    }
}
