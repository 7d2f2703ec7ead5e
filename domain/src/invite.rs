//! Invites to direct chats.

use serde::{Deserialize, Serialize};

use crate::{ChatId, User};

/// The maximum number of open invites for one user; further ones are refused.
pub const INVITES_LIMIT: usize = 20;

/// The number of open invites from which on a user can only be invited by users who share a chat with them: the rest of
/// [`INVITES_LIMIT`] is reserved for those.
pub const INVITES_FROM_AFAR_LIMIT: usize = 10;

/// The maximum number of direct chats that one user can have started. Unused ones expire.
pub const DIRECT_CHATS_LIMIT: usize = 100;

/// The maximum number of direct chats that one user can be part of, started by either side.
pub const DIRECT_CHATS_WITH_ONE_LIMIT: usize = 1_000;

/// How long a user who declined cannot be invited to the same chat again, in milliseconds.
pub const DECLINE_COOLDOWN_MILLIS: u64 = 10 * 60_000;

/// An open invite, as the invited user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The direct chat it leads to.
    pub chat: ChatId,
    /// The user who invites.
    pub from: User,
}

/// The answer to an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes: the invited user enters the chat.
    Accept,
    /// No: the chat shows the inviting user that it was declined.
    Decline,
}
