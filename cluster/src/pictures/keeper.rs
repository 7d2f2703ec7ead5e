//! What a node does beside its requests about the pictures that nodes share: it fetches those of messages that it lacks, puts
//! back those that only it has, and the node on duty removes those that no message has any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use domain::PictureId;
use engine::{
    command_log::status::StatusReceiver,
    pictures::{Needed, NotFetched, NotShared, Pictures, Work},
    storage::{Store, StoreError},
};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{Listed, PictureBucket};
use crate::{stream::LogStream, trouble::Trouble};

/// The interval between two looks for files that are missing.
const LOOK: Duration = Duration::from_secs(60);
/// The wait after trouble.
const RETRY: Duration = Duration::from_secs(5);
/// The number of pictures that cannot be fetched after which the others wait for the next look.
const FAILURES: u32 = 3;
/// The maximum number of pictures that are remembered to be removed. The others are found by the next sweep.
const MAX_GONE: usize = 4_096;

/// What a [`PictureKeeper`] is made of.
pub struct KeeperParts {
    /// The pictures that nodes share.
    pub bucket: PictureBucket,
    /// The files of this node.
    pub pictures: Arc<Pictures>,
    /// The view of the log.
    pub store: Arc<Store>,
    /// The stream of the log.
    pub stream: LogStream,
    /// Whether it is this node that removes pictures.
    pub duty: watch::Receiver<bool>,
    /// How the log is doing.
    pub status: StatusReceiver,
    /// The interval between two looks at all that is shared.
    pub interval: Duration,
}

/// Fetches, puts back and removes pictures that nodes share.
pub struct PictureKeeper(KeeperParts);

/// Why pictures were not fetched, put back or removed.
#[derive(Debug, thiserror::Error)]
enum NotKept {
    #[error(transparent)]
    Trouble(#[from] Trouble),
    #[error("{0}")]
    NotShared(#[from] NotShared),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the database could not be read: {0}")]
    Store(#[from] StoreError),
    /// This node has not read the log of the cluster to its end, and knows neither what is needed nor what is not.
    #[error("the log has not been read yet")]
    NotReady,
}

impl From<NotFetched> for NotKept {
    fn from(error: NotFetched) -> Self {
        match error {
            NotFetched::NotShared(error) => Self::NotShared(error),
            NotFetched::Io(error) => Self::Io(error),
        }
    }
}

/// When what is due.
struct Schedule {
    look_at: Instant,
    sweep_at: Instant,
    /// What is to be removed, and from when on.
    gone: BTreeSet<PictureId>,
    remove_at: Instant,
}

impl PictureKeeper {
    /// Creates it. Nothing is done before [`PictureKeeper::run`].
    pub fn new(parts: KeeperParts) -> Self {
        Self(parts)
    }

    /// Does what is due. Never returns. What does not work is tried again.
    pub async fn run(&self) {
        let now = Instant::now();
        let mut schedule = Schedule { look_at: now, sweep_at: now, gone: BTreeSet::new(), remove_at: now };
        let mut told = None;
        loop {
            let removal = (self.is_mine() && !schedule.gone.is_empty()).then_some(schedule.remove_at);
            let next = removal.map_or(schedule.look_at, |at| at.min(schedule.look_at)).min(schedule.sweep_at);
            let work = tokio::select! {
                work = self.0.pictures.work() => work,
                () = sleep_until(next) => Work::default(),
            };
            match self.do_due(work, &mut schedule).await {
                Ok(()) => told = None,
                // There will be another attempt when there is a connection, and the reader tells what is wrong with it.
                Err(NotKept::Trouble(Trouble::NotConnected { .. }) | NotKept::NotReady) => {}
                Err(_) if self.0.bucket.connection().trouble().is_some() => {}
                Err(error) => {
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        tracing::warn!(error, "pictures are not fetched or removed for now");
                    }
                    told = Some(error);
                }
            }
        }
    }

    async fn do_due(&self, work: Work, schedule: &mut Schedule) -> Result<(), NotKept> {
        let mut done = Ok(());
        let now = Instant::now();
        schedule.gone.extend(work.gone.into_iter().take(MAX_GONE.saturating_sub(schedule.gone.len())));
        for id in work.wanted {
            if let Err(error) = self.0.pictures.fetch(id).await {
                schedule.look_at = schedule.look_at.min(now + RETRY);
                done = done.and(Err(error.into()));
                break;
            }
        }
        if work.has_more || schedule.look_at <= now {
            let looked = self.fetch_missing().await;
            schedule.look_at = Instant::now() + if looked.is_ok() { LOOK } else { RETRY };
            done = done.and(looked);
        }
        if self.is_mine() && !schedule.gone.is_empty() && schedule.remove_at <= now {
            let removed = self.remove(&mut schedule.gone).await;
            if removed.is_err() {
                schedule.remove_at = Instant::now() + RETRY;
            }
            done = done.and(removed);
        }
        if schedule.sweep_at <= now {
            let swept = self.sweep(&mut schedule.gone).await;
            schedule.sweep_at =
                Instant::now() + if swept.is_ok() { self.0.interval } else { RETRY.min(self.0.interval) };
            done = done.and(swept);
        }
        done
    }

    /// Fetches the files of pictures of messages that are not here. Those that nobody has are looked for again the next time.
    async fn fetch_missing(&self) -> Result<(), NotKept> {
        let files = Arc::clone(&self.0.pictures);
        let missing: Vec<_> = needed(&self.0.store, move |needed| needed.missing(&files).collect()).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let listed = self.0.bucket.list().await?;
        let (mut done, mut failures) = (Ok(()), 0);
        for id in missing.into_iter().filter(|id| listed.get(id).is_some_and(Listed::is_whole)) {
            if let Err(error) = self.0.pictures.fetch(id).await {
                done = done.and(Err(error.into()));
                // One that is damaged keeps none of the others away.
                failures += 1;
                if failures >= FAILURES {
                    break;
                }
            }
        }
        done
    }

    /// Returns whether it is the duty of this node to remove pictures.
    fn is_mine(&self) -> bool {
        *self.0.duty.borrow()
    }

    /// Removes pictures that no message has any more.
    async fn remove(&self, gone: &mut BTreeSet<PictureId>) -> Result<(), NotKept> {
        self.check_log().await?;
        while let Some(id) = gone.first().copied() {
            self.0.bucket.remove(id).await?;
            gone.remove(&id);
        }
        Ok(())
    }

    /// Looks at all that is shared. What this node has of what is missing there is put back. What is not needed is removed: all
    /// of it if that is the duty of this node, and else what it has seen go, for the one on duty may not have.
    async fn sweep(&self, gone: &mut BTreeSet<PictureId>) -> Result<(), NotKept> {
        self.check_log().await?;
        // What comes later is not looked at.
        let needed = needed(&self.0.store, |needed| needed).await?;
        let listed = self.0.bucket.list().await?;
        put_back(&self.0.bucket, &self.0.pictures, needed.shown(), &listed).await?;
        for (id, listed) in listed {
            if gone.contains(&id) || (self.is_mine() && needed.is_over(id, listed.uploaded_at)) {
                self.0.bucket.remove(id).await?;
            }
        }
        gone.clear();
        Ok(())
    }

    /// Makes sure that this node has the log that the cluster has now, and has read it.
    async fn check_log(&self) -> Result<(), NotKept> {
        if !self.0.status.is_ready() {
            return Err(NotKept::NotReady);
        }
        // The reader has the same trouble with the stream, and tells it.
        let state = self.0.stream.look().await.ok().flatten().ok_or(NotKept::NotReady)?;
        let is_other = state.epoch.is_some_and(|epoch| epoch != self.0.store.epoch());
        if is_other { Err(NotKept::NotReady) } else { Ok(()) }
    }
}

/// Puts all pictures of messages where all nodes get them, before other nodes read of them. Those whose files are not here are
/// left out.
///
/// # Errors
/// [`Trouble`] if they cannot be put there, or the database or a file cannot be read. It may be called again.
pub async fn put_all(
    bucket: &PictureBucket,
    pictures: &Arc<Pictures>,
    store: &Arc<Store>,
) -> Result<(), Trouble> {
    let files = Arc::clone(pictures);
    let put = async {
        let here: Vec<_> =
            needed(store, move |needed| needed.shown().filter(|id| files.has(*id)).collect()).await?;
        let listed = if here.is_empty() { BTreeMap::new() } else { bucket.list().await? };
        put_back(bucket, pictures, here.into_iter(), &listed).await
    };
    put.await.map_err(|error: NotKept| match error {
        NotKept::Trouble(trouble) => trouble,
        error => Trouble::Refused(format!("the pictures of this node could not be put there: {error}")),
    })
}

/// Puts those of some pictures where all nodes get them that are not there, and whose files are here.
async fn put_back(
    bucket: &PictureBucket,
    pictures: &Arc<Pictures>,
    wanted: impl Iterator<Item = PictureId>,
    listed: &BTreeMap<PictureId, Listed>,
) -> Result<(), NotKept> {
    for id in wanted.filter(|id| !listed.get(id).is_some_and(Listed::is_whole)) {
        let files = Arc::clone(pictures);
        let read = spawn_blocking(move || files.to_share(id)).await.map_err(io::Error::other)?;
        if let Some(picture) = read? {
            bucket.store(id, &picture).await?;
            tracing::info!(%id, "a picture was put into NATS that was missing there");
        }
    }
    Ok(())
}

/// Reads which pictures are needed by the time of the log, and returns what is made of that.
async fn needed<T: Send + 'static>(
    store: &Arc<Store>,
    make: impl FnOnce(Needed) -> T + Send + 'static,
) -> Result<T, NotKept> {
    let store = Arc::clone(store);
    let read = spawn_blocking(move || Needed::read(&store, None).map(make)).await;
    Ok(read.map_err(io::Error::other)??)
}
