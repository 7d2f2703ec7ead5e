//! What the replicated log needs of the system that carries its messages between nodes: a stream of messages in one order
//! that is durable on a quorum of disks.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

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
    /// This node does not read the stream, or not as far as what it has published.
    #[error("this node has not read what is in the stream")]
    NotRead,
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

/// How far the stream goes, as far as this node knows. Clones are the same. Shared by what reads the stream, which knows it
/// first, and what applies the messages.
#[derive(Debug, Clone, Default)]
pub struct StreamEnd(Arc<Ends>);

#[derive(Debug, Default)]
struct Ends {
    newest: AtomicU64,
    owed: AtomicU64,
}

impl StreamEnd {
    /// Creates the end of a stream whose newest message has this place.
    pub fn at(newest: u64) -> Self {
        let end = Self::default();
        end.saw(newest);
        end
    }

    /// Notes that there is a message of this place.
    pub fn saw(&self, place: u64) {
        self.0.newest.fetch_max(place, Ordering::AcqRel);
    }

    /// Notes that there is a message of this place, and that this node was away while it came, or those before it: it does
    /// not count as ready before it has applied that.
    pub fn owe(&self, place: u64) {
        self.saw(place);
        self.0.owed.fetch_max(place, Ordering::AcqRel);
    }

    /// Notes that another stream has taken its place, and has nothing after this place as far as is known.
    pub fn begin_anew(&self, place: u64) {
        self.0.newest.store(place, Ordering::Release);
        self.0.owed.store(place, Ordering::Release);
    }

    /// Returns the place of the newest message that is known to be there. 0 if none is.
    pub fn newest(&self) -> u64 {
        self.0.newest.load(Ordering::Acquire)
    }

    /// Returns the place that this node has to reach before it counts as ready. 0 if none.
    pub fn owed(&self) -> u64 {
        self.0.owed.load(Ordering::Acquire)
    }
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
