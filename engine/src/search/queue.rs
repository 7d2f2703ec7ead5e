//! The queue of searches: how many there are at once, and who waits for a turn.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZero,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use domain::{Problem, UserId};
use prometheus_client::metrics::histogram::Histogram;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::spawn_blocking,
    time::sleep,
};

use crate::{
    caller::Caller,
    limits::network,
    metrics::{self, SearchMetrics},
};

/// The maximum number of searches that wait for a turn.
const WAITING: usize = 64;
/// The maximum number of searches from one network among them. Each session has one at most.
const WAITING_OF_NETWORK: usize = 16;

/// Lets a few searches run at once, on threads of their own, and pauses after each for as long as it took: what is searched
/// costs half as much time as there are turns.
pub(crate) struct SearchQueue {
    turns: Arc<Semaphore>,
    waiting: Arc<Waiting>,
    metrics: SearchMetrics,
}

/// A turn to search.
pub(crate) struct Turn {
    permit: OwnedSemaphorePermit,
    took: Histogram,
}

/// The searches that wait, one for each session.
#[derive(Default)]
struct Waiting(Mutex<Places>);

#[derive(Default)]
struct Places {
    of_sessions: HashMap<UserId, Place>,
    /// The number of the newest place.
    newest: u64,
}

/// A place in the queue.
struct Place {
    number: u64,
    network: IpAddr,
    /// Dropped when the session asks for something else.
    _is_wanted: oneshot::Sender<()>,
}

/// Keeps a place in the queue until it is dropped.
struct PlaceGuard {
    waiting: Arc<Waiting>,
    user: UserId,
    number: u64,
    is_replaced: oneshot::Receiver<()>,
}

impl SearchQueue {
    /// Creates a queue with as many turns as half of the cores.
    pub(crate) fn new() -> Self {
        Self::with(thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2))
    }

    fn with(turns: usize) -> Self {
        let turns = Arc::new(Semaphore::new(turns));
        Self { turns, waiting: Arc::default(), metrics: SearchMetrics::default() }
    }

    /// Returns what is measured.
    pub(crate) fn metrics(&self) -> &SearchMetrics {
        &self.metrics
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`Problem::Busy`] if too many wait, in all or from one network, or if the session asks for something else before it
    /// is its turn.
    pub(crate) async fn turn(&self, by: Caller) -> Result<Turn, Problem> {
        let mut place = self.waiting.enter(by)?;
        let permit = tokio::select! {
            permit = Arc::clone(&self.turns).acquire_owned() => permit.map_err(|_| Problem::Busy)?,
            _ = &mut place.is_replaced => return Err(Problem::Busy),
        };
        Ok(Turn { permit, took: self.metrics.search.clone() })
    }
}

impl Turn {
    /// Runs a search on a thread that may block. The turn ends after a pause, even if nobody waits for the result any more.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if it panics.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        search: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let Self { permit, took } = self;
        let done = spawn_blocking(move || {
            let begun = Instant::now();
            let done = search();
            let elapsed = begun.elapsed();
            metrics::observe(&took, elapsed);
            tokio::spawn(async move {
                sleep(elapsed).await;
                drop(permit);
            });
            done
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "could not search a chat");
            Problem::NotReadable
        })
    }
}

impl Waiting {
    fn enter(self: &Arc<Self>, Caller { user, address }: Caller) -> Result<PlaceGuard, Problem> {
        let network = network(address);
        let mut places = self.places();
        if !places.of_sessions.contains_key(&user) {
            let of_network = places.of_sessions.values().filter(|place| place.network == network).count();
            // A loopback address may stand for all clients, if they come through a proxy that is not configured.
            let is_crowd = of_network >= WAITING_OF_NETWORK && !address.is_loopback();
            if is_crowd || places.of_sessions.len() >= WAITING {
                return Err(Problem::Busy);
            }
        }
        places.newest += 1;
        let number = places.newest;
        let (is_wanted, is_replaced) = oneshot::channel();
        places.of_sessions.insert(user, Place { number, network, _is_wanted: is_wanted });
        Ok(PlaceGuard { waiting: Arc::clone(self), user, number, is_replaced })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PlaceGuard {
    fn drop(&mut self) {
        let mut places = self.waiting.places();
        if places.of_sessions.get(&self.user).is_some_and(|place| place.number == self.number) {
            places.of_sessions.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::id::ID_BYTES;
    use tokio::task::yield_now;

    use super::*;

    fn caller(number: u8, address: [u8; 4]) -> Caller {
        Caller { user: UserId::from_bytes([number; ID_BYTES]), address: address.into() }
    }

    fn count(queue: &SearchQueue) -> usize {
        queue.waiting.places().of_sessions.len()
    }

    #[tokio::test]
    async fn one_search_runs_and_the_others_wait_for_it() {
        let queue = Arc::new(SearchQueue::with(1));
        let first = queue.turn(caller(1, [192, 0, 2, 1])).await.unwrap();
        let other = Arc::clone(&queue);
        let waiting = tokio::spawn(async move { other.turn(caller(2, [192, 0, 2, 2])).await.map(drop) });
        while count(&queue) == 0 {
            yield_now().await;
        }
        assert_eq!(first.run(|| 7).await, Ok(7));
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert_eq!(count(&queue), 0);
    }

    #[tokio::test]
    async fn a_session_waits_for_the_newest_of_its_searches_alone() {
        let queue = Arc::new(SearchQueue::with(1));
        let first = queue.turn(caller(1, [192, 0, 2, 1])).await.unwrap();
        let ask = || {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.turn(caller(2, [192, 0, 2, 2])).await.map(drop) })
        };
        let older = ask();
        while count(&queue) == 0 {
            yield_now().await;
        }
        let newer = ask();
        assert_eq!(older.await.unwrap(), Err(Problem::Busy));
        assert_eq!(count(&queue), 1, "the place of the newer one is kept");
        drop(first);
        assert_eq!(newer.await.unwrap(), Ok(()));
    }

    #[test]
    fn only_so_many_wait_and_fewer_from_one_network() {
        let waiting = Arc::new(Waiting::default());
        let wait = |address: &dyn Fn(u8) -> [u8; 4]| -> Vec<_> {
            (0..100).filter_map(|number| waiting.enter(caller(number, address(number))).ok()).collect()
        };
        assert_eq!(wait(&|number| [192, 0, 2, number]).len(), WAITING);
        assert_eq!(wait(&|_| [192, 0, 2, 1]).len(), WAITING_OF_NETWORK);
        assert_eq!(wait(&|_| [127, 0, 0, 1]).len(), WAITING, "it may be a proxy that was not named");
        assert!(waiting.places().of_sessions.is_empty());
    }

    #[tokio::test]
    async fn a_search_that_panics_gives_its_turn_back() {
        let queue = SearchQueue::with(1);
        let turn = queue.turn(caller(1, [192, 0, 2, 1])).await.unwrap();
        let panics = turn.run(|| assert!(thread::panicking(), "on purpose"));
        assert_eq!(panics.await, Err(Problem::NotReadable));
        assert!(queue.turn(caller(1, [192, 0, 2, 1])).await.is_ok());
    }
}
