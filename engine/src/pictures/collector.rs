//! The collector: deletes the files of pictures that no message has.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{PictureId, PictureRecord, Timestamp, picture::PICTURE_WAITS_MILLIS};
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{Known, Pictures};
use crate::{
    clock::Clock,
    storage::{Store, StoreError},
};

/// The longest time between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long after the removal of its message a picture is kept, in milliseconds: the removal can be taken back for a third
/// of that ([`domain::decide::RESTORE_MILLIS`]).
const REMOVED_MILLIS: u64 = 30_000;
/// How long after its upload a picture is kept without a message, in milliseconds: twice as long as it can be posted.
const UNPOSTED_MILLIS: u64 = 2 * PICTURE_WAITS_MILLIS;

/// Deletes the files of pictures that no message has, and counts the pictures whose files are missing.
pub struct Collector {
    store: Arc<Store>,
    pictures: Arc<Pictures>,
    clock: Clock,
    /// Whether other nodes apply the same log. Its time is then that of the newest entry, since an older one may still
    /// come.
    is_shared: bool,
    every: Duration,
    missing: AtomicU64,
}

impl Collector {
    /// Creates a collector of the pictures of a store, which looks at them at the given interval, and at least every 10
    /// seconds.
    pub fn new(
        store: Arc<Store>,
        pictures: Arc<Pictures>,
        clock: Clock,
        is_shared: bool,
        every: Duration,
    ) -> Self {
        let every = every.clamp(Duration::from_millis(1), INTERVAL);
        Self { store, pictures, clock, is_shared, every, missing: AtomicU64::new(0) }
    }

    /// Returns the number of pictures of messages whose files were missing when they were looked for last.
    pub fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// Deletes files from time to time. Never returns.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let collector = Arc::clone(&self);
            match spawn_blocking(move || collector.collect()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "pictures could not be looked through for now"),
                Err(error) => {
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }

    /// Deletes the files that are due. It blocks.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read. Nothing is deleted then.
    pub fn collect(&self) -> Result<(), StoreError> {
        // Before the messages are read: what is uploaded later is not looked at.
        let known: Vec<_> = self.pictures.known().iter().map(|(id, known)| (*id, *known)).collect();
        let now = (self.clock)();
        let view = self.store.read(now)?;
        let now = if self.is_shared { view.log()?.map_or(Timestamp::default(), |log| log.at) } else { now };
        let posted: HashMap<PictureId, PictureRecord> = view.pictures()?.into_iter().collect();
        drop(view);
        for (id, known) in &known {
            match posted.get(id) {
                Some(record) => {
                    if record.removed_at.is_some_and(|at| now.millis_since(at) > REMOVED_MILLIS) {
                        self.pictures.remove(*id);
                    } else if let Some(known) = self.pictures.known().get_mut(id) {
                        known.was_posted = true;
                    }
                }
                None if is_over(known, now) => self.pictures.remove(*id),
                None => {}
            }
        }
        let is_missing = |(id, record): &(&PictureId, &PictureRecord)| {
            record.removed_at.is_none() && !self.pictures.has(**id)
        };
        let missing = posted.iter().filter(is_missing).count();
        self.missing.store(u64::try_from(missing).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }
}

/// Whether a picture that no message has can be deleted: its message is gone, or it can be posted no more.
fn is_over(known: &Known, now: Timestamp) -> bool {
    known.is_whole && (known.was_posted || now.millis_since(known.uploaded_at) > UNPOSTED_MILLIS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::tests::{AT, FakeDisk, encoded, id, open};

    #[test]
    fn a_picture_waits_for_its_message_and_goes_with_it() {
        let known = |was_posted, is_whole| Known { uploaded_at: AT, bytes: 1, is_whole, was_posted };
        let after = |millis| Timestamp(AT.0 + millis);
        assert!(!is_over(&known(false, true), after(UNPOSTED_MILLIS)));
        assert!(is_over(&known(false, true), after(UNPOSTED_MILLIS + 1)));
        assert!(is_over(&known(true, true), after(1)), "its message has expired");
        assert!(!is_over(&known(false, false), after(2 * UNPOSTED_MILLIS)), "it is being written");
        assert!(!is_over(&known(false, true), Timestamp(0)), "the clock was set back");
    }

    #[test]
    fn what_was_never_posted_is_deleted_once_it_cannot_be_any_more() {
        let disk = Arc::new(FakeDisk::default());
        let pictures = Arc::new(open(&disk, 1_000));
        pictures.keep(id(1), AT, &encoded()).unwrap();
        let store = Arc::new(Store::in_memory(domain::Lifetimes::default()).unwrap());
        let collect = |millis| {
            let clock: Clock = Arc::new(move || Timestamp(AT.0 + millis));
            let collector = Collector::new(Arc::clone(&store), Arc::clone(&pictures), clock, false, INTERVAL);
            collector.collect().unwrap();
            assert_eq!(collector.missing(), 0);
        };
        collect(UNPOSTED_MILLIS);
        assert!(pictures.has(id(1)));
        collect(UNPOSTED_MILLIS + 1);
        assert_eq!((pictures.stored(), crate::pictures::Files::list(&*disk).unwrap().len()), ((0, 0), 0));
    }
}
