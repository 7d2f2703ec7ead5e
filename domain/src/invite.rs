//! Invites to chats of two.

use serde::{Deserialize, Serialize};

use crate::{ChatId, User};

/// Somebody waits for an answer to this many invites at most; whoever invites them beyond is told so.
pub const INVITES_LIMIT: usize = 20;

/// Those who are in no chat with them fill this many of these places at most: the others are for those who are.
pub const INVITES_FROM_AFAR_LIMIT: usize = 10;

/// Somebody starts this many chats of two at most. Those that nobody needs expire.
pub const CHATS_OF_TWO_LIMIT: usize = 100;

/// Somebody is one of two in this many chats at most, whoever started them.
pub const CHATS_WITH_ONE_LIMIT: usize = 1_000;

/// Whoever has declined is not asked for the same chat again for this long, in milliseconds.
pub const DECLINE_COOLDOWN_MILLIS: u64 = 10 * 60_000;

/// An invite that waits for an answer, as whoever is invited sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The chat of the two that it leads to.
    pub chat: ChatId,
    /// Who invites.
    pub from: User,
}

/// What one says to an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes: the chat is entered.
    Accept,
    /// No: whoever invited is told.
    Decline,
}
