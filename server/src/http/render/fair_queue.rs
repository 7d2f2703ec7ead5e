//! Queues that take turns: requests queue per address, so that many of one address wait for each other, and delay one of
//! another by one at most.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{Problem, UserId};
use engine::limits::network;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The key of a queue: which requests wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueKey {
    /// The queue of the requests from an address.
    Address(IpAddr),
    /// The queue of a session, if the address is this machine: it may be a proxy that was not configured.
    Session(UserId),
    /// The queue of all requests from this machine without a session.
    Newcomers,
}

impl QueueKey {
    /// Returns the queue of a client, by its address and its user, if it has a session.
    pub fn of(address: IpAddr, known: Option<UserId>) -> Self {
        match known {
            _ if !address.is_loopback() => Self::Address(network(address)),
            Some(user) => Self::Session(user),
            None => Self::Newcomers,
        }
    }
}

/// Bounded queues, one for each key.
pub struct FairQueue {
    queues: Arc<Queues>,
    most: usize,
    most_in_all: usize,
}

/// The queues that are not empty.
#[derive(Default)]
struct Queues(Mutex<HashMap<QueueKey, Queue>>);

/// The requests in a queue, including those being worked on.
struct Queue {
    count: usize,
    /// As many permits as there are threads, for requests of this queue at once.
    turns: Arc<Semaphore>,
}

/// A place in a queue, given back when dropped.
pub struct Place {
    queues: Arc<Queues>,
    key: QueueKey,
    turns: Arc<Semaphore>,
}

impl FairQueue {
    /// Creates queues with a maximum number of requests in one, and in all.
    pub fn new(most: usize, most_in_all: usize) -> Self {
        Self { queues: Arc::default(), most, most_in_all }
    }

    /// Enters a queue. `at_once` is the number of threads.
    ///
    /// # Errors
    /// [`Problem::Busy`] if the queues are full.
    pub fn enter(&self, key: QueueKey, at_once: usize) -> Result<Place, Problem> {
        let mut queues = self.queues.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = if queues.len() * self.most < self.most_in_all {
            0
        } else {
            queues.values().map(|one| one.count).sum()
        };
        let queue =
            queues.entry(key).or_insert_with(|| Queue { count: 0, turns: Arc::new(Semaphore::new(at_once)) });
        if queue.count >= self.most || all >= self.most_in_all {
            if queue.count == 0 {
                queues.remove(&key);
            }
            return Err(Problem::Busy);
        }
        queue.count += 1;
        Ok(Place { queues: Arc::clone(&self.queues), key, turns: Arc::clone(&queue.turns) })
    }

    /// Returns whether nothing is in any queue.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.queues.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Place {
    /// Waits for the turn of the request within its queue, which lasts until what is returned is dropped. `None` never
    /// comes.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.queues.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get_mut(&self.key) {
            queue.count -= 1;
            if queue.count == 0 {
                queues.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::id::ID_BYTES;

    use super::*;

    #[test]
    fn an_address_has_one_queue_and_behind_this_machine_a_session_has() {
        let [ana, bea] = [1, 2].map(|number| Some(UserId::from_bytes([number; ID_BYTES])));
        let here = [127, 0, 0, 1].into();
        assert_eq!(QueueKey::of([192, 0, 2, 1].into(), ana), QueueKey::of([192, 0, 2, 1].into(), bea));
        assert_ne!(QueueKey::of(here, ana), QueueKey::of(here, bea));
        assert_eq!(QueueKey::of(here, None), QueueKey::of("::1".parse().unwrap(), None));
    }
}
