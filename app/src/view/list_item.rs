//! The items of a list that changes.

use std::{
    any::Any,
    hash::{DefaultHasher, Hash, Hasher},
};

/// An item of a list. Its key tells which row of the list before it belongs to.
pub struct ListItem {
    /// Identifies the item in its list.
    pub(super) key: u64,
    /// The current value. `None` if the item was removed and its row stays as it was.
    pub(super) row: Option<Box<dyn Any + Send>>,
}

impl ListItem {
    /// Creates an item with a key that is unique in its list, and its current value.
    pub fn new<T: Send + 'static>(key: impl Hash, row: T) -> Self {
        // Two keys of a list of a thousand have the same hash in about one of 10^13 lists.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self { key: hasher.finish(), row: Some(Box::new(row)) }
    }

    /// Creates an item that was removed and whose row stays.
    pub(super) fn removed(key: u64) -> Self {
        Self { key, row: None }
    }
}
