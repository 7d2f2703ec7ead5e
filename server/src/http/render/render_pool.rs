//! The threads that render pages: few enough to leave CPU time for everything else. Requests queue per address, and the
//! queues take turns: many requests of one address wait for each other, and delay a request of another by one page. One
//! more thread is reserved for users with a live page, so that they are not delayed by crowds of new visitors from many
//! addresses.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use domain::{Problem, UserId};
use engine::limits::network;
use tokio::{sync::Semaphore, task::spawn_blocking};
use tracing::Span;

/// The maximum number of requests in one queue. Rendering a page takes some milliseconds.
const MAX_QUEUED: usize = 64;
/// The maximum number of requests in all queues.
const MAX_QUEUED_IN_ALL: usize = 1_024;

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

/// The client of a request for a page, as far as the queues are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Requester {
    /// The queue that its request joins.
    pub queue: QueueKey,
    /// Whether the user has a live page open.
    pub is_here: bool,
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

/// A bounded number of threads, and the queues of requests for them.
pub(super) struct Pool {
    /// One permit for each thread.
    slots: Arc<Semaphore>,
    /// One more, for users with a live page.
    reserved: Arc<Semaphore>,
    at_once: usize,
    queues: Arc<Queues>,
}

/// The queues that are not empty.
#[derive(Default)]
struct Queues(Mutex<HashMap<QueueKey, Queue>>);

/// The requests in a queue, including those being rendered.
struct Queue {
    count: usize,
    /// As many permits as there are threads, for requests of this queue at once.
    turns: Arc<Semaphore>,
}

/// A slot in a queue, given back when dropped.
struct QueueSlot {
    queues: Arc<Queues>,
    key: QueueKey,
    turns: Arc<Semaphore>,
}

impl Pool {
    /// Creates a pool that uses half of the cores.
    pub(super) fn new() -> Self {
        Self::with(thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2))
    }

    fn with(at_once: usize) -> Self {
        let [slots, reserved] = [at_once, 1].map(|count| Arc::new(Semaphore::new(count)));
        Self { slots, reserved, at_once, queues: Arc::default() }
    }

    /// Runs work on a thread of its own, once it is the turn of the request.
    ///
    /// # Errors
    /// [`Problem::Busy`] if the queues are full, [`Problem::NotReadable`] if the work panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        Requester { queue, is_here }: Requester,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.queues.enter(queue, self.at_once)?;
        let turn = Arc::clone(&place.turns).acquire_owned().await;
        let slot = tokio::select! {
            slot = Arc::clone(&self.slots).acquire_owned() => slot,
            slot = Arc::clone(&self.reserved).acquire_owned(), if is_here => slot,
        };
        // moved into the task, since the request may be cancelled while the work goes on
        let span = Span::current();
        let done = spawn_blocking(move || {
            let done = span.in_scope(work);
            drop((slot, turn, place));
            done
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "could not render a page");
            Problem::NotReadable
        })
    }
}

impl Queues {
    fn enter(self: &Arc<Self>, key: QueueKey, at_once: usize) -> Result<QueueSlot, Problem> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = if queues.len() * MAX_QUEUED < MAX_QUEUED_IN_ALL {
            0
        } else {
            queues.values().map(|one| one.count).sum()
        };
        let queue =
            queues.entry(key).or_insert_with(|| Queue { count: 0, turns: Arc::new(Semaphore::new(at_once)) });
        if queue.count >= MAX_QUEUED || all >= MAX_QUEUED_IN_ALL {
            if queue.count == 0 {
                queues.remove(&key);
            }
            return Err(Problem::Busy);
        }
        queue.count += 1;
        Ok(QueueSlot { queues: Arc::clone(self), key, turns: Arc::clone(&queue.turns) })
    }
}

impl Drop for QueueSlot {
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
    use std::sync::mpsc;

    use domain::id::ID_BYTES;
    use futures_util::future::join_all;

    use super::*;

    fn address(number: u8) -> Requester {
        Requester { queue: QueueKey::of([192, 0, 2, number].into(), None), is_here: false }
    }

    #[test]
    fn an_address_has_one_queue_and_behind_this_machine_a_session_has() {
        let [ana, bea] = [1, 2].map(|number| Some(UserId::from_bytes([number; ID_BYTES])));
        let here = [127, 0, 0, 1].into();
        assert_eq!(QueueKey::of([192, 0, 2, 1].into(), ana), QueueKey::of([192, 0, 2, 1].into(), bea));
        assert_ne!(QueueKey::of(here, ana), QueueKey::of(here, bea));
        assert_eq!(QueueKey::of(here, None), QueueKey::of("::1".parse().unwrap(), None));
    }

    #[tokio::test]
    async fn another_address_waits_for_one_page_of_a_crowd_at_most() {
        let pool = Arc::new(Pool::with(1));
        let (begin, began) = mpsc::channel();
        let order = Arc::new(Mutex::new(Vec::new()));
        let ask = |number: u8| {
            let (pool, order) = (Arc::clone(&pool), Arc::clone(&order));
            async move { pool.run(address(number), move || order.lock().unwrap().push(number)).await }
        };
        // the thread is busy until all requests are queued
        let busy = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(address(9), move || began.recv().unwrap()).await }
        });
        while pool.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let crowd = tokio::spawn(join_all((0..70).map(|_| ask(1))));
        tokio::task::yield_now().await;
        let other = tokio::spawn(ask(2));
        tokio::task::yield_now().await;
        begin.send(()).unwrap();
        busy.await.unwrap().unwrap();
        other.await.unwrap().unwrap();
        assert_eq!(order.lock().unwrap().iter().position(|number| *number == 2), Some(1));
        let refused = crowd.await.unwrap().into_iter().filter(|done| *done == Err(Problem::Busy));
        assert_eq!(refused.count(), 6, "the queue has a bound");
        assert!(pool.queues.0.lock().unwrap().is_empty(), "no request is left in a queue");
    }

    #[tokio::test]
    async fn a_user_who_is_online_does_not_wait_for_strangers() {
        let pool = Arc::new(Pool::with(1));
        let (begin, began) = mpsc::channel::<()>();
        let busy = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(address(9), move || began.recv().unwrap()).await }
        });
        while pool.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(Requester { is_here: true, ..address(1) }, || 7).await, Ok(7));
        begin.send(()).unwrap();
        busy.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_page_that_cannot_be_rendered_costs_no_other_page_its_turn() {
        let pool = Pool::with(1);
        let panics = pool.run(address(1), || assert!(address(1).is_here, "on purpose"));
        assert_eq!(panics.await, Err(Problem::NotReadable));
        assert_eq!(pool.run(address(1), || 7).await, Ok(7));
    }
}
