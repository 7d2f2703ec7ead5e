//! Startup and shutdown: assembles a server from its settings, and stops it in order. Where its log is decides how it
//! begins ([`local`]), and nothing after that.

pub mod local;
pub mod session_keys;

use std::{
    fs, io,
    net::SocketAddr,
    num::NonZero,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use domain::{Proposal, Seq};
use engine::{
    Engine, EngineParts,
    change_dispatcher::ChangeDispatcher,
    clock::{self, Clock, SteadyClock},
    command_log::{Log, Sequencer},
    expiry::{Duty, Sweeper},
    fanout::Fanout,
    limits::Limits,
    lobby::Lobby,
    presence::{self, Presence},
    progress::Progress,
    storage::{Store, StoreError},
    supervisor::{Panics, Supervisor},
    writer::{Writer, WriterHealth},
};
use leptos::config::LeptosOptions;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Settings, control_socket,
    http::{
        self, assets, listener,
        origin::Refusals,
        render::PageRenderer,
        session::{KeyError, Sessions},
        state::{AppState, Check},
    },
};

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
}

/// A running server.
pub struct Running {
    /// The address it listens on.
    pub address: SocketAddr,
    stop: CancellationToken,
    connections: TaskTracker,
    serving: JoinHandle<()>,
    background: Supervisor,
    /// The task that serves the control socket. `None` if there is none.
    control_socket: Option<JoinHandle<()>>,
    health: Arc<WriterHealth>,
    writer: thread::JoinHandle<()>,
    store: Arc<Store>,
    database: PathBuf,
}

/// Starts a server. It is listening when this returns.
///
/// # Errors
/// [`StartError`] if it cannot be started; everything opened by then is closed.
pub async fn start(settings: &Settings) -> Result<Running, StartError> {
    start_by(settings, SteadyClock::new(clock::system(), clock::uptime())).await
}

/// Starts a server with another clock, as [`start`] does.
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
    // Leptos renders on this runtime. This fails if a server in the same process has set it already.
    let _ = any_spawner::Executor::init_tokio();
    let LogParts { store, sequencer, log, clock, steady, duty, first, check } = parts;
    let data_dir = &settings.data_dir;
    let sessions = Arc::new(sessions(settings)?);
    let address = settings.address;
    let listener = listen(address).map_err(|error| StartError::Listen { address, error })?;
    let address = listener.local_addr().map_err(|error| StartError::Listen { address, error })?;

    let view = store.read(clock()).map_err(|error| StartError::unreadable(settings, error))?;
    let chats = view.chats().map_err(|error| StartError::unreadable(settings, error))?;
    let ends = view.log().map_err(|error| StartError::unreadable(settings, error))?;
    drop(view);
    let lifetimes = store.settings().lifetimes;
    // one for each thread that can run in parallel
    let shards = thread::available_parallelism().map_or(1, NonZero::get);
    let fanout = Arc::new(Fanout::new(shards));
    let presence = Arc::new(Presence::new(presence::NodeId::ALONE, presence::GRACE, Arc::clone(&clock)));
    let lobby = Arc::new(Lobby::new(
        chats,
        Arc::clone(&presence),
        lifetimes,
        Arc::clone(&clock),
        settings.caps.listed,
    ));
    let progress = Arc::new(Progress::new(ends.map_or(Seq::ZERO, |log| log.seq)));
    let (health, panics) = (Arc::new(WriterHealth::default()), Arc::new(Panics::default()));
    let dispatcher = ChangeDispatcher {
        store: Arc::clone(&store),
        fanout: Arc::clone(&fanout),
        presence: Arc::clone(&presence),
        lobby: Arc::clone(&lobby),
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
    let kept_for = Duration::from_millis(lifetimes.message.millis());
    let limits = Arc::new(Limits::new(settings.rates, settings.caps, kept_for));
    let renderer = Arc::new(PageRenderer::new(
        assets::assets(),
        LeptosOptions::builder().output_name("qchat").reload_port(settings.reload_port).build(),
    ));
    let mut background = Supervisor::new(Arc::clone(&panics));
    background.spawn("presence", &presence, |presence| async move { presence.run().await });
    background.spawn("lobby", &lobby, |lobby| async move { lobby.run().await });
    background.spawn("sweep", &sweep, |sweep| async move { sweep.run().await });
    background.spawn("limits", &limits, |limits| async move { limits.run().await });
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
        limits,
        progress,
        is_shared,
        clock,
        origin_key: sessions.origin_key(),
    }));
    let control_socket = control_socket::listen(data_dir)
        .map(|listener| tokio::spawn(control_socket::serve(listener, Arc::clone(&engine))));

    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    let state = Arc::new(AppState {
        engine,
        lobby,
        presence,
        panics,
        sessions,
        refusals: Refusals::default(),
        writer: Arc::clone(&health),
        log_check: check,
        stop: stop.clone(),
        connections: connections.clone(),
        renderer,
    });
    let serving = tokio::spawn(listener::serve(
        listener,
        http::router(state, settings.trusted_proxies.clone()),
        settings.trusted_proxies.clone(),
        stop.clone(),
    ));
    let database = data_dir.join(DATABASE);
    Ok(Running {
        address,
        stop,
        connections,
        serving,
        background,
        control_socket,
        health,
        writer,
        store,
        database,
    })
}

impl Running {
    /// Waits until nothing can be stored any more. From then on every command is refused, and the server should be stopped.
    pub async fn cannot_go_on(&self) {
        self.health.cannot_go_on().await;
    }

    /// Stops in order: accepts no requests, tells connections to reconnect, decides and stores all proposals, and
    /// closes the database.
    pub async fn stop(self) {
        // the users of connections that close from here on are back in a moment, and must not be recorded as gone
        self.background.stop().await;
        // aborted, since it holds a sender of the log
        if let Some(task) = self.control_socket {
            task.abort();
            let _ = task.await;
            self.database.parent().into_iter().for_each(control_socket::close);
        }
        self.stop.cancel();
        self.connections.close();
        if timeout(STOP_TIMEOUT, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.connections.len(), "some connections did not close in time");
        }
        // The state of the router holds the last senders of the log; without them the writer ends.
        let mut serving = self.serving;
        if timeout(STOP_TIMEOUT, &mut serving).await.is_err() {
            tracing::warn!("some requests did not finish in time");
            serving.abort();
            let _ = serving.await;
        }
        let writer = self.writer;
        let joined = tokio::task::spawn_blocking(move || writer.join());
        match timeout(STOP_TIMEOUT, joined).await {
            Ok(Ok(Ok(()))) => {}
            _ => return tracing::error!("the writer did not stop cleanly"),
        }
        if !self.health.can_store() {
            return;
        }
        let Some(store) = Arc::into_inner(self.store) else {
            return tracing::warn!(
                "the database is still being read: the next start may have to check all pages"
            );
        };
        let closed = tokio::task::spawn_blocking(move || store.close(&self.database)).await;
        if let Ok(Err(error)) = closed {
            tracing::warn!(%error, "could not seal the database: the next start may have to check all pages");
        }
    }
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

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
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
