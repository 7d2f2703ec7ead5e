//! Startup and shutdown: assembles a server from its settings, and stops it in order. Where its log is decides how it
//! begins ([`local`] or [`cluster`]), and in which order it stops.

pub mod cluster;
pub mod local;
mod node_tasks;
pub mod session_keys;

use std::{
    fs, io,
    net::SocketAddr,
    num::NonZero,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use ::cluster::{connection::CannotConnect, recovery::NotRecovered};
use axum::Router;
use domain::{Proposal, Seq, Span};
use engine::{
    Engine, EngineParts,
    change_dispatcher::ChangeDispatcher,
    clock::{self, Clock, SteadyClock},
    command_log::{Log, Sequencer},
    expiry::{Duty, Sweeper},
    fanout::Fanout,
    limits::Limits,
    lobby::Lobby,
    pictures::{Bucket, Collector, Folder, PictureSettings, Pictures},
    presence::{self, Presence},
    progress::Progress,
    storage::{Store, StoreError},
    supervisor::{Panics, Supervisor},
    writer::{Writer, WriterHealth},
};
use leptos::config::LeptosOptions;
use prometheus_client::registry::Registry;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{cluster::LogTasks, session_keys::KeyFileError};
use crate::{
    Settings, control_socket,
    http::{
        self,
        admission::Admission,
        assets,
        listener::{self, ListenerMetrics},
        metrics::{Metrics, Observed, cluster::ClusterMetrics},
        origin::Refusals,
        readiness::{Check, Readiness},
        render::PageRenderer,
        session::{KeyError, Sessions},
        state::AppState,
    },
    pictures::{IntakeFolder, Workshop, ticket::SessionTickets},
};

/// The folder with the files of pictures, in the data folder.
pub const PICTURES: &str = "pictures";
/// The database file in the data folder.
pub const DATABASE: &str = "qchat.redb";
/// The key that signs sessions, in the data folder.
pub const SESSION_KEY: &str = "session.key";
/// The previous session key, in the data folder. If it exists, sessions signed with it stay valid.
pub const OLD_SESSION_KEY: &str = "session.key.old";

/// The queue of connections not yet accepted. tokio asks for 1,024, which a storm of reconnects overflows: the rest
/// then waits for TCP to retry, seconds later.
const BACKLOG: i32 = 4_096;
/// A client that acknowledges nothing of what was sent for this long is disconnected by the system (RFC 5482, and
/// `TCP_USER_TIMEOUT` in tcp(7), which counts a zero window as well), so that unread responses do not keep a slot.
const READING_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stopping server waits for its connections, then for its requests, then for its writer.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The error of a failed start, in one line that names the cause.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be created or written.
    #[error("the data folder {} cannot be used: {error}", path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// The database cannot be opened.
    #[error("the database {} cannot be opened: {error}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: StoreError,
    },
    /// The session key cannot be used.
    #[error("the session key {} cannot be used: {error}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: KeyError,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address that was to be listened on.
        address: SocketAddr,
        /// The cause.
        error: io::Error,
    },
    /// The writer's thread cannot be started.
    #[error("the writer cannot be started: {0}")]
    Writer(io::Error),
    /// A file with a session key of a node of a cluster cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A file for the connection to NATS cannot be used.
    #[error(transparent)]
    Nats(#[from] CannotConnect),
    /// The log of a cluster was not recovered.
    #[error(transparent)]
    NotRecovered(#[from] NotRecovered),
    /// The database belongs to another log than the stream.
    #[error(
        "the data folder {} has another chat than the cluster: use an empty folder to join it, or another --nats-name to found one with this folder",
        .0.display()
    )]
    OtherLog(PathBuf),
    /// A lifetime was set that differs from the one in the log.
    #[error(
        "--{setting} is {told}, but the log of this cluster has {holds}, set by its first node: leave it out, or use another --nats-name"
    )]
    ToldOtherwise {
        /// The setting.
        setting: &'static str,
        /// The lifetime that was set for this node.
        told: Span,
        /// The lifetime that holds.
        holds: Span,
    },
}

impl StartError {
    /// Returns the error for a database that cannot be read.
    fn unreadable(settings: &Settings, error: StoreError) -> Self {
        Self::Database { path: settings.data_dir.join(DATABASE), error }
    }
}

/// The log of a server and its database, and what differs with the kind of log.
pub struct LogParts<L> {
    /// The database, as far as the log was applied.
    pub store: Arc<Store>,
    /// The end of the log that takes proposals.
    pub sequencer: Arc<dyn Sequencer>,
    /// The end of the log that the writer reads.
    pub log: L,
    /// The time.
    pub clock: Clock,
    /// The clock of this machine, if the log takes its times from it.
    pub steady: Option<Arc<SteadyClock>>,
    /// Whether this node does what one of a cluster does for all.
    pub duty: Duty,
    /// What has to be proposed before anything else.
    pub first: Option<Proposal>,
    /// Why the log is not ready. `None` in a single process, whose log is ready whenever its writer is well.
    pub check: Option<Check>,
    /// Where all nodes get pictures. `None` in a single process.
    pub bucket: Option<Arc<dyn Bucket>>,
    /// What is measured of a node of a cluster. `None` in a single process.
    pub metrics: Option<Arc<ClusterMetrics>>,
    /// The tasks between the two ends of the log. `None` in a single process, where nothing is between them.
    pub tasks: Option<LogTasks>,
}

/// A running server.
pub struct Running {
    /// The address it listens on.
    pub address: SocketAddr,
    /// Cancelled when it stops.
    stop: CancellationToken,
    serving: JoinHandle<()>,
    health: Arc<WriterHealth>,
    stage: Stage,
}

/// How far a running server has come.
enum Stage {
    /// All of it is there.
    Started(Box<Node>),
    /// It waits for its cluster, in a task.
    Starting(Starting),
}

/// A server whose engine starts in a task.
struct Starting {
    /// Cancelled if the task is not to go on.
    interrupt: CancellationToken,
    /// The task, which returns `None` if it has failed or was interrupted.
    task: JoinHandle<Option<Box<Node>>>,
    /// Why it has failed.
    failure: watch::Receiver<Option<String>>,
}

/// Why a server has to be stopped.
#[derive(Debug, thiserror::Error)]
pub enum CannotGoOn {
    /// Nothing can be stored any more. From now on every command is refused.
    #[error("nothing can be stored any more (the log above says why): see to the disk and start again")]
    NotStored,
    /// It could not join its cluster.
    #[error("{0}")]
    NotStarted(String),
}

/// What is behind the listener of a server.
struct Node {
    connections: TaskTracker,
    background: Supervisor,
    /// The task that serves the control socket. `None` if there is none.
    control_socket: Option<JoinHandle<()>>,
    log_tasks: Option<LogTasks>,
    health: Arc<WriterHealth>,
    writer: thread::JoinHandle<()>,
    store: Arc<Store>,
    database: PathBuf,
}

/// What is known of the work of a server from its start.
#[derive(Default, Clone)]
struct Watched {
    health: Arc<WriterHealth>,
    panics: Arc<Panics>,
    stop: CancellationToken,
    listener_metrics: ListenerMetrics,
}

/// Starts a server. It is listening when this returns. In a cluster its engine may start later, and until then it answers
/// requests with 503.
///
/// # Errors
/// [`StartError`] if it cannot be started; everything opened by then is closed.
pub async fn start(settings: &Settings) -> Result<Running, StartError> {
    match &settings.cluster {
        Some(cluster) => cluster::start(settings, cluster).await,
        None => start_by(settings, SteadyClock::new(clock::system(), clock::uptime())).await,
    }
}

/// Starts a server that is alone with another clock, as [`start`] does.
///
/// # Errors
/// [`StartError`] if it cannot be started.
pub async fn start_by(settings: &Settings, clock: SteadyClock) -> Result<Running, StartError> {
    make_folder(&settings.data_dir)?;
    start_on(settings, local::open(settings, clock)?).await
}

/// Starts a server on a log whose database is in the data folder.
///
/// # Errors
/// [`StartError`] if it cannot be started.
pub async fn start_on<L: Log + 'static>(
    settings: &Settings,
    parts: LogParts<L>,
) -> Result<Running, StartError> {
    let sessions = Arc::new(sessions(settings)?);
    let (listener, address) = listen(settings.address)?;
    let watched = Watched::default();
    let (node, state) = assemble(settings, parts, sessions, &watched).await?;
    let router = http::router(state, settings.trusted_proxies.clone());
    let serving = serve(settings, listener, watch::channel(router).1, &watched);
    let Watched { health, stop, .. } = watched;
    Ok(Running { address, stop, serving, health, stage: Stage::Started(node) })
}

/// Starts everything that is behind the listener.
async fn assemble<L: Log + 'static>(
    settings: &Settings,
    parts: LogParts<L>,
    sessions: Arc<Sessions>,
    watched: &Watched,
) -> Result<(Box<Node>, Arc<AppState>), StartError> {
    // Leptos renders on this runtime. This fails if a server in the same process has set it already.
    let _ = any_spawner::Executor::init_tokio();
    let LogParts { store, sequencer, log, clock, steady, duty, first, check, .. } = parts;
    let LogParts { bucket, metrics: cluster_metrics, tasks: log_tasks, .. } = parts;
    let Watched { health, panics, stop, listener_metrics } = watched.clone();
    let data_dir = &settings.data_dir;
    let view = store.read(clock()).map_err(|error| StartError::unreadable(settings, error))?;
    let chats = view.chats().map_err(|error| StartError::unreadable(settings, error))?;
    let ends = view.log().map_err(|error| StartError::unreadable(settings, error))?;
    drop(view);
    let lifetimes = store.settings().lifetimes;
    // one for each thread that can run in parallel
    let shards = thread::available_parallelism().map_or(1, NonZero::get);
    let fanout = Arc::new(Fanout::new(shards));
    let presence = Arc::new(Presence::new(presence::NodeId::ALONE, presence::GRACE, Arc::clone(&clock)));
    let lobby_clock: Clock = {
        let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
        // As of when chats are read.
        Arc::new(move || store.noted_at(clock()))
    };
    let lobby =
        Arc::new(Lobby::new(chats, Arc::clone(&presence), lifetimes, lobby_clock, settings.quotas.listed));
    let progress = Arc::new(Progress::new(ends.map_or(Seq::ZERO, |log| log.seq)));
    let (pictures, workshop) = pictures(settings, &sessions, bucket)?;
    let dispatcher = ChangeDispatcher {
        store: Arc::clone(&store),
        fanout: Arc::clone(&fanout),
        presence: Arc::clone(&presence),
        lobby: Arc::clone(&lobby),
        pictures: Arc::clone(&pictures),
        progress: Arc::clone(&progress),
        steady: steady.clone(),
    };
    let writer = Writer::new(log, Arc::clone(&store), dispatcher, Arc::clone(&health), Arc::clone(&panics));
    let writer =
        thread::Builder::new().name("writer".into()).spawn(|| writer.run()).map_err(StartError::Writer)?;
    if let Some(first) = first
        && let Ok(outcome) = sequencer.propose(first).await
    {
        let _ = outcome.await;
    }
    let is_shared = duty.is_shared();
    let sweep = Arc::new(Sweeper::new(
        Arc::clone(&store),
        Arc::clone(&sequencer),
        Arc::clone(&presence),
        Arc::clone(&clock),
        steady,
        duty,
        settings.sweep_interval,
    ));
    let collector = Arc::new(Collector::new(
        Arc::clone(&store),
        Arc::clone(&pictures),
        Arc::clone(&clock),
        is_shared,
        Duration::from_millis(settings.sweep_interval.millis()),
    ));
    let kept_for = Duration::from_millis(lifetimes.message.millis());
    let limits = Arc::new(Limits::new(settings.rates, settings.quotas, kept_for));
    let renderer = Arc::new(PageRenderer::new(
        assets::assets(),
        LeptosOptions::builder().output_name("qchat").reload_port(settings.reload_port).build(),
    ));
    let mut background = Supervisor::new(Arc::clone(&panics));
    background.spawn("presence", &presence, |presence| async move { presence.run().await });
    background.spawn("lobby", &lobby, |lobby| async move { lobby.run().await });
    background.spawn("sweep", &sweep, |sweep| async move { sweep.run().await });
    background.spawn("limits", &limits, |limits| async move { limits.run().await });
    background.spawn("pictures", &collector, |collector| async move { collector.run().await });
    background.spawn("renderer", &renderer, |renderer| async move { renderer.run().await });
    for shard in 0..fanout.shards() {
        background.spawn("fanout", &fanout, move |fanout| async move { fanout.run(shard).await });
    }
    let engine = Arc::new(Engine::new(EngineParts {
        store: Arc::clone(&store),
        sequencer,
        fanout,
        presence: Arc::clone(&presence),
        lobby: Arc::clone(&lobby),
        pictures,
        limits,
        progress,
        is_shared,
        clock,
        origin_key: sessions.origin_key(),
    }));
    let control_socket = control_socket::listen(data_dir)
        .map(|listener| tokio::spawn(control_socket::serve(listener, Arc::clone(&engine))));

    let connections = TaskTracker::new();
    let database = data_dir.join(DATABASE);
    let mut registry = Registry::default();
    engine.register_metrics(&mut registry);
    renderer.register_metrics(&mut registry);
    workshop.register_metrics(&mut registry);
    listener_metrics.register(&mut registry);
    if let Some(metrics) = cluster_metrics {
        metrics.register(&mut registry);
    }
    let readiness = Arc::new(Readiness {
        engine: Arc::clone(&engine),
        writer: Arc::clone(&health),
        log_check: check,
        stop: stop.clone(),
    });
    let metrics = Metrics::new(
        registry,
        Observed {
            engine: Arc::clone(&engine),
            presence: Arc::clone(&presence),
            lobby: Arc::clone(&lobby),
            panics: Arc::clone(&panics),
            collector,
            readiness: Arc::clone(&readiness),
            connections: connections.clone(),
            database: database.clone(),
            quotas: settings.quotas,
            started_at: SystemTime::now(),
        },
    );
    let state = Arc::new(AppState {
        engine,
        lobby,
        presence,
        workshop,
        panics,
        sessions,
        refusals: Refusals::default(),
        admission: Admission::new(stop.clone()),
        readiness,
        stop,
        connections: connections.clone(),
        renderer,
        metrics,
    });
    let node = Node { connections, background, control_socket, log_tasks, health, writer, store, database };
    Ok((Box::new(node), state))
}

/// Serves requests by the newest router, until the server stops.
fn serve(
    settings: &Settings,
    listener: TcpListener,
    router: watch::Receiver<Router>,
    Watched { stop, listener_metrics, .. }: &Watched,
) -> JoinHandle<()> {
    let proxies = settings.trusted_proxies.clone();
    tokio::spawn(listener::serve(listener, router, proxies, stop.clone(), listener_metrics.clone()))
}

impl Running {
    /// Waits until the server has to be stopped, and returns why.
    pub async fn cannot_go_on(&self) -> CannotGoOn {
        tokio::select! {
            () = self.health.cannot_go_on() => CannotGoOn::NotStored,
            why = self.not_started() => CannotGoOn::NotStarted(why),
        }
    }

    /// Waits until the server fails to start, and returns why. Never returns if it does not fail.
    async fn not_started(&self) -> String {
        if let Stage::Starting(Starting { failure, .. }) = &self.stage {
            let mut failure = failure.clone();
            // An error means that it has started.
            if let Ok(failed) = failure.wait_for(Option::is_some).await
                && let Some(why) = &*failed
            {
                return why.clone();
            }
        }
        std::future::pending().await
    }

    /// Stops in order: accepts no requests, tells connections to reconnect, decides and stores all proposals, and
    /// closes the database.
    pub async fn stop(self) {
        let node = match self.stage {
            Stage::Started(node) => Some(node),
            Stage::Starting(Starting { interrupt, task, .. }) => {
                interrupt.cancel();
                task.await.ok().flatten()
            }
        };
        match node {
            Some(node) => node.stop(&self.stop, self.serving).await,
            None => {
                self.stop.cancel();
                end_serving(self.serving).await;
            }
        }
    }
}

/// Waits until all requests were answered, for a while.
async fn end_serving(mut serving: JoinHandle<()>) {
    if timeout(STOP_TIMEOUT, &mut serving).await.is_err() {
        tracing::warn!("some requests did not finish in time");
        serving.abort();
        let _ = serving.await;
    }
}

impl Node {
    async fn stop(self: Box<Self>, stop: &CancellationToken, serving: JoinHandle<()>) {
        let node = *self;
        // the users of connections that close from here on are back in a moment, and must not be recorded as gone
        node.background.stop().await;
        // aborted, since it holds a sender of the log
        if let Some(task) = node.control_socket {
            task.abort();
            let _ = task.await;
            node.database.parent().into_iter().for_each(control_socket::close);
        }
        stop.cancel();
        node.connections.close();
        if timeout(STOP_TIMEOUT, node.connections.wait()).await.is_err() {
            tracing::warn!(left = node.connections.len(), "some connections did not close in time");
        }
        if let Some(tasks) = &node.log_tasks {
            tasks.leave().await;
        }
        // The state of the router holds the last senders of the log; without them the writer ends.
        end_serving(serving).await;
        if let Some(tasks) = node.log_tasks {
            tasks.end().await;
        }
        let writer = node.writer;
        let joined = tokio::task::spawn_blocking(move || writer.join());
        match timeout(STOP_TIMEOUT, joined).await {
            Ok(Ok(Ok(()))) => {}
            _ => return tracing::error!("the writer did not stop cleanly"),
        }
        if !node.health.can_store() {
            return;
        }
        let Some(store) = Arc::into_inner(node.store) else {
            return tracing::warn!(
                "the database is still being read: the next start may have to check all pages"
            );
        };
        let closed = tokio::task::spawn_blocking(move || store.close(&node.database)).await;
        if let Ok(Err(error)) = closed {
            tracing::warn!(%error, "could not seal the database: the next start may have to check all pages");
        }
    }
}

/// Opens the files of pictures in the data folder, and what uploads are made into pictures with. `bucket` is where all nodes
/// get pictures, if there are several.
fn pictures(
    settings: &Settings,
    sessions: &Arc<Sessions>,
    bucket: Option<Arc<dyn Bucket>>,
) -> Result<(Arc<Pictures>, Workshop), StartError> {
    let path = settings.data_dir.join(PICTURES);
    let open = || {
        let files = Arc::new(Folder::open(&path)?);
        let set = PictureSettings {
            are_on: settings.pictures.are_on,
            max_storage: settings.pictures.max_storage,
            max_in_message: settings.pictures.max_in_message,
        };
        Pictures::open(files, Arc::new(SessionTickets::new(Arc::clone(sessions))), set)
    };
    let pictures = open().map_err(|error| StartError::DataDir { path: path.clone(), error })?;
    let pictures = match bucket {
        Some(bucket) => pictures.shared_by(bucket),
        None => pictures,
    };
    let workshop =
        Workshop::new(settings.pictures.uploads, IntakeFolder::new(&path), settings.program.clone());
    Ok((Arc::new(pictures), workshop))
}

/// Creates a data folder, which only Qchat itself may read, since it has what users write.
pub(crate) fn make_folder(data_dir: &Path) -> Result<(), StartError> {
    let mut folder = fs::DirBuilder::new();
    folder.recursive(true).mode(0o700);
    folder.create(data_dir).map_err(|error| StartError::DataDir { path: data_dir.to_owned(), error })
}

/// Opens the keys of sessions in the data folder.
fn sessions(settings: &Settings) -> Result<Sessions, StartError> {
    let [key, old] = [SESSION_KEY, OLD_SESSION_KEY].map(|name| settings.data_dir.join(name));
    let sessions = Sessions::open(&key).map_err(|error| StartError::Key { path: key, error })?;
    sessions.holding(&old).map_err(|error| StartError::Key { path: old, error })
}

/// Listens on an address. Returns also the address itself, which has the port that was free.
fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listening =
        open_listener(address).and_then(|listener| listener.local_addr().map(|local| (listener, local)));
    listening.map_err(|error| StartError::Listen { address, error })
}

fn open_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // allows a restart while connections of the previous process are in TIME_WAIT
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // accepted sockets inherit this
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(READING_TIMEOUT))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
