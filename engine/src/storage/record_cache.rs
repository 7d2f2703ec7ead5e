//! A cache of the records of one kind within a transaction, each with the time when it was last active. A batch needs
//! the same few records again and again: each is read once, and written once, when the transaction is closed.

use std::{cell::RefCell, collections::HashMap};

use domain::{Timestamp, Tracked};
use redb::{ReadableTable, Table};
use serde::{Deserialize, Serialize};

use super::{
    error::StoreError,
    tables::{Id, get},
    transaction::{ACTIVE_BYTES, put, take, touch, went},
};

/// A table of records, the table of when each was last active, and a cache of both.
pub(super) struct RecordCache<'txn, T> {
    values: Table<'txn, Id, &'static [u8]>,
    active: Table<'txn, Id, u64>,
    /// The records that were read or are to be written.
    known: RefCell<HashMap<Id, Known<T>>>,
}

/// A record as it is at this point of the transaction.
struct Known<T> {
    value: Option<T>,
    active_at: Option<Timestamp>,
    is_value_new: bool,
    is_time_new: bool,
}

impl<'txn, T: Clone + Serialize + for<'de> Deserialize<'de>> RecordCache<'txn, T> {
    pub(super) fn new(values: Table<'txn, Id, &'static [u8]>, active: Table<'txn, Id, u64>) -> Self {
        Self { values, active, known: RefCell::default() }
    }

    /// Calls `look` with a record, which is read from the database if it is not cached yet.
    fn with<R>(&self, id: Id, look: impl FnOnce(&mut Known<T>) -> R) -> Result<R, StoreError> {
        let mut all = self.known.borrow_mut();
        if let Some(known) = all.get_mut(&id) {
            return Ok(look(known));
        }
        let value = get(&self.values, id)?;
        let active_at = self.active.get(id)?.map(|at| Timestamp(at.value()));
        let known = Known { value, active_at, is_value_new: false, is_time_new: false };
        Ok(look(all.entry(id).or_insert(known)))
    }

    pub(super) fn kept(&self, id: Id) -> Result<Option<Tracked<T>>, StoreError> {
        self.with(id, |known| {
            let active_at = known.active_at.unwrap_or_default();
            known.value.clone().map(|value| Tracked { value, active_at })
        })
    }

    pub(super) fn put(&mut self, id: Id, value: T) -> Result<(), StoreError> {
        self.with(id, |known| (known.value, known.is_value_new) = (Some(value), true))
    }

    /// Sets when a record was last active.
    pub(super) fn touch(&mut self, id: Id, at: Timestamp) -> Result<(), StoreError> {
        self.with(id, |known| (known.active_at, known.is_time_new) = (Some(at), true))
    }

    /// Moves the times of all records by a number of milliseconds.
    pub(super) fn move_times(&mut self, by: i64) -> Result<(), StoreError> {
        let mut times = Vec::new();
        for time in self.active.iter()? {
            let (id, at) = time?;
            times.push((id.value(), Timestamp(at.value()).moved(by)));
        }
        for (id, at) in times {
            self.active.insert(id, at.0)?;
        }
        for known in self.known.get_mut().values_mut() {
            known.active_at = known.active_at.map(|at| at.moved(by));
        }
        Ok(())
    }

    /// Removes a record, and subtracts its size from `bytes`.
    pub(super) fn remove(&mut self, id: Id, bytes: &mut u64) -> Result<(), StoreError> {
        // Drops pending writes of the record. If it is needed again, it is not found in the database.
        self.known.borrow_mut().remove(&id);
        take(&mut self.values, id, bytes)?;
        let was_there = self.active.remove(id)?.is_some();
        went(bytes, was_there, ACTIVE_BYTES);
        Ok(())
    }

    /// Writes the changed records, and updates `bytes`.
    pub(super) fn close(mut self, bytes: &mut u64) -> Result<(), StoreError> {
        for (id, known) in self.known.take() {
            if let Some(value) = known.value.filter(|_| known.is_value_new) {
                put(&mut self.values, id, &value, bytes)?;
            }
            if let Some(at) = known.active_at.filter(|_| known.is_time_new) {
                touch(&mut self.active, id, at, bytes)?;
            }
        }
        Ok(())
    }
}
