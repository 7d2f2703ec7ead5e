//! The threads that decode pictures: few, behind everything else that the machine has to do, and fair to all addresses.

use std::{
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use domain::Problem;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::http::render::{FairQueue, QueueKey};

/// The maximum number of pictures of one queue that wait or are decoded.
const MAX_QUEUED: usize = 16;
/// The maximum number of pictures of all queues that wait or are decoded.
const MAX_QUEUED_IN_ALL: usize = 64;
/// How long a picture waits for its turn at most.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a picture may take before another thread takes the place of the one that has it.
const SLOW: Duration = Duration::from_secs(10);
/// The maximum number of threads that take longer than that at a time, beyond the others.
const MAX_LOST: usize = 2;
/// The niceness of the threads: a tenth of the weight of others, if these need the cores.
const NICE: i32 = 10;

/// A bounded number of threads, and the queues of pictures for them.
pub(super) struct Pool {
    slots: Arc<Semaphore>,
    at_once: usize,
    queue: FairQueue,
    lost: Arc<AtomicUsize>,
}

impl Pool {
    /// Creates a pool that uses half of the cores.
    pub(super) fn new() -> Self {
        Self::with((thread::available_parallelism().map_or(1, NonZero::get) / 2).max(1))
    }

    fn with(at_once: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(at_once)),
            at_once,
            queue: FairQueue::new(MAX_QUEUED, MAX_QUEUED_IN_ALL),
            lost: Arc::default(),
        }
    }

    /// Runs work on a thread of its own, once it is its turn.
    ///
    /// # Errors
    /// [`Problem::Busy`] if the queues are full or move too slowly, or no thread can be started;
    /// [`Problem::PictureDamaged`] if the work panics or takes far too long.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        key: QueueKey,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.queue.enter(key, self.at_once)?;
        let wait = async {
            let turn = place.turn().await;
            (turn, Arc::clone(&self.slots).acquire_owned().await)
        };
        let (turn, slot) = timeout(PATIENCE, wait).await.map_err(|_| Problem::Busy)?;
        let (tell, told) = oneshot::channel();
        // A thread for each picture: its niceness cannot be taken back, and its memory goes with it. It keeps its place
        // until it has ended, also if nobody waits for it any more.
        let run = move || {
            be_nice();
            let done = catch_unwind(AssertUnwindSafe(work));
            drop((slot, turn, place));
            let _ = tell.send(done);
        };
        let spawned = thread::Builder::new().name("picture".into()).spawn(run);
        spawned.map_err(|error| {
            tracing::error!(%error, "no thread for a picture could be started");
            Problem::Busy
        })?;
        self.wait_for(told).await
    }

    /// Waits for a thread. If it takes too long, another one may take its place for as long.
    async fn wait_for<T: Send + 'static>(
        &self,
        mut told: oneshot::Receiver<thread::Result<T>>,
    ) -> Result<T, Problem> {
        let Ok(done) = timeout(SLOW, &mut told).await else {
            tracing::error!("a picture takes more than {SLOW:?} to decode");
            if self.lost.fetch_add(1, Ordering::Relaxed) < MAX_LOST {
                self.slots.add_permits(1);
                let (slots, lost) = (Arc::clone(&self.slots), Arc::clone(&self.lost));
                tokio::spawn(async move {
                    let _ = told.await;
                    if let Ok(slot) = slots.acquire_owned().await {
                        slot.forget();
                    }
                    lost.fetch_sub(1, Ordering::Relaxed);
                });
            } else {
                self.lost.fetch_sub(1, Ordering::Relaxed);
            }
            return Err(Problem::PictureDamaged);
        };
        match done {
            Ok(Ok(done)) => Ok(done),
            // The panic hook has logged why.
            Ok(Err(_)) | Err(_) => Err(Problem::PictureDamaged),
        }
    }
}

/// Puts the thread behind all others of this process and of the machine.
fn be_nice() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "the thread for a picture has the priority of others");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn address(number: u8) -> QueueKey {
        QueueKey::of([192, 0, 2, number].into(), None)
    }

    #[tokio::test]
    async fn what_panics_is_refused_and_the_next_one_is_done() {
        let pool = Pool::with(1);
        let panics = pool.run(address(1), || assert!(thread::panicking(), "on purpose"));
        assert_eq!(panics.await, Err(Problem::PictureDamaged));
        assert_eq!(pool.run(address(1), || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_crowd_of_one_address_is_bounded_and_does_not_delay_another() {
        let pool = Arc::new(Pool::with(1));
        let (begin, began) = mpsc::channel::<()>();
        let busy = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(address(9), move || began.recv()).await }
        });
        while pool.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let ask = |number: u8| {
            let (pool, order) = (Arc::clone(&pool), Arc::clone(&order));
            tokio::spawn(async move {
                pool.run(address(number), move || order.lock().unwrap().push(number)).await
            })
        };
        let crowd: Vec<_> = (0..20).map(|_| ask(1)).collect();
        tokio::task::yield_now().await;
        let other = ask(2);
        tokio::task::yield_now().await;
        begin.send(()).unwrap();
        assert_eq!(busy.await.unwrap(), Ok(Ok(())));
        other.await.unwrap().unwrap();
        let place = order.lock().unwrap().iter().position(|number| *number == 2).unwrap();
        assert!(place <= 1, "{place}");
        let mut refused = 0;
        for one in crowd {
            refused += usize::from(one.await.unwrap() == Err(Problem::Busy));
        }
        assert_eq!(refused, 20 - MAX_QUEUED);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_end_leaves_its_place_to_the_next() {
        let pool = Pool::with(1);
        let (_keep, never) = mpsc::channel::<()>();
        assert_eq!(pool.run(address(1), move || never.recv().is_ok()).await, Err(Problem::PictureDamaged));
        assert_eq!(pool.lost.load(Ordering::Relaxed), 1);
        assert_eq!(pool.slots.available_permits(), 1);
    }
}
