//! Counters by key: each counts the guards that exist for its key.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// The number of guards for each key that has any.
pub struct Counts<Key>(Mutex<HashMap<Key, usize>>);

/// A guard that is counted until it is dropped.
pub struct Counted<Key: Hash + Eq> {
    key: Key,
    count: usize,
    counts: Arc<Counts<Key>>,
}

impl<Key> Default for Counts<Key> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Key: Copy + Hash + Eq> Counts<Key> {
    /// Counts one more for a key.
    pub fn add(self: &Arc<Self>, key: Key) -> Counted<Key> {
        let count = self.change(|counts| {
            let count = counts.entry(key).or_default();
            *count += 1;
            *count
        });
        Counted { key, count, counts: Arc::clone(self) }
    }
}

impl<Key> Counts<Key> {
    fn change<T>(&self, update: impl FnOnce(&mut HashMap<Key, usize>) -> T) -> T {
        update(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<Key: Hash + Eq> Counted<Key> {
    /// Returns the number of guards for the key, this one included, at the time when it was created.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl<Key: Hash + Eq> Drop for Counted<Key> {
    fn drop(&mut self) {
        self.counts.change(|counts| {
            if let Some(count) = counts.get_mut(&self.key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&self.key);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_counted_until_its_guard_is_dropped_and_then_forgotten() {
        let counts = Arc::new(Counts::default());
        let (one, two, other) = (counts.add("ana"), counts.add("ana"), counts.add("bea"));
        assert_eq!([&one, &two, &other].map(Counted::count), [1, 2, 1]);
        drop(one);
        assert_eq!(counts.add("ana").count(), 2);
        drop((two, other));
        assert_eq!(counts.change(|counts| counts.len()), 0);
    }
}
