//! The settings of the limits: rate limits and quotas.

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

    /// Returns a rate that is so many times as high.
    pub(super) fn times(self, factor: NonZeroU32) -> Self {
        Self(self.0.map(|(count, per)| (count.saturating_mul(factor), per)))
    }

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
    /// How often pages may be loaded.
    pub page: Rate,
    /// How often WebSockets may be opened.
    pub connect: Rate,
    /// How often chats may be started.
    pub chat: Rate,
    /// How often messages may be posted or removed.
    pub message: Rate,
    /// How often a nickname, the title or the visibility of a chat, whether invites are accepted, or whether a user is
    /// hidden may be changed. The same rate, counted separately, limits locking chats, and removing users.
    pub rename: Rate,
    /// How often users may be invited to a direct chat, or invites be answered.
    pub invite: Rate,
    /// How often pictures may be uploaded.
    pub picture: Rate,
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
        picture: Rate::OFF,
    };
}

/// The quotas: how much there may be at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// The maximum number of WebSockets in total.
    pub sockets: usize,
    /// The maximum number of WebSockets of one session.
    pub session_sockets: usize,
    /// The maximum number of members of one chat.
    pub members: usize,
    /// The maximum number of chats that one user owns.
    pub user_chats: usize,
    /// The maximum number of public chats of one user in the list, while it is not filtered.
    pub listed: usize,
    /// The maximum number of bytes stored in total.
    pub storage: u64,
    /// The maximum number of bytes that one session may store in the lifetime of a message, at once or spread out. `None` means unlimited.
    pub session_storage: Option<NonZeroU32>,
    /// The same of pictures, which do not count towards that. `None` means unlimited.
    pub session_pictures: Option<NonZeroU32>,
}

impl Quotas {
    /// No quotas, for measurements.
    pub const OFF: Self = Self {
        sockets: usize::MAX,
        session_sockets: usize::MAX,
        members: usize::MAX,
        user_chats: usize::MAX,
        listed: usize::MAX,
        storage: u64::MAX / 2,
        session_storage: None,
        session_pictures: None,
    };
}
