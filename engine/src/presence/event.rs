//! The events of connections that change presence. It depends on nothing else, so the events of another node can be
//! applied as those of this one are, and all connections of a node that is gone can be closed.

use std::time::Duration;

use domain::{ChatId, User, UserId};

/// A node of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u16);

impl NodeId {
    /// The node of a server that runs alone.
    pub const ALONE: Self = Self(0);
}

/// A connection of a user, or of a member of a chat: the node in the upper 16 bits, and a number that is unique there in the
/// others. One word, since each connection has two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HolderId(u64);

impl HolderId {
    const NUMBER_BITS: u32 = 48;

    /// Joins a node and a number below 2⁴⁸, which a node that opens a million connections a second reaches in nine years.
    pub const fn new(node: NodeId, number: u64) -> Self {
        Self((node.0 as u64) << Self::NUMBER_BITS | number & ((1 << Self::NUMBER_BITS) - 1))
    }

    /// Returns the node whose connection it is.
    pub const fn node(self) -> NodeId {
        NodeId((self.0 >> Self::NUMBER_BITS) as u16)
    }

    /// Returns the number, which is unique on its node.
    pub const fn number(self) -> u64 {
        self.0 & ((1 << Self::NUMBER_BITS) - 1)
    }
}

/// Something that happened to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PresenceEvent {
    /// A connection has opened.
    Opened {
        /// The connection.
        holder: HolderId,
        /// Its user.
        user: UserId,
    },
    /// A connection has closed.
    Closed {
        /// The connection.
        holder: HolderId,
        /// Its user.
        user: UserId,
    },
    /// A connection has subscribed to a chat.
    Joined {
        /// The subscription.
        holder: HolderId,
        /// The chat.
        chat: ChatId,
        /// The user, with their nickname as of now.
        user: User,
        /// For how long the user has been in the chat, by other connections or on another node.
        here_for: Duration,
    },
    /// A subscription has ended.
    Left {
        /// The subscription.
        holder: HolderId,
        /// The chat.
        chat: ChatId,
        /// The user.
        user: UserId,
    },
    /// A member is typing.
    Typing {
        /// The chat.
        chat: ChatId,
        /// The member.
        user: UserId,
    },
}

impl PresenceEvent {
    /// Returns the connection or subscription that it begins or ends. `None` for typing.
    pub(super) const fn holder(&self) -> Option<HolderId> {
        match self {
            Self::Opened { holder, .. }
            | Self::Closed { holder, .. }
            | Self::Joined { holder, .. }
            | Self::Left { holder, .. } => Some(*holder),
            Self::Typing { .. } => None,
        }
    }
}
