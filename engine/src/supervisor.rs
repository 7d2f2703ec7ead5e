//! Supervision of background tasks: a task that panics is logged, counted, and restarted after a back-off. Its state is
//! shared and stays consistent ([`crate::presence`], [`crate::lobby`]), so the restart is not visible to users.

use std::{
    any::Any,
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// The wait before the first restart of a task. It doubles with every further panic.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The maximum wait before a restart.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long a task has to run without a panic for the wait to start over.
const RESET_AFTER: Duration = Duration::from_secs(60);

/// The number of panics of each task since the start, by its name.
#[derive(Debug, Default)]
pub struct Panics(Mutex<BTreeMap<&'static str, u64>>);

impl Panics {
    /// Returns all tasks that were started or have panicked, with their number of panics, sorted by name.
    pub fn by_task(&self) -> Vec<(&'static str, u64)> {
        self.lock().iter().map(|(task, count)| (*task, *count)).collect()
    }

    /// Returns the number of panics of a task, or 0 if no task has this name.
    pub fn of(&self, task: &str) -> u64 {
        self.lock().get(task).copied().unwrap_or_default()
    }

    /// Logs and counts a panic.
    pub fn note(&self, task: &'static str, panic: &(dyn Any + Send)) {
        *self.lock().entry(task).or_default() += 1;
        let words = panic.downcast_ref::<&str>().copied();
        let words =
            words.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        tracing::error!(task, panic = words, "a background task panicked");
    }

    /// Registers a task, so that it is listed before its first panic.
    pub fn know(&self, task: &'static str) {
        self.lock().entry(task).or_default();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The back-off between the restarts of one task.
#[derive(Debug)]
pub struct BackOff {
    next: Duration,
    began: Instant,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { next: FIRST_WAIT, began: Instant::now() }
    }
}

impl BackOff {
    /// Returns how long to wait after a panic that has happened now.
    pub fn after_panic(&mut self) -> Duration {
        if self.began.elapsed() >= RESET_AFTER {
            self.next = FIRST_WAIT;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST_WAIT);
        self.began = Instant::now() + wait;
        wait
    }
}

/// Runs background tasks, each until it returns by itself or the supervisor is dropped.
pub struct Supervisor {
    tasks: JoinSet<()>,
    panics: Arc<Panics>,
}

impl Supervisor {
    /// Creates a supervisor that counts panics in `panics`.
    pub fn new(panics: Arc<Panics>) -> Self {
        Self { tasks: JoinSet::new(), panics }
    }

    /// Starts a task that works on shared state, and restarts it whenever it panics.
    pub fn spawn<T, F>(
        &mut self,
        name: &'static str,
        shared: &Arc<T>,
        run: impl Fn(Arc<T>) -> F + Send + 'static,
    ) where
        T: Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (shared, panics) = (Arc::clone(shared), Arc::clone(&self.panics));
        panics.know(name);
        self.tasks.spawn(async move {
            let mut back_off = BackOff::default();
            loop {
                let mut task = JoinSet::new();
                task.spawn(run(Arc::clone(&shared)));
                match task.join_next().await {
                    Some(Err(error)) if error.is_panic() => {
                        panics.note(name, &*error.into_panic());
                        sleep(back_off.after_panic()).await;
                    }
                    _ => return,
                }
            }
        });
    }

    /// Waits until all tasks have returned by themselves.
    pub async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Aborts all tasks, and waits until they have ended.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_begun_again_and_counted() {
        let (panics, begun) = (Arc::new(Panics::default()), Arc::new(AtomicU64::new(0)));
        let started = Instant::now();
        let mut supervisor = Supervisor::new(Arc::clone(&panics));
        supervisor.spawn("test", &begun, |begun| async move {
            assert!(begun.fetch_add(1, Ordering::SeqCst) == 3, "on purpose");
        });
        assert_eq!(panics.by_task(), [("test", 0)]);
        supervisor.ended().await;
        assert_eq!((begun.load(Ordering::SeqCst), panics.of("test"), panics.of("another")), (4, 3, 0));
        assert_eq!(started.elapsed(), FIRST_WAIT * 7, "it waits 1, 2 and 4 times as long");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_stay_bounded_and_start_over_after_a_calm_time() {
        let mut back_off = BackOff::default();
        for _ in 0..20 {
            back_off.after_panic();
        }
        assert_eq!(back_off.after_panic(), LONGEST_WAIT);
        tokio::time::advance(LONGEST_WAIT + RESET_AFTER).await;
        assert_eq!(back_off.after_panic(), FIRST_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_ends_with_its_supervisor() {
        let alive = Arc::new(());
        let mut supervisor = Supervisor::new(Arc::default());
        supervisor.spawn("test", &alive, |alive| async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        assert!(tokio::time::timeout(RESET_AFTER, supervisor.ended()).await.is_err());
        supervisor.stop().await;
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
