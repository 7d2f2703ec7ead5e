//! The error of the database: why it could not be opened, read or written.

use std::io;

use domain::Seq;
use redb::{DatabaseError, StorageError};

use super::{codec, export::ExportError};
use crate::random::NoRandomness;

/// Why the database could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("another Qchat has it open: stop that one first, or use another data folder")]
    InUse,
    /// The file is not a database of Qchat, or is damaged beyond repair.
    #[error("it is not a Qchat database, or it is damaged ({0}): move it away, or use another data folder")]
    NotADatabase(String),
    /// An I/O error.
    #[error("it could not be read or written: {0}")]
    Io(#[from] io::Error),
    /// An error of redb.
    #[error("the database failed: {0}")]
    Database(Box<redb::Error>),
    /// A stored record cannot be decoded.
    #[error("a stored record cannot be read: {0}")]
    Record(#[from] codec::RecordError),
    /// No random epoch could be generated.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The write-ahead log beside the database cannot be opened or read.
    #[error("its write-ahead log, beside it, could not be read or written: {0}")]
    Wal(io::Error),
    /// The write-ahead log beside the database does not belong to it.
    #[error(
        "the write-ahead log beside it belongs to another database, or to another moment of this one: put back the one it \
         belongs to, or move it away"
    )]
    NotItsWal,
    /// An entry was to be stored, but it is not after the newest one that is stored: the number of the entry, and of
    /// the newest.
    #[error("the entry at {0} was to be stored after the one at {1}")]
    OutOfOrder(Seq, Seq),
    /// Messages of the stream were to be applied, but they are not the next ones: the place after which they come, and the
    /// newest place that was applied.
    #[error("messages after place {0} of the log were to be applied after place {1}")]
    OutOfPlace(u64, u64),
    /// It is the view of a replicated log, and cannot be used without the cluster.
    #[error("it belongs to a cluster: set --nats-url, or make it leave the cluster with --leave-cluster")]
    OfCluster,
    /// A snapshot file cannot be loaded.
    #[error("a snapshot cannot be loaded: {0}")]
    Snapshot(Box<ExportError>),
    /// It is not the view of a replicated log.
    #[error("it does not belong to a cluster")]
    NotAReplica,
}

impl StoreError {
    /// Returns the error for a database whose pages contradict each other, so that redb panics.
    pub(super) fn contradictory() -> Self {
        Self::NotADatabase("its pages contradict each other".to_owned())
    }
}

macro_rules! from_redb {
    ($($error:ty),+) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                match redb::Error::from(error) {
                    redb::Error::Io(error) => Self::Io(error),
                    error => Self::Database(Box::new(error)),
                }
            }
        })+
    };
}

from_redb!(
    StorageError,
    redb::TransactionError,
    redb::TableError,
    redb::CommitError,
    redb::SetDurabilityError
);

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            DatabaseError::Storage(StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
                Self::Io(error)
            }
            error => Self::NotADatabase(error.to_string()),
        }
    }
}
