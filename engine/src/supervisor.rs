//! Tasks in the background that have to go on: one that panics is begun again, after a while that grows, logged and
//! counted. What it works on is shared and whole ([`crate::presence`], [`crate::lobby`]), so nobody notices but the log.

use std::{
    any::Any,
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// The first wait before a task is begun again. It doubles with every further panic,
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// up to this,
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// and starts over once the task went on for this long.
const CALM: Duration = Duration::from_secs(60);

/// How often each task panicked since the start.
#[derive(Debug, Default)]
pub struct Panics {
    /// The task that stores what people say.
    pub writer: AtomicU64,
    /// The task that knows who is here.
    pub presence: AtomicU64,
    /// The task that tells what goes on.
    pub lobby: AtomicU64,
    /// The task that takes away what has expired.
    pub sweep: AtomicU64,
    /// The tasks that write to those who follow.
    pub tails: AtomicU64,
    /// The task that forgets who has done nothing lately.
    pub limits: AtomicU64,
    /// The task that lets pages go.
    pub press: AtomicU64,
}

impl Panics {
    /// All of them by name.
    pub fn by_task(&self) -> [(&'static str, u64); 7] {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("writer", count(&self.writer)),
            ("presence", count(&self.presence)),
            ("lobby", count(&self.lobby)),
            ("sweep", count(&self.sweep)),
            ("tails", count(&self.tails)),
            ("limits", count(&self.limits)),
            ("press", count(&self.press)),
        ]
    }
}

/// The waits between the panics of one task.
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
    /// How long to wait after a panic now.
    pub fn after_panic(&mut self) -> Duration {
        if self.began.elapsed() >= CALM {
            self.next = FIRST_WAIT;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST_WAIT);
        self.began = Instant::now() + wait;
        wait
    }
}

/// Keeps a task going until it ends by itself or this is dropped.
pub async fn supervise<F>(name: &'static str, panics: &AtomicU64, mut begin: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut back_off = BackOff::default();
    loop {
        let mut task = JoinSet::new();
        task.spawn(begin());
        match task.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                note(name, panics, &*error.into_panic());
                sleep(back_off.after_panic()).await;
            }
            _ => return,
        }
    }
}

/// Logs and counts a panic.
pub fn note(name: &'static str, panics: &AtomicU64, panic: &(dyn Any + Send)) {
    panics.fetch_add(1, Ordering::Relaxed);
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words");
    tracing::error!(task = name, panic = words, "a task in the background panicked");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_begun_again_and_counted() {
        let panics = AtomicU64::new(0);
        let begun = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        supervise("test", &panics, || {
            let begun = Arc::clone(&begun);
            async move {
                assert!(begun.fetch_add(1, Ordering::SeqCst) == 3, "on purpose");
            }
        })
        .await;
        assert_eq!((begun.load(Ordering::SeqCst), panics.load(Ordering::SeqCst)), (4, 3));
        assert_eq!(started.elapsed(), FIRST_WAIT * 7, "it waits 1, 2 and 4 times as long");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_stay_bounded_and_start_over_after_a_calm_time() {
        let mut back_off = BackOff::default();
        for _ in 0..20 {
            back_off.after_panic();
        }
        assert_eq!(back_off.after_panic(), LONGEST_WAIT);
        tokio::time::advance(LONGEST_WAIT + CALM).await;
        assert_eq!(back_off.after_panic(), FIRST_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_ends_with_its_supervisor() {
        let alive = Arc::new(());
        let panics = AtomicU64::new(0);
        let supervised = supervise("test", &panics, || {
            let alive = Arc::clone(&alive);
            async move {
                let _alive = alive;
                std::future::pending::<()>().await;
            }
        });
        assert!(tokio::time::timeout(CALM, supervised).await.is_err());
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
