//! The state of a replicated log in the database of one node, which is a view of the stream.

use std::sync::{PoisonError, atomic::Ordering};

use domain::{LogClock, LogSettings};
use redb::{Durability, ReadableDatabase, TableDefinition, TableError};
use serde::{Deserialize, Serialize};

use super::{LogState, Store, StoreError, Transaction, codec};

/// The state of the replicated log, as far as it was applied.
const REPLICA: TableDefinition<(), &[u8]> = TableDefinition::new("replica");

/// The state of a replicated log, as far as it was applied. Beside it, [`LogState`] is as in any log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaState {
    /// The place in the stream of the newest message that was applied.
    pub place: u64,
    /// The settings by which the next entry is decided.
    pub settings: LogSettings,
    /// The clock that gives the next entry its time.
    pub clock: LogClock,
    /// The checksum of all changes decided so far.
    pub digest: u32,
    /// The newest place that was a multiple of 1,024, and the digest at that place.
    pub mark: (u64, u32),
}

impl Store {
    /// Returns the state of the replicated log. `None` if this database never was part of one.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn replica(&self) -> Result<Option<ReplicaState>, StoreError> {
        let table = match self.database.begin_read()?.open_table(REPLICA) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        Ok(table.get(())?.map(|bytes| codec::decode(bytes.value())).transpose()?)
    }

    /// Runs `work` in one transaction, which applies messages of the stream up to `state.place`. `log` is the state of
    /// the log after their entries, and `None` if they have none. It is durable with the next
    /// [checkpoint](Store::checkpoint), not before: until then the stream has it. On an error nothing is changed.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::OutOfOrder`] if the newest entry was applied before; [`StoreError::Io`] or
    /// [`StoreError::Database`] if the changes cannot be written.
    pub fn write_replica<T>(
        &self,
        log: Option<LogState>,
        state: ReplicaState,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _writing = self.wal();
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::None)?;
        let mut batch = Transaction::open(&write)?;
        if let Some(log) = log {
            batch.begin(log)?;
        }
        let done = work(&mut batch)?;
        let bytes = batch.close()?;
        write.open_table(REPLICA)?.insert((), codec::encode(&state)?.as_slice())?;
        write.commit()?;
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = state.settings;
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(done)
    }
}
