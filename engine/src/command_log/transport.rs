//! What the replicated log needs of the system that carries its messages between nodes: a stream of messages in one order
//! that is durable on a quorum of disks.

use std::{fmt, path::PathBuf};

use bytes::Bytes;
use domain::Timestamp;
use futures_util::future::BoxFuture;

pub use crate::incarnation::Incarnation;

/// Identifies a message, however often it is published. Its `Display` form is the `Nats-Msg-Id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// The sender.
    pub from: Incarnation,
    /// The number of the message among those of the sender, from 1.
    pub number: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, number } = self;
        write!(f, "{from}.{number}")
    }
}

/// Publishes messages of the log.
pub trait Transport: Send + Sync + 'static {
    /// Appends a message to the stream. It may be called again with the same id: the message then takes effect once or
    /// twice, which the log tells apart.
    ///
    /// # Errors
    /// [`NotPublished`]: it is unknown whether the message is in the stream, unless the error says that it cannot be.
    fn publish(&self, id: MessageId, payload: Bytes) -> BoxFuture<'_, Result<(), NotPublished>>;
}

/// Why a message was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPublished {
    /// There is no connection, or no answer came in time.
    #[error("the stream does not answer")]
    NoAnswer,
    /// The stream has no leader, or does not exist.
    #[error("no server takes messages for the stream")]
    NoStream,
    /// It is not known, or known not to be so, that the stream has the log of this node. Nothing was sent.
    #[error("it is not known whether the stream has the log of this node")]
    Unrecognised,
    /// The stream or the disks below it are full.
    #[error("the stream is full")]
    Full,
    /// The message is larger than the servers accept.
    #[error("the message is larger than the servers accept")]
    TooLarge,
    /// The servers refuse it for another reason.
    #[error("the servers refuse it: {0}")]
    Refused(String),
}

/// What is read from the stream, in its order.
#[derive(Debug)]
pub enum Delivery {
    /// The next message.
    Message {
        /// Its place in the stream, from 1, without gaps.
        place: u64,
        /// When the stream took it, by the clock of its leader.
        at: Timestamp,
        /// Its content.
        payload: Bytes,
        /// The number of messages that are in the stream after it.
        behind: u64,
    },
    /// Messages are missing here, so a snapshot replaces the database.
    Replace {
        /// The file with the snapshot.
        file: PathBuf,
        /// The place of the newest message that is part of it.
        place: u64,
    },
}
