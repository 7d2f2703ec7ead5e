//! The turns of pictures: few are decoded at a time, and fairly to all addresses.

use std::{future::Future, num::NonZero, thread, time::Duration};

use domain::Problem;
use tokio::{sync::Semaphore, time::timeout};

use crate::http::render::{FairQueue, QueueKey};

/// The maximum number of pictures of one queue that wait or are decoded.
const MAX_QUEUED: usize = 16;
/// The maximum number of pictures of all queues that wait or are decoded.
const MAX_QUEUED_IN_ALL: usize = 64;
/// How long a picture waits for its turn at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// The maximum number of pictures that are decoded at a time, however many cores there are: each may take 200 MB.
const MAX_AT_ONCE: usize = 4;

/// A bounded number of decoders at a time, and the queues of pictures for them.
pub(super) struct Pool {
    slots: Semaphore,
    at_once: usize,
    queue: FairQueue,
}

impl Pool {
    /// Creates a pool that uses half of the cores, and [`MAX_AT_ONCE`] at most.
    pub(super) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self::with((cores / 2).clamp(1, MAX_AT_ONCE))
    }

    fn with(at_once: usize) -> Self {
        let queue = FairQueue::new(MAX_QUEUED, MAX_QUEUED_IN_ALL);
        Self { slots: Semaphore::new(at_once), at_once, queue }
    }

    /// Does work once it is its turn, which it has until it ends, or is not waited for any more.
    ///
    /// # Errors
    /// [`Problem::Busy`] if the queues are full or move too slowly, and those of the work.
    pub(super) async fn run<T>(
        &self,
        key: QueueKey,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let place = self.queue.enter(key, self.at_once)?;
        let wait = async {
            let turn = place.turn().await;
            (turn, self.slots.acquire().await)
        };
        let _turn = timeout(PATIENCE, wait).await.map_err(|_| Problem::Busy)?;
        work.await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::{Arc, Mutex},
    };

    use tokio::sync::oneshot;

    use super::*;

    fn address(number: u8) -> QueueKey {
        QueueKey::of([192, 0, 2, number].into(), None)
    }

    #[tokio::test]
    async fn a_crowd_of_one_address_is_bounded_and_does_not_delay_another() {
        let pool = Arc::new(Pool::with(1));
        let (begin, began) = oneshot::channel::<()>();
        let busy = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(address(9), async { began.await.map_err(|_| Problem::Busy) }).await }
        });
        while pool.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let order = Arc::new(Mutex::new(Vec::new()));
        let ask = |number: u8| {
            let (pool, order) = (Arc::clone(&pool), Arc::clone(&order));
            tokio::spawn(async move {
                let work = async {
                    order.lock().unwrap().push(number);
                    Ok(())
                };
                pool.run(address(number), work).await
            })
        };
        let crowd: Vec<_> = (0..20).map(|_| ask(1)).collect();
        tokio::task::yield_now().await;
        let other = ask(2);
        tokio::task::yield_now().await;
        begin.send(()).unwrap();
        assert_eq!(busy.await.unwrap(), Ok(()));
        other.await.unwrap().unwrap();
        let place = order.lock().unwrap().iter().position(|number| *number == 2).unwrap();
        assert!(place <= 1, "{place}");
        let mut refused = 0;
        for one in crowd {
            refused += usize::from(one.await.unwrap() == Err(Problem::Busy));
        }
        assert_eq!(refused, 20 - MAX_QUEUED);
    }

    #[tokio::test]
    async fn one_that_is_not_waited_for_any_more_leaves_its_turn_to_the_next() {
        let pool = Pool::with(1);
        let never = pool.run(address(1), pending::<Result<(), Problem>>());
        assert!(timeout(Duration::from_millis(20), never).await.is_err());
        assert_eq!(pool.run(address(1), async { Ok(7) }).await, Ok(7));
    }
}
