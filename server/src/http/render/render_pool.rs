//! The threads that render pages: few enough to leave CPU time for everything else. Requests queue per address, and the
//! queues take turns: many requests of one address wait for each other, and delay a request of another by one page. One
//! more thread is reserved for users with a live page, so that they are not delayed by crowds of new visitors from many
//! addresses.

use std::{num::NonZero, sync::Arc, thread};

use domain::Problem;
use tokio::{sync::Semaphore, task::spawn_blocking};
use tracing::Span;

use super::fair_queue::{FairQueue, QueueKey};

/// The maximum number of requests in one queue. Rendering a page takes some milliseconds.
const MAX_QUEUED: usize = 64;
/// The maximum number of requests in all queues.
const MAX_QUEUED_IN_ALL: usize = 1_024;

/// The client of a request for a page, as far as the queues are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Requester {
    /// The queue that its request joins.
    pub queue: QueueKey,
    /// Whether the user has a live page open.
    pub is_here: bool,
}

/// A bounded number of threads, and the queues of requests for them.
pub(super) struct Pool {
    /// One permit for each thread.
    slots: Arc<Semaphore>,
    /// One more, for users with a live page.
    reserved: Arc<Semaphore>,
    at_once: usize,
    queue: FairQueue,
}

impl Pool {
    /// Creates a pool that uses half of the cores.
    pub(super) fn new() -> Self {
        Self::with(thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2))
    }

    fn with(at_once: usize) -> Self {
        let [slots, reserved] = [at_once, 1].map(|count| Arc::new(Semaphore::new(count)));
        Self { slots, reserved, at_once, queue: FairQueue::new(MAX_QUEUED, MAX_QUEUED_IN_ALL) }
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
        let place = self.queue.enter(queue, self.at_once)?;
        let turn = place.turn().await;
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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use futures_util::future::join_all;

    use super::*;

    fn address(number: u8) -> Requester {
        Requester { queue: QueueKey::of([192, 0, 2, number].into(), None), is_here: false }
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
        assert!(pool.queue.is_empty(), "no request is left in a queue");
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
