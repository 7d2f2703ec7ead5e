//! Pictures that all nodes of a cluster share. A picture is where each of them gets it before there is a ticket with which it
//! can be posted; each node fetches the files of those that it applies.

use std::{
    array,
    collections::BTreeSet,
    io, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{Message, PictureId, Problem, Timestamp};
use futures_util::future::BoxFuture;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use super::{Encoded, FREE_BYTES, Known, PictureSize, Pictures, name_of, not_stored};

/// The maximum number of pictures that wait to be fetched, and of those that wait to be removed from where all nodes get
/// them. What is left out is found by the next look at all of them.
const MAX_WAITING: usize = 1_024;
/// How many pictures are fetched at once.
const TURNS: usize = 8;
/// How many requests wait at once for a picture to be fetched.
const MAX_ASKING: usize = 64;
/// How long a request waits for a picture to be fetched.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an upload waits until all nodes can get it.
const PUT_TIMEOUT: Duration = Duration::from_secs(20);

/// Both files of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedPicture {
    /// When it was uploaded, by the time of the log.
    pub uploaded_at: Timestamp,
    /// The file of the large version.
    pub large: Vec<u8>,
    /// The file of the small version.
    pub small: Vec<u8>,
}

/// Why a picture cannot be shared at present, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotShared {
    /// There is no room where all nodes get pictures.
    #[error("there is no room for it: {0}")]
    NoRoom(String),
    /// Something else is in the way.
    #[error("{0}")]
    Trouble(String),
}

/// Where all nodes of a cluster get pictures.
pub trait Bucket: Send + Sync {
    /// Returns whether it can be reached, as far as is known.
    fn is_up(&self) -> bool;

    /// Stores a picture durably. Nothing changes if it is there already.
    ///
    /// # Errors
    /// [`NotShared`] if it is not known to be there as a whole. Parts of it may be.
    fn put(&self, id: PictureId, picture: Arc<SharedPicture>) -> BoxFuture<'_, Result<(), NotShared>>;

    /// Returns a picture. `None` if it is not there as a whole.
    ///
    /// # Errors
    /// [`NotShared`] if that cannot be told, or it is damaged.
    fn get(&self, id: PictureId) -> BoxFuture<'_, Result<Option<SharedPicture>, NotShared>>;
}

/// Why the files of a picture are not there.
#[derive(Debug, thiserror::Error)]
pub enum NotFetched {
    /// It cannot be had at present.
    #[error(transparent)]
    NotShared(#[from] NotShared),
    /// The files cannot be written.
    #[error("its files cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// What is to be done about pictures that nodes share.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Those whose files are to be fetched.
    pub wanted: BTreeSet<PictureId>,
    /// Those that no message has any more, and whose files were here.
    pub gone: BTreeSet<PictureId>,
    /// Whether there may be more to be fetched.
    pub has_more: bool,
}

/// The pictures that a node shares with others.
pub(super) struct Shared {
    bucket: Arc<dyn Bucket>,
    work: Mutex<Work>,
    has_work: Notify,
    /// Held while a picture is fetched, one for several of them.
    turns: [AsyncMutex<()>; TURNS],
    asking: Arc<Semaphore>,
    /// Whether pictures could not be shared at the last attempt, so that this is told once.
    is_troubled: AtomicBool,
}

impl Shared {
    pub(super) fn new(bucket: Arc<dyn Bucket>) -> Self {
        Self {
            bucket,
            work: Mutex::default(),
            has_work: Notify::new(),
            turns: array::from_fn(|_| AsyncMutex::default()),
            asking: Arc::new(Semaphore::new(MAX_ASKING)),
            is_troubled: AtomicBool::new(false),
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that no message has a picture any more.
    pub(super) fn is_gone(&self, id: PictureId) {
        let mut work = self.work();
        if work.gone.len() < MAX_WAITING {
            work.gone.insert(id);
        }
        drop(work);
        self.has_work.notify_one();
    }

    /// Has a picture fetched.
    fn want(&self, id: PictureId) {
        let mut work = self.work();
        if work.wanted.len() < MAX_WAITING {
            work.wanted.insert(id);
        } else {
            work.has_more = true;
        }
        drop(work);
        self.has_work.notify_one();
    }

    /// Tells the operator what is in the way, once until nothing is any more.
    fn tell(&self, error: Option<&NotShared>) {
        let was_troubled = self.is_troubled.swap(error.is_some(), Ordering::Relaxed);
        if let Some(error) = error
            && !was_troubled
        {
            tracing::warn!(%error, "pictures cannot be shared with the other nodes for now, and are not taken");
        }
    }
}

impl Pictures {
    /// Makes them the pictures of a node that shares them with others.
    #[must_use]
    pub fn shared_by(self, bucket: Arc<dyn Bucket>) -> Self {
        Self { shared: Some(Shared::new(bucket)), ..self }
    }

    /// Checks whether what is uploaded can be shared with all nodes, as far as is known.
    ///
    /// # Errors
    /// [`Problem::NotStored`] if it cannot.
    pub(crate) fn check_shared(&self) -> Result<(), Problem> {
        let is_up = self.shared.as_ref().is_none_or(|shared| shared.bucket.is_up());
        if is_up { Ok(()) } else { Err(Problem::NotStored) }
    }

    /// Stores a new picture durably, here and where all nodes get it.
    ///
    /// # Errors
    /// [`Problem::StorageFull`] if there is no room for it, [`Problem::NotStored`] if it cannot be stored. No file of it is
    /// left here then.
    pub(crate) async fn keep_for_all(
        self: Arc<Self>,
        id: PictureId,
        uploaded_at: Timestamp,
        encoded: Encoded,
    ) -> Result<(), Problem> {
        let pictures = Arc::clone(&self);
        let kept = spawn_blocking(move || pictures.keep(id, uploaded_at, &encoded).map(|()| encoded)).await;
        let Encoded { large, small, .. } = kept.unwrap_or(Err(Problem::NotStored))?;
        let Some(shared) = &self.shared else { return Ok(()) };
        let put = shared.bucket.put(id, Arc::new(SharedPicture { uploaded_at, large, small }));
        let no_answer = |_| Err(NotShared::Trouble("it took too long to store a picture".to_owned()));
        let put = timeout(PUT_TIMEOUT, put).await.unwrap_or_else(no_answer);
        shared.tell(put.as_ref().err());
        let Err(error) = put else { return Ok(()) };
        let pictures = Arc::clone(&self);
        // What is left if that fails is deleted later.
        let _ = spawn_blocking(move || pictures.remove(id)).await;
        Err(match error {
            NotShared::NoRoom(_) => Problem::StorageFull,
            NotShared::Trouble(_) => Problem::NotStored,
        })
    }

    /// Notes that a message with pictures was posted, or is there again, and has those fetched whose files are not here.
    pub(crate) fn posted(&self, message: &Message) {
        for picture in &message.pictures {
            let known = self.known().get_mut(&picture.id).map(|known| known.was_posted = true);
            if let (None, Some(shared)) = (known, &self.shared) {
                shared.want(picture.id);
            }
        }
    }

    /// Has all pictures of messages looked through, since other messages than before may be there.
    pub(crate) fn look_through(&self) {
        if let Some(shared) = &self.shared {
            shared.work().has_more = true;
            shared.has_work.notify_one();
        }
    }

    /// Waits until there is something to do about pictures that nodes share, and returns what. For one task.
    pub async fn work(&self) -> Work {
        let Some(shared) = &self.shared else { return std::future::pending().await };
        loop {
            let work = mem::take(&mut *shared.work());
            if work != Work::default() {
                return work;
            }
            shared.has_work.notified().await;
        }
    }

    /// Fetches the files of a picture, if they are not here. Returns whether they are here now: they are not if it is not
    /// where all nodes get it either.
    ///
    /// # Errors
    /// [`NotFetched`] if it cannot be had at present.
    pub async fn fetch(self: &Arc<Self>, id: PictureId) -> Result<bool, NotFetched> {
        let Some(shared) = &self.shared else { return Ok(self.has(id)) };
        let [first, ..] = id.bytes();
        let turn = shared.turns.get(usize::from(first) % TURNS);
        let _turn = match turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        if self.has(id) {
            return Ok(true);
        }
        let Some(picture) = shared.bucket.get(id).await? else { return Ok(false) };
        let pictures = Arc::clone(self);
        let taken = spawn_blocking(move || pictures.take_in(id, &picture)).await;
        taken.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        Ok(true)
    }

    /// Fetches the files of a picture for a request, which waits for it for some seconds. Returns whether they are here now.
    /// Always false where there are no other nodes.
    ///
    /// # Errors
    /// [`Problem::Busy`] if that takes longer, too many requests wait, or it cannot be had at present.
    pub(crate) async fn fetch_soon(self: &Arc<Self>, id: PictureId) -> Result<bool, Problem> {
        let Some(shared) = &self.shared else { return Ok(false) };
        let asking = Arc::clone(&shared.asking).try_acquire_owned().map_err(|_| Problem::Busy)?;
        let pictures = Arc::clone(self);
        // It goes on if the request waits no longer: the next one finds it.
        let fetching = tokio::spawn(async move {
            let _asking = asking;
            pictures.fetch(id).await
        });
        match timeout(FETCH_TIMEOUT, fetching).await {
            Ok(Ok(Ok(is_here))) => Ok(is_here),
            Ok(Ok(Err(error))) => {
                tracing::debug!(%error, "a picture could not be fetched");
                Err(Problem::Busy)
            }
            Ok(Err(_)) | Err(_) => Err(Problem::Busy),
        }
    }

    /// Returns both files of a picture, as all nodes can get them. `None` if they are not here. It blocks.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn to_share(&self, id: PictureId) -> io::Result<Option<SharedPicture>> {
        let uploaded_at = self.known().get(&id).map(|known| known.uploaded_at);
        let [large, small] =
            [PictureSize::Large, PictureSize::Small].map(|size| self.read(id, size).transpose());
        let (Some(uploaded_at), Some(large), Some(small)) = (uploaded_at, large, small) else {
            return Ok(None);
        };
        Ok(Some(SharedPicture { uploaded_at, large: large?, small: small? }))
    }

    /// Writes the files of a picture of a message. It blocks.
    fn take_in(&self, id: PictureId, picture: &SharedPicture) -> io::Result<()> {
        if self.files.free_bytes()? < FREE_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let SharedPicture { uploaded_at, large, small } = picture;
        let bytes = u64::try_from(large.len().saturating_add(small.len())).unwrap_or(u64::MAX);
        let known = Known { uploaded_at: *uploaded_at, bytes, is_whole: false, was_posted: true };
        self.known().insert(id, known);
        let [large_name, small_name] =
            [PictureSize::Large, PictureSize::Small].map(|size| name_of(*uploaded_at, id, size));
        // In the order of `keep`.
        let put = self.files.put(&small_name, small).and_then(|()| self.files.put(&large_name, large));
        let is_known = self.known().get_mut(&id).map(|known| known.is_whole = put.is_ok());
        if let Err(error) = put {
            // What is left if that fails is deleted at the next start.
            let _ = [large_name, small_name].map(|name| self.files.remove(&name));
            self.known().remove(&id);
            // For the log alone: nothing was asked for.
            not_stored(&error);
            return Err(error);
        }
        if is_known.is_none() {
            // Its message is gone meanwhile.
            [large_name, small_name].iter().try_for_each(|name| self.files.remove(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use domain::{Body, ClientId, Lifetimes, Nickname, Picture, UserId, id::ID_BYTES};
    use futures_util::{
        FutureExt,
        future::{join_all, pending, ready},
    };

    use tokio::time::Instant;

    use super::*;
    use crate::{
        pictures::{
            Collector, Files, PictureSettings,
            tests::{AT, FakeDisk, encoded, id, open},
        },
        storage::Store,
    };

    /// A bucket in memory, which can be away or full.
    #[derive(Default)]
    struct FakeBucket {
        pictures: Mutex<HashMap<PictureId, SharedPicture>>,
        trouble: Mutex<Option<NotShared>>,
        is_down: AtomicBool,
        /// Whether nothing is answered.
        is_silent: AtomicBool,
    }

    impl FakeBucket {
        fn check(&self) -> Result<(), NotShared> {
            self.trouble.lock().unwrap().clone().map_or(Ok(()), Err)
        }
    }

    impl Bucket for FakeBucket {
        fn is_up(&self) -> bool {
            !self.is_down.load(Ordering::Relaxed)
        }

        fn put(&self, id: PictureId, picture: Arc<SharedPicture>) -> BoxFuture<'_, Result<(), NotShared>> {
            if self.is_silent.load(Ordering::Relaxed) {
                return pending().boxed();
            }
            let put =
                self.check().map(|()| drop(self.pictures.lock().unwrap().insert(id, (*picture).clone())));
            ready(put).boxed()
        }

        fn get(&self, id: PictureId) -> BoxFuture<'_, Result<Option<SharedPicture>, NotShared>> {
            if self.is_silent.load(Ordering::Relaxed) {
                return pending().boxed();
            }
            ready(self.check().map(|()| self.pictures.lock().unwrap().get(&id).cloned())).boxed()
        }
    }

    fn node(bucket: &Arc<FakeBucket>) -> (Arc<FakeDisk>, Arc<Pictures>) {
        let disk = Arc::new(FakeDisk::default());
        let shared: Arc<dyn Bucket> = Arc::<FakeBucket>::clone(bucket);
        let pictures = open(&disk, 1_000).shared_by(shared);
        (disk, Arc::new(pictures))
    }

    fn message(ids: impl IntoIterator<Item = u8>) -> Message {
        let pictures: Vec<Picture> = ids.into_iter().map(|number| encoded().picture(id(number))).collect();
        let plain = Message::plain(
            UserId::from_bytes([1; ID_BYTES]),
            Nickname::parse("Ana").unwrap(),
            ClientId::from_bytes([1; ID_BYTES]),
            Body::try_from("hello".to_owned()).unwrap(),
        );
        Message { pictures, ..plain }
    }

    #[tokio::test]
    async fn a_picture_that_is_kept_on_one_node_is_fetched_by_another() {
        let bucket = Arc::new(FakeBucket::default());
        let ((disk, one), (other_disk, other)) = (node(&bucket), node(&bucket));
        Arc::clone(&one).keep_for_all(id(1), AT, encoded()).await.unwrap();
        assert!(!other.has(id(1)));
        other.posted(&message([1]));
        one.posted(&message([1]));
        assert_eq!(other.work().await, Work { wanted: [id(1)].into(), ..Work::default() });
        assert_eq!(one.work().now_or_never(), None, "it is here");
        assert!(other.fetch(id(1)).await.unwrap() && other.has(id(1)));
        assert_eq!(*disk.files.lock().unwrap(), *other_disk.files.lock().unwrap());
        assert_eq!(other.to_share(id(1)).unwrap(), one.to_share(id(1)).unwrap());
        assert_eq!(other.fetch_soon(id(1)).await, Ok(true));
        assert_eq!(other.fetch_soon(id(2)).await, Ok(false), "nobody has it");
        assert_eq!(other.stored(), (1, 100));
    }

    #[tokio::test]
    async fn what_cannot_be_shared_is_not_kept() {
        let bucket = Arc::new(FakeBucket::default());
        let (disk, pictures) = node(&bucket);
        for (trouble, problem) in [
            (NotShared::NoRoom("full".to_owned()), Problem::StorageFull),
            (NotShared::Trouble("away".to_owned()), Problem::NotStored),
        ] {
            *bucket.trouble.lock().unwrap() = Some(trouble);
            let kept = Arc::clone(&pictures).keep_for_all(id(1), AT, encoded()).await;
            assert_eq!(kept, Err(problem));
            assert_eq!((pictures.stored(), disk.list().unwrap().len()), ((0, 0), 0));
            assert_eq!(pictures.fetch_soon(id(1)).await, Err(Problem::Busy));
        }
        assert_eq!(pictures.check_shared(), Ok(()));
        bucket.is_down.store(true, Ordering::Relaxed);
        assert_eq!(pictures.check_shared(), Err(Problem::NotStored));
        let settings = PictureSettings { are_on: true, max_storage: 1, max_in_message: 8 };
        let alone = Pictures { settings, ..Pictures::off() };
        assert_eq!(alone.check_shared(), Ok(()), "it shares nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_long_and_not_too_many_wait() {
        let bucket = Arc::new(FakeBucket::default());
        let (disk, pictures) = node(&bucket);
        bucket.is_silent.store(true, Ordering::Relaxed);
        let kept = Arc::clone(&pictures).keep_for_all(id(1), AT, encoded()).await;
        assert_eq!((kept, disk.list().unwrap().len()), (Err(Problem::NotStored), 0));
        let begun = Instant::now();
        let asked = join_all((0..MAX_ASKING).map(|_| pictures.fetch_soon(id(2)))).await;
        assert!(asked.iter().all(|asked| *asked == Err(Problem::Busy)));
        assert_eq!(begun.elapsed(), FETCH_TIMEOUT);
        // These are still asked for, so one more is refused at once.
        assert_eq!(pictures.fetch_soon(id(2)).await, Err(Problem::Busy));
        assert_eq!(begun.elapsed(), FETCH_TIMEOUT);
    }

    #[tokio::test]
    async fn a_picture_that_finds_no_room_leaves_nothing_and_is_fetched_later() {
        let bucket = Arc::new(FakeBucket::default());
        let ((_, one), (disk, other)) = (node(&bucket), node(&bucket));
        Arc::clone(&one).keep_for_all(id(1), AT, encoded()).await.unwrap();
        for room in [0, 1] {
            *disk.room.lock().unwrap() = Some(room);
            assert!(other.fetch(id(1)).await.is_err());
            assert_eq!((other.stored(), disk.list().unwrap().len()), ((0, 0), 0), "{room}");
        }
        *disk.room.lock().unwrap() = None;
        assert!(other.fetch(id(1)).await.unwrap());
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_what_is_left_out_is_told() {
        let (_, pictures) = node(&Arc::default());
        let many = (0..=MAX_WAITING).map(|number| {
            let mut bytes = [0; ID_BYTES];
            bytes[..2].copy_from_slice(&u16::try_from(number).unwrap().to_be_bytes());
            PictureId::from_bytes(bytes)
        });
        let shared = pictures.shared.as_ref().unwrap();
        many.clone().for_each(|id| shared.want(id));
        many.for_each(|id| shared.is_gone(id));
        let work = pictures.work().await;
        assert_eq!((work.wanted.len(), work.gone.len(), work.has_more), (MAX_WAITING, MAX_WAITING, true));
        assert_eq!(pictures.work().now_or_never(), None);
        pictures.look_through();
        assert!(pictures.work().await.has_more);
    }

    #[tokio::test]
    async fn a_picture_that_was_fetched_goes_as_soon_as_no_message_has_it() {
        let bucket = Arc::new(FakeBucket::default());
        let ((_, one), (disk, other)) = (node(&bucket), node(&bucket));
        Arc::clone(&one).keep_for_all(id(1), AT, encoded()).await.unwrap();
        other.fetch(id(1)).await.unwrap();
        let store = Arc::new(Store::in_memory(Lifetimes::default()).unwrap());
        let collector =
            Collector::new(store, Arc::clone(&other), Arc::new(|| AT), false, Duration::from_secs(1));
        collector.collect().unwrap();
        assert_eq!(disk.list().unwrap().len(), 0);
        assert_eq!(other.work().await, Work { gone: [id(1)].into(), ..Work::default() });
    }
}
