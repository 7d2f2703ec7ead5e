//! The log of a cluster: a node founds it or joins it, and reads it from where its database ends.
//!
//! A node whose database has been a view of the log before needs nobody for that: it reads on when NATS can be reached, and
//! is not ready before. Any other has to know first which log there is. Until it has read everything, the listener answers
//! 503 ([`starting`]).

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use ::cluster::{
    Connection, NatsSettings, Trouble,
    ephemeral::{Ephemeral, EphemeralParts},
    join::{Founder, Joined, check_that_nobody_has_a_log, try_join},
    keys::SharedKeys,
    pictures::{
        PictureBucket,
        keeper::{KeeperParts, PictureKeeper, put_all},
    },
    reader::{Reader, Start},
    recovery::{NotRecovered, Recovery},
    snapshots::{
        About, FILE, LoadError, Snapshots, TransferError,
        maker::{Made, MakerParts, SnapshotMaker},
    },
    stream::LogStream,
    transport::NatsTransport,
};
use domain::{Epoch, LogClock, LogSettings, Proposal, Rules, Seq, Timestamp};
use engine::{
    clock::{self, ReplicaClock},
    command_log::{
        Sequencer,
        batcher::Batcher,
        envelope::{FORMAT, Founding, OLDEST_FORMAT},
        replicated::{self, CHECKPOINT_AFTER, Opening, ReplicatedLog, RulesProposer},
        status::{self, LogStatus, Part, StatusReceiver, StatusSender},
        transport::{Incarnation, StreamEnd},
    },
    expiry::Duty,
    metrics::ReplicationMetrics,
    nodes::message::Versions,
    pictures::{Bucket, Folder, Pictures},
    random,
    storage::{
        LogState, ReplicaState, Store, StoreError,
        export::{self, ExportError},
    },
    supervisor::{Panics, Supervisor},
};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    DATABASE, LogParts, Node, PICTURES, Running, STOP_TIMEOUT, Stage, StartError, Starting, Watched,
    assemble, listen, make_folder,
    node_tasks::{Admitting, RaisingRules, TellingTime},
    serve,
    session_keys::{self, KeyFileError, SharedSessionKeys},
};
use crate::{
    Settings,
    http::{
        self, metrics::cluster::ClusterMetrics, readiness::Check, session::Sessions, starting,
        state::AppState,
    },
    settings::{ClusterSettings, ToldLifetimes},
};

/// How long a node waits for its first connection to NATS before it looks what is wrong.
const FIRST_CONNECT: Duration = Duration::from_secs(1);
/// The wait after trouble with joining the log.
const WAIT: Duration = Duration::from_secs(1);
/// How long a node that has been a view of the log before waits until it has read everything. After that it shows what it
/// has, though it is not ready.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);
/// The name of a machine whose name is not known.
const UNKNOWN: &str = "qchat";

/// The tasks between the two ends of the log, which end after everything that proposes, and what this node tells the others
/// when it stops.
pub struct LogTasks {
    publishing: Supervisor,
    reading: Supervisor,
    reader: Arc<Reader>,
    /// `None` before there is anything to tell.
    ephemeral: Option<Arc<Ephemeral>>,
}

impl LogTasks {
    /// Starts them.
    fn start(panics: &Arc<Panics>, batcher: Batcher<NatsTransport>, reader: Reader) -> Self {
        let [mut publishing, mut reading] = [(); 2].map(|()| Supervisor::new(Arc::clone(panics)));
        publishing.spawn("publisher", &Arc::new(batcher), |batcher| async move { batcher.run().await });
        let reader = Arc::new(reader);
        reading.spawn("reader", &reader, |reader| async move { reader.run().await });
        Self { publishing, reading, reader, ephemeral: None }
    }

    /// Tells the other nodes that this one stops. Its users have been told to go elsewhere, and its background tasks do not
    /// run any more.
    pub(super) async fn leave(&self) {
        if let Some(ephemeral) = &self.ephemeral {
            ephemeral.leave().await;
        }
    }

    /// Publishes what waits, and ends the log. All that proposes has to be gone.
    pub(super) async fn end(self) {
        let Self { mut publishing, reading, reader, .. } = self;
        if timeout(STOP_TIMEOUT, publishing.ended()).await.is_err() {
            tracing::warn!("what was written last could not be published: its pages send it again");
        }
        publishing.stop().await;
        reading.stop().await;
        // The log ends with the last of it.
        drop(reader);
    }
}

/// Starts a node of a cluster. It is listening when this returns, and joins its cluster in a task.
///
/// # Errors
/// [`StartError`] if it cannot be started whatever the other nodes and NATS do.
pub async fn start(settings: &Settings, cluster: &ClusterSettings) -> Result<Running, StartError> {
    make_folder(&settings.data_dir)?;
    let store = open_store(settings)?;
    let given = cluster.session_key.as_deref().map(session_keys::given).transpose()?;
    let (listener, address) = listen(settings.address)?;
    let node = cluster.node.clone().unwrap_or_else(|| format!("{}:{}", machine(), address.port()));
    let nats = NatsSettings { node, ..cluster.nats.clone() };
    let connection = Connection::open(&nats).await?;
    let (status, readiness) = status::channel();
    let check: Check = {
        let readiness = readiness.clone();
        Arc::new(move || readiness.troubles())
    };
    let me = random::bytes().map_err(|error| StartError::unreadable(settings, error.into()))?;
    let watched = Watched::default();
    let (routers, router) = watch::channel(starting::router(Arc::clone(&check)));
    let serving = serve(settings, listener, router, &watched);
    let interrupt = CancellationToken::new();
    let joining = Joining {
        settings: settings.clone(),
        told: cluster.told,
        given: given.map(Arc::new),
        snapshot_interval: Duration::from_millis(cluster.snapshot_interval.millis()),
        rules: cluster.rules,
        nats: nats.clone(),
        me: Incarnation::from_bytes(me),
        uptime: clock::uptime(),
        store: Arc::new(store),
        path: settings.data_dir.join(DATABASE),
        stream: LogStream::new(connection.clone(), &nats),
        snapshots: Snapshots::new(connection.clone(), &nats),
        bucket: PictureBucket::new(connection.clone(), &nats, settings.pictures.max_storage),
        connection,
        status,
        readiness,
        watched: watched.clone(),
        interrupt: interrupt.clone(),
    };
    let (failed, failure) = watch::channel(None);
    let proxies = settings.trusted_proxies.clone();
    let show = move |state| {
        drop(routers.send_replace(http::router(state, proxies)));
    };
    let joining = tokio::spawn(joining.run(check, show));
    let task = tokio::spawn(async move {
        let why = match joining.await {
            Ok(Ok(node)) => return node,
            Ok(Err(error)) => error.to_string(),
            // It panicked.
            Err(error) => format!("it could not be started: {error}"),
        };
        failed.send_replace(Some(why));
        None
    });
    let Watched { health, stop, .. } = watched;
    Ok(Running {
        address,
        stop,
        serving,
        health,
        stage: Stage::Starting(Starting { interrupt, task, failure }),
    })
}

/// A node that joins its cluster.
struct Joining {
    settings: Settings,
    told: ToldLifetimes,
    /// The sessions by the key that the operator gave. `None` if the nodes share theirs.
    given: Option<Arc<Sessions>>,
    snapshot_interval: Duration,
    /// The oldest and the newest rules by which this node can decide.
    rules: (Rules, Rules),
    nats: NatsSettings,
    me: Incarnation,
    uptime: clock::Uptime,
    store: Arc<Store>,
    /// The file of the database.
    path: PathBuf,
    connection: Connection,
    stream: LogStream,
    snapshots: Snapshots,
    bucket: PictureBucket,
    status: StatusSender,
    readiness: StatusReceiver,
    watched: Watched,
    interrupt: CancellationToken,
}

/// Where a node goes on.
struct Begun {
    /// The number of messages that it may have published already.
    published: u64,
    /// The place of the newest message in the stream. `None` if it is not known.
    newest: Option<u64>,
}

/// The log of a node, and what belongs to it.
struct Opened {
    parts: LogParts<ReplicatedLog>,
    /// Tells the duty of the node.
    duty: watch::Sender<bool>,
    proposer: RulesProposer,
    clock: Arc<ReplicaClock>,
}

/// Why a node could not join.
enum NotJoined {
    /// It tries again.
    Trouble(Trouble),
    /// Trying again does not help.
    Failed(StartError),
}

impl From<Trouble> for NotJoined {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Joining {
    /// Joins the cluster, and starts everything behind the listener. Calls `show` when there are pages to be shown. Returns
    /// `None` if it was interrupted before there was anything to stop.
    async fn run(
        self,
        check: Check,
        show: impl FnOnce(Arc<AppState>),
    ) -> Result<Option<Box<Node>>, StartError> {
        let deadline = Instant::now() + CATCH_UP_TIMEOUT;
        let connected = timeout(FIRST_CONNECT, self.connection.connected());
        let _ = self.interrupt.run_until_cancelled(connected).await;
        let is_view = self.has_begun().map_err(|error| self.unreadable(error))?;
        let begun = if is_view {
            Begun { published: 0, newest: None }
        } else {
            // On the heap, since it is large.
            let joined = self.interrupt.run_until_cancelled(Box::pin(self.join()));
            let Some(joined) = joined.await else { return Ok(None) };
            joined?
        };
        self.compare_lifetimes()?;
        // On the heap, since it is large.
        let keys = self.interrupt.run_until_cancelled(Box::pin(self.keys()));
        let Some(keys) = keys.await else { return Ok(None) };
        let (sessions, shared_keys) = keys?;
        let Opened { parts, duty, proposer, clock } = self.open_log(begun, check).await?;
        let (sequencer, metrics) = (Arc::clone(&parts.sequencer), parts.metrics.clone());
        let (mut node, state) = assemble(&self.settings, parts, sessions, &self.watched).await?;
        let (members, made) = self.start_members(&mut node, &state, duty, proposer, shared_keys);
        if let Some(metrics) = metrics {
            // It is set once.
            let _ = metrics.members.set((members.standing(), made));
        }
        let telling = TellingTime { clock, presence: Arc::clone(&state.presence) };
        node.background.spawn("time", &Arc::new(telling), |telling| async move { telling.run().await });
        let caught_up = async {
            self.caught_up(sequencer).await;
            // Pages that come from another node would miss members otherwise.
            members.complete().await;
        };
        let is_shown = self.interrupt.run_until_cancelled(async {
            if is_view {
                let _ = timeout_at(deadline, caught_up).await;
            } else {
                caught_up.await;
            }
        });
        if is_shown.await.is_some() {
            show(state);
        }
        Ok(Some(node))
    }

    /// Returns the sessions of this node, and what keeps their keys as the nodes share them, unless the operator gave one.
    async fn keys(&self) -> Result<(Arc<Sessions>, Option<SharedSessionKeys>), KeyFileError> {
        if let Some(given) = &self.given {
            return Ok((Arc::clone(given), None));
        }
        let shared = SharedKeys::new(self.connection.clone(), &self.nats);
        let tell = |trouble: &Trouble| {
            let waits = format!("the session keys of all nodes are not known yet: {trouble}");
            self.status.set(Part::Stream, LogStatus::Trouble(waits));
        };
        let shared = SharedSessionKeys::open(shared, &self.settings.data_dir, tell).await?;
        Ok((shared.sessions(), Some(shared)))
    }

    /// Starts what a node does as one of several, beside the log. These tasks end with those of the background, which is
    /// before users are told to reconnect. Returns what tells the other nodes who is online here, and what becomes known of
    /// snapshots.
    fn start_members(
        &self,
        node: &mut Node,
        state: &AppState,
        duty: watch::Sender<bool>,
        proposer: RulesProposer,
        keys: Option<SharedSessionKeys>,
    ) -> (Arc<Ephemeral>, watch::Receiver<Made>) {
        let is_mine = duty.subscribe();
        let maker = Arc::new(SnapshotMaker::new(MakerParts {
            stream: self.stream.clone(),
            snapshots: self.snapshots.clone(),
            store: Arc::clone(&self.store),
            duty: is_mine.clone(),
            folder: self.settings.data_dir.clone(),
            interval: self.snapshot_interval,
        }));
        let keeper = Arc::new(PictureKeeper::new(KeeperParts {
            bucket: self.bucket.clone(),
            pictures: Arc::clone(state.engine.pictures()),
            store: Arc::clone(&self.store),
            stream: self.stream.clone(),
            duty: is_mine.clone(),
            status: self.readiness.clone(),
            interval: self.snapshot_interval,
        }));
        let ephemeral = Arc::new(Ephemeral::new(
            self.connection.clone(),
            &self.nats,
            EphemeralParts {
                me: self.me,
                versions: Versions { formats: (OLDEST_FORMAT, FORMAT), rules: self.rules },
                presence: Arc::clone(&state.presence),
                store: Arc::clone(&self.store),
                lobby: Arc::clone(&state.lobby),
                status: self.status.clone(),
                resigned: maker.resigned(),
                duty,
            },
        ));
        let tasks = &mut node.background;
        tasks.spawn("nodes", &ephemeral, |ephemeral| async move { ephemeral.run().await });
        tasks.spawn("snapshots", &maker, |maker| async move { maker.run().await });
        tasks.spawn("shared_pictures", &keeper, |keeper| async move { keeper.run().await });
        let admitting = Admitting {
            admission: state.admission.clone(),
            readiness: self.readiness.clone(),
            store: Arc::clone(&self.store),
        };
        tasks.spawn("admission", &Arc::new(admitting), |admitting| async move { admitting.run().await });
        let raising = RaisingRules {
            proposer,
            duty: is_mine,
            standing: ephemeral.standing(),
            store: Arc::clone(&self.store),
        };
        tasks.spawn("rules", &Arc::new(raising), |raising| async move { raising.run().await });
        if let Some(keys) = keys {
            tasks.spawn("session_keys", &Arc::new(keys), |keys| async move { keys.run().await });
        }
        let made = maker.made();
        if let Some(LogTasks { reading, reader, ephemeral: of_log, .. }) = &mut node.log_tasks {
            let standing = ephemeral.standing();
            reading.spawn("mending", reader, move |reader| {
                let standing = standing.clone();
                async move { reader.mend(standing).await }
            });
            *of_log = Some(Arc::clone(&ephemeral));
        }
        (ephemeral, made)
    }

    /// Waits until everything has been read, a message of this node included: it proves that the node can write, and brings
    /// the time of a log that has been silent.
    async fn caught_up(&self, sequencer: Arc<dyn Sequencer>) {
        let nothing = Proposal::Touch { users: Vec::new(), chats: Vec::new() };
        if let Ok(outcome) = sequencer.propose(nothing).await {
            // It is also told by the log if it halts.
            let _ = outcome.await;
        }
        drop(sequencer);
        self.readiness.clone().ready().await;
    }

    /// Returns whether the database has been a view of the log before, and not only been prepared for it.
    fn has_begun(&self) -> Result<bool, StoreError> {
        Ok(self.store.replica()?.is_some() && !self.store.producers()?.is_empty())
    }

    /// Returns the state of the log in the database. `None` if nothing is stored.
    fn stored(&self) -> Result<Option<LogState>, StoreError> {
        let log = self.store.read(Timestamp::default())?.log()?;
        Ok(log.filter(|log| log.seq > Seq::ZERO))
    }

    fn unreadable(&self, error: StoreError) -> StartError {
        StartError::unreadable(&self.settings, error)
    }

    /// Makes sure that the lifetimes that were set for this node are those of the log.
    fn compare_lifetimes(&self) -> Result<(), StartError> {
        let (told, holds) = (self.told, self.store.settings().lifetimes);
        for (setting, told, holds) in [
            ("chat-lifetime", told.chat, holds.chat),
            ("user-lifetime", told.user, holds.user),
            ("message-lifetime", told.message, holds.message),
        ] {
            if let Some(told) = told.filter(|told| *told != holds) {
                return Err(StartError::ToldOtherwise { setting, told, holds });
            }
        }
        Ok(())
    }

    /// Finds the log or founds it, and makes the database a view of it. Tries until that works, and tells what keeps it
    /// from it.
    async fn join(&self) -> Result<Begun, StartError> {
        let mut base = None;
        self.connection.settled().await;
        loop {
            match self.try_to_join(&mut base).await {
                Ok(begun) => {
                    self.status.set(Part::Stream, LogStatus::Well);
                    return Ok(begun);
                }
                Err(NotJoined::Failed(error)) => return Err(error),
                Err(NotJoined::Trouble(trouble)) => {
                    let Some(trouble) = self.connection.settle(trouble).await else { continue };
                    self.status.set(Part::Stream, LogStatus::Trouble(trouble.to_string()));
                }
            }
            tokio::select! {
                () = sleep(WAIT) => {}
                () = self.connection.changed() => {}
            }
        }
    }

    /// Finds the log or founds it. `base` is the place of the snapshot that was uploaded to found it with, if one was.
    async fn try_to_join(&self, base: &mut Option<u64>) -> Result<Begun, NotJoined> {
        let unreadable = |error| NotJoined::Failed(self.unreadable(error));
        let stored = self.stored().map_err(unreadable)?;
        if self.stream.look().await?.is_none_or(|state| state.is_unfounded()) {
            check_that_nobody_has_a_log(&self.stream, &self.nats).await?;
        }
        // A node with nothing does not even create the stream where another was lost.
        let unfounded = match stored {
            Some(log) => Some((log, self.stream.open().await?)).filter(|(_, state)| state.is_unfounded()),
            None => None,
        };
        let founder = match unfounded {
            Some((log, state)) => {
                let place = state.begins - 1;
                if *base != Some(place) {
                    self.upload_base(log, place).await?;
                    *base = Some(place);
                }
                let settings = self.store.settings();
                let (seq, at) = (log.seq, log.at);
                self.founder(log.epoch, Founding { settings, seq, at, base: *base, clock_offset: 0 })
            }
            // What is stored belongs to a log that was founded, or there is nothing.
            None => {
                let settings = self.log_settings();
                let (seq, at) = (Seq::ZERO, Timestamp::default());
                let epoch = random::epoch().map_err(|error| unreadable(error.into()))?;
                self.founder(epoch, Founding { settings, seq, at, base: None, clock_offset: 0 })
            }
        };
        let joined = try_join(&self.stream, &self.snapshots, &founder).await?;
        let is_of_this_log = self.store.epoch() == joined.epoch;
        match (self.store.replica().map_err(unreadable)?, stored) {
            (Some(_), _) if is_of_this_log => {}
            // It was prepared, and has nothing that could be lost.
            (_, None) => self.begin(&joined).await?,
            _ => return Err(NotJoined::Failed(StartError::OtherLog(self.settings.data_dir.clone()))),
        }
        // The first message of this node may have founded the log, even if the answer was lost.
        Ok(Begun { published: 1, newest: Some(joined.stream.last) })
    }

    /// Returns the settings of a log that this node founds.
    fn log_settings(&self) -> LogSettings {
        LogSettings { lifetimes: self.settings.lifetimes, rules: self.rules.1 }
    }

    /// Returns how this node founds a log if there is none.
    fn founder(&self, epoch: Epoch, founding: Founding) -> Founder {
        let uptime_millis = u64::try_from((self.uptime)().as_millis()).unwrap_or(u64::MAX);
        Founder { me: self.me, uptime_millis, epoch, founding }
    }

    /// Makes a database that is not empty the beginning of a log: a snapshot of it is what the other nodes begin with.
    async fn upload_base(&self, log: LogState, place: u64) -> Result<(), NotJoined> {
        let failed = |error| NotJoined::Failed(self.unreadable(error));
        // Its pictures before: then nobody reads of one that cannot be had.
        self.put_pictures().await?;
        let settings = self.log_settings();
        let file = self.settings.data_dir.join(format!("{FILE}{place}"));
        let (store, path, into) = (Arc::clone(&self.store), self.path.clone(), file.clone());
        let written = spawn_blocking(move || {
            let state = ReplicaState::beginning(place, settings, LogClock::new(log.at, 0));
            store.begin_replica(Some(&path), log, &state)?;
            let view = store.read(Timestamp::default())?;
            view.export(File::create(&into)?).map_err(ExportError::into_store_error)
        });
        written.await.map_err(|error| failed(io::Error::other(error).into()))?.map_err(failed)?;
        let about = About {
            format: export::FORMAT,
            epoch: log.epoch,
            place,
            seq: log.seq,
            rules: self.store.settings().rules.0,
            at: log.at,
            follows: None,
        };
        let uploaded = self.snapshots.upload(&file, about).await;
        // It is removed by the reader if that fails.
        let _ = fs::remove_file(&file);
        uploaded.map(drop).map_err(|error| NotJoined::Trouble(of_transfer(place, error)))
    }

    /// Puts the pictures of a database where all nodes get them. The files of a node are not open yet.
    async fn put_pictures(&self) -> Result<(), NotJoined> {
        let path = self.settings.data_dir.join(PICTURES);
        if !path.exists() {
            return Ok(());
        }
        let open = || Pictures::open_to_read(Arc::new(Folder::open(&path)?));
        let opened = open().map_err(|error| StartError::DataDir { path: path.clone(), error });
        let pictures = Arc::new(opened.map_err(NotJoined::Failed)?);
        Ok(put_all(&self.bucket, &pictures, &self.store).await?)
    }

    /// Makes an empty database a view of the log: of its newest snapshot, or of how it was founded.
    async fn begin(&self, joined: &Joined) -> Result<(), NotJoined> {
        let failed = |error| NotJoined::Failed(self.unreadable(error));
        let loaded =
            self.snapshots.load_newest(joined.epoch, self.rules, &self.store, &self.settings.data_dir).await;
        match loaded {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(LoadError::Trouble(trouble)) => return Err(trouble.into()),
            Err(LoadError::Unusable { place, reason }) => {
                self.snapshots.ask().await;
                return Err(Trouble::Snapshot { place, reason }.into());
            }
            Err(LoadError::Store(error)) => return Err(failed(error)),
        }
        let Some(founding) = joined.founding.filter(|founding| founding.base.is_none()) else {
            self.snapshots.ask().await;
            let (stream, first) = (self.stream.name().to_owned(), joined.stream.first);
            return Err(Trouble::Hole { stream, first, reached: 0 }.into());
        };
        let log = LogState { epoch: joined.epoch, seq: founding.seq, at: founding.at };
        let clock = LogClock::new(founding.at, founding.clock_offset);
        let state = ReplicaState::beginning(joined.stream.begins - 1, founding.settings, clock);
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        let begun = spawn_blocking(move || store.begin_replica(Some(&path), log, &state)).await;
        let begun = begun.map_err(|error| StoreError::from(io::Error::other(error))).flatten();
        begun.map_err(failed)
    }

    /// Opens the log where the database ends.
    async fn open_log(&self, begun: Begun, check: Check) -> Result<Opened, StartError> {
        let unreadable = |error| self.unreadable(error);
        let state = self.store.replica().map_err(unreadable)?;
        let state = state.ok_or(StoreError::NotAReplica).map_err(unreadable)?;
        let clock =
            Arc::new(ReplicaClock::new(state.clock.last(), Arc::clone(&self.uptime), clock::system()));
        let applied = self.store.producers().map_err(unreadable)?;
        // Where it is not known, this node puts a message into the stream that it has then to read.
        let end = StreamEnd::at(begun.newest.unwrap_or_else(|| state.place.saturating_add(1)));
        let (reader, deliveries) = Reader::new(Start {
            stream: self.stream.clone(),
            snapshots: self.snapshots.clone(),
            folder: self.settings.data_dir.clone(),
            epoch: self.store.epoch(),
            reached: state.place,
            rules: self.rules,
            applied: applied.into_iter().map(|(sender, newest)| (sender, newest.number)).collect(),
            end: end.clone(),
            status: self.status.clone(),
        })
        .await;
        let replication = ReplicationMetrics::default();
        let opening = Opening {
            me: self.me,
            published: begun.published,
            transport: reader.transport(),
            deliveries,
            end,
            rules: self.rules,
            clock: Arc::clone(&clock),
            checkpoint_after: CHECKPOINT_AFTER,
            status: self.status.clone(),
            metrics: replication.clone(),
        };
        let (sequencer, log, batcher) = replicated::open(&self.store, opening).map_err(unreadable)?;
        let (duty, is_mine) = watch::channel(false);
        let metrics = Arc::new(ClusterMetrics {
            replication,
            connection: self.connection.clone(),
            clock: Arc::clone(&clock),
            status: self.readiness.clone(),
            seen: reader.seen(),
            duty: is_mine.clone(),
            members: OnceLock::new(),
        });
        let proposer = sequencer.rules();
        let bucket: Arc<dyn Bucket> = Arc::new(self.bucket.clone());
        let parts = LogParts {
            store: Arc::clone(&self.store),
            sequencer: Arc::new(sequencer),
            log,
            clock: clock.clock(),
            steady: None,
            duty: Duty::Shared(is_mine),
            first: None,
            check: Some(check),
            bucket: Some(bucket),
            metrics: Some(metrics),
            tasks: Some(LogTasks::start(&self.watched.panics, batcher, reader)),
        };
        Ok(Opened { parts, duty, proposer, clock })
    }
}

/// Recovers the log of a cluster from what a node has that does not run. Returns a line about it.
///
/// # Errors
/// [`StartError`] if it was not recovered. It can be tried again.
pub async fn recover_log(settings: &Settings) -> Result<String, StartError> {
    let Some(ClusterSettings { nats, rules, .. }) = &settings.cluster else {
        return Err(NotRecovered::NoLog.into());
    };
    let path = settings.data_dir.join(DATABASE);
    if !path.exists() {
        return Err(NotRecovered::NoLog.into());
    }
    let store = Arc::new(open_store(settings)?);
    let folder = &settings.data_dir;
    let recovered = Recovery { settings: nats, store: &store, folder, rules: *rules }.run().await;
    if let Some(store) = Arc::into_inner(store) {
        let closed = spawn_blocking(move || store.close(&path)).await;
        if let Ok(Err(error)) = closed {
            tracing::warn!(%error, "could not seal the database: the next start may have to check all pages");
        }
    }
    let (place, stream) = (recovered?, nats.name.stream());
    Ok(format!(
        "The log in the stream {stream} goes on from place {place}. Start this node; the others go on by themselves."
    ))
}

/// Opens the database of a node, whether it has been one before or not.
fn open_store(settings: &Settings) -> Result<Store, StartError> {
    let path = settings.data_dir.join(DATABASE);
    Store::open_replica(&path).map_err(|error| match error {
        StoreError::Io(error) | StoreError::Wal(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            StartError::DataDir { path: settings.data_dir.clone(), error }
        }
        error => StartError::Database { path, error },
    })
}

/// Returns the name of this machine.
fn machine() -> String {
    let name = fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let name: String = name.trim().chars().filter(|char| !char.is_control()).collect();
    if name.is_empty() { UNKNOWN.to_owned() } else { name }
}

/// Returns what it means that a snapshot could not be transferred.
fn of_transfer(place: u64, error: TransferError) -> Trouble {
    match error {
        TransferError::Trouble(trouble) => trouble,
        error => Trouble::Snapshot { place, reason: error.to_string() },
    }
}
