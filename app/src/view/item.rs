//! What stands in a list that changes.

use std::{
    any::Any,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Something in a list, by what makes it the same as one before.
pub struct Item {
    pub(super) key: u64,
    /// What it is now; nothing where it has gone and its row stays as it was.
    pub(super) row: Option<Box<dyn Any + Send>>,
}

impl Item {
    /// Something that is told from others by this key, as it is now.
    pub fn new<T: Send + 'static>(key: impl Hash, row: T) -> Self {
        // two of a thousand are taken for one in one of 10^13 lists
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self { key: hasher.finish(), row: Some(Box::new(row)) }
    }

    /// A row that stays although its thing has gone.
    pub(super) fn gone(key: u64) -> Self {
        Self { key, row: None }
    }
}
