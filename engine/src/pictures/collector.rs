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

use super::Pictures;
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
        let needed = Needed::read(&self.store, if self.is_shared { None } else { Some((self.clock)()) })?;
        // Those that are being written are looked at next time.
        for (id, known) in known.iter().filter(|(_, known)| known.is_whole) {
            let is_of_none = needed.is_of_none(*id);
            if needed.is_over(*id, known.uploaded_at) || (is_of_none && known.was_posted) {
                self.pictures.forget(*id);
            } else if !is_of_none && let Some(known) = self.pictures.known().get_mut(id) {
                known.was_posted = true;
            }
        }
        let missing = needed.missing(&self.pictures).count();
        self.missing.store(u64::try_from(missing).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }
}

/// Which pictures are needed at a moment: those of messages, and those that may be posted yet.
pub struct Needed {
    now: Timestamp,
    posted: HashMap<PictureId, PictureRecord>,
}

impl Needed {
    /// Reads which are needed at a time. `None` for the time of the newest entry of the log, which is that of a log that other
    /// nodes apply as well: an entry that comes later has a later time. It blocks.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn read(store: &Store, now: Option<Timestamp>) -> Result<Self, StoreError> {
        let view = store.read(now.unwrap_or_default())?;
        let now = match now {
            Some(now) => now,
            None => view.log()?.map_or(Timestamp::default(), |log| log.at),
        };
        Ok(Self { now, posted: view.pictures()?.into_iter().collect() })
    }

    /// Returns whether a picture that was uploaded at a time is needed no more: no message has it, and none can have it any
    /// more; or its message was removed, and cannot come back.
    pub fn is_over(&self, id: PictureId, uploaded_at: Timestamp) -> bool {
        match self.posted.get(&id) {
            Some(PictureRecord { removed_at: Some(at), .. }) => self.now.millis_since(*at) > REMOVED_MILLIS,
            Some(_) => false,
            None => self.now.millis_since(uploaded_at) > UNPOSTED_MILLIS,
        }
    }

    /// Returns whether no message has a picture, not even one that was removed.
    pub fn is_of_none(&self, id: PictureId) -> bool {
        !self.posted.contains_key(&id)
    }

    /// Returns the pictures of messages that are there.
    pub fn shown(&self) -> impl Iterator<Item = PictureId> {
        self.posted.iter().filter(|(_, record)| record.removed_at.is_none()).map(|(id, _)| *id)
    }

    /// Returns those of them whose files are missing.
    pub fn missing(&self, pictures: &Pictures) -> impl Iterator<Item = PictureId> {
        self.shown().filter(|id| !pictures.has(*id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::tests::{AT, FakeDisk, encoded, id, open};

    #[test]
    fn a_picture_waits_for_its_message_and_goes_with_it() {
        let record =
            |removed_at| PictureRecord { removed_at, ..PictureRecord::of(&encoded().picture(id(1))) };
        let at = |millis: u64, removed_at: Option<Option<Timestamp>>| Needed {
            now: Timestamp(AT.0 + millis),
            posted: removed_at.map(|removed_at| (id(1), record(removed_at))).into_iter().collect(),
        };
        assert!(!at(UNPOSTED_MILLIS, None).is_over(id(1), AT));
        assert!(at(UNPOSTED_MILLIS + 1, None).is_over(id(1), AT));
        assert!(!at(2 * UNPOSTED_MILLIS, Some(None)).is_over(id(1), AT), "a message has it");
        assert!(!at(REMOVED_MILLIS, Some(Some(AT))).is_over(id(1), AT), "the removal can be taken back");
        assert!(at(REMOVED_MILLIS + 1, Some(Some(AT))).is_over(id(1), AT));
        assert!(!at(0, None).is_over(id(1), Timestamp(AT.0 + 1)), "the clock was set back");
        let removed = at(0, Some(Some(AT)));
        assert!(!removed.is_of_none(id(1)) && removed.is_of_none(id(2)));
        assert_eq!((removed.shown().count(), at(0, Some(None)).shown().count()), (0, 1));
        assert_eq!(at(0, Some(None)).missing(&Pictures::off()).collect::<Vec<_>>(), [id(1)]);
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
