//! The settings of the limits: how often something may be done, and how much of it there may be.

use std::{num::NonZeroU32, str::FromStr, time::Duration};

use governor::Quota;

use super::SESSIONS_AT_AN_ADDRESS;

/// A number of actions in a period. `None` means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub(super) Option<(NonZeroU32, Duration)>);

/// The text is not a rate.
#[derive(Debug, thiserror::Error)]
#[error("it is not a rate such as 5/s, 30/m, 100/h or off")]
pub struct NoRate;

impl Rate {
    /// No limit.
    pub const OFF: Self = Self(None);

    /// Returns the quota of one session, and that of a network.
    pub(super) fn quotas(self) -> Option<(Quota, Quota)> {
        let (count, per) = self.0?;
        let quota =
            |count: NonZeroU32| Quota::with_period(per / count.get()).map(|quota| quota.allow_burst(count));
        quota(count).zip(quota(count.saturating_mul(SESSIONS_AT_AN_ADDRESS)))
    }
}

impl FromStr for Rate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        if text == "off" {
            return Ok(Self::OFF);
        }
        let (count, per) = text.split_once('/').ok_or(NoRate)?;
        let seconds = match per {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            _ => return Err(NoRate),
        };
        Ok(Self(Some((count.parse().map_err(|_| NoRate)?, Duration::from_secs(seconds)))))
    }
}

/// The rate limits for each kind of action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Loading a page.
    pub page: Rate,
    /// Opening a WebSocket.
    pub connect: Rate,
    /// Starting a chat.
    pub chat: Rate,
    /// Posting or removing messages.
    pub message: Rate,
    /// Changing a nickname, the title or the visibility of a chat, whether invites are accepted, or whether a user is
    /// hidden. The same rate, counted apart, limits locking chats, and removing users.
    pub rename: Rate,
    /// Asking for a direct chat, or answering an invite.
    pub invite: Rate,
}

impl Rates {
    /// No limits, for measurements.
    pub const OFF: Self = Self {
        page: Rate::OFF,
        connect: Rate::OFF,
        chat: Rate::OFF,
        message: Rate::OFF,
        rename: Rate::OFF,
        invite: Rate::OFF,
    };
}

/// How much there may be at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// WebSockets in all.
    pub sockets: usize,
    /// WebSockets of one session.
    pub session_sockets: usize,
    /// Members of one chat.
    pub members: usize,
    /// Chats of one user.
    pub user_chats: usize,
    /// Public chats of one user in the list, while it is not filtered.
    pub listed: usize,
    /// Bytes stored in all.
    pub storage: u64,
    /// Bytes that one session may store in the lifetime of a message, at once or spread out. `None` means unlimited.
    pub session_storage: Option<NonZeroU32>,
}

impl Caps {
    /// No caps, for measurements.
    pub const OFF: Self = Self {
        sockets: usize::MAX,
        session_sockets: usize::MAX,
        members: usize::MAX,
        user_chats: usize::MAX,
        listed: usize::MAX,
        storage: u64::MAX / 2,
        session_storage: None,
    };
}
