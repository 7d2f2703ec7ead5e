//! Startup and shutdown: assembles a server from its settings, and stops it in order.

use std::{
    fs, io,
    net::SocketAddr,
    num::NonZero,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use domain::{Proposal, Seq};
use engine::{
    Engine,
    change_dispatcher::ChangeDispatcher,
    clock::{self, SteadyClock},
    command_log::{Sequencer, local},
    expiry::Sweeper,
    fanout::Fanout,
    limits::Limits,
    lobby::Lobby,
    presence::{self, Presence},
    storage::{Store, StoreError},
    supervisor::{Panics, Supervisor},
    writer::{Writer, WriterHealth},
};
use leptos::config::LeptosOptions;
use prometheus_client::registry::Registry;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Settings, control_socket,
    http::{
        self, assets, listener,
        metrics::{Metrics, Observed},
        origin::Refusals,
        render::PageRenderer,
        session::{KeyError, Sessions},
        state::AppState,
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
        /// The address.
        address: SocketAddr,
        /// The cause.
        error: io::Error,
    },
    /// The writer's thread cannot be started.
    #[error("the writer cannot be started: {0}")]
    Writer(io::Error),
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
    // Leptos renders on this runtime. This fails if a server in the same process has set it already.
    let _ = any_spawner::Executor::init_tokio();
    let data_dir = &settings.data_dir;
    // only Qchat itself may read what users write
    let mut folder = fs::DirBuilder::new();
    folder.recursive(true).mode(0o700);
    folder.create(data_dir).map_err(|error| StartError::DataDir { path: data_dir.clone(), error })?;
    let store = Arc::new(open(settings)?);
    let key = data_dir.join(SESSION_KEY);
    let old = data_dir.join(OLD_SESSION_KEY);
    let sessions = Sessions::open(&key).map_err(|error| StartError::Key { path: key, error })?;
    let sessions = sessions.holding(&old).map_err(|error| StartError::Key { path: old, error })?;
    let address = settings.address;
    let listener = listen(address).map_err(|error| StartError::Listen { address, error })?;
    let address = listener.local_addr().map_err(|error| StartError::Listen { address, error })?;

    let steady = Arc::new(clock);
    let clock = steady.clock();
    let unreadable = |error| StartError::Database { path: data_dir.join(DATABASE), error };
    let view = store.read(clock()).map_err(unreadable)?;
    let chats = view.chats().map_err(unreadable)?;
    // how far the clock is behind the newest entry of the log, if it was set back
    let ends = view.log().map_err(unreadable)?;
    let set_back = ends.map(|log| clock::difference(clock(), log.at));
    drop(view);
    // one for each thread that can run in parallel
    let shards = thread::available_parallelism().map_or(1, NonZero::get);
    let fanout = Arc::new(Fanout::new(shards));
    let presence = Arc::new(Presence::new(presence::NodeId::ALONE, presence::GRACE, Arc::clone(&clock)));
    let lobby = Arc::new(Lobby::new(
        chats,
        Arc::clone(&presence),
        settings.lifetimes,
        Arc::clone(&clock),
        settings.caps.listed,
    ));
    let (health, panics) = (Arc::new(WriterHealth::default()), Arc::new(Panics::default()));
    let after = ends.map_or(Seq::ZERO, |log| log.seq);
    let (sequencer, log) = local::open(Arc::clone(&clock), store.epoch(), after);
    let sequencer: Arc<dyn Sequencer> = Arc::new(sequencer);
    let dispatcher = ChangeDispatcher {
        store: Arc::clone(&store),
        fanout: Arc::clone(&fanout),
        presence: Arc::clone(&presence),
        lobby: Arc::clone(&lobby),
    };
    let writer = Writer::new(log, Arc::clone(&store), dispatcher, Arc::clone(&health), Arc::clone(&panics));
    let writer =
        thread::Builder::new().name("writer".into()).spawn(|| writer.run()).map_err(StartError::Writer)?;
    if let Some(leap) = set_back.filter(|leap| *leap < 0 && clock::is_leap(*leap)) {
        tracing::warn!(seconds = leap / 1_000, "the system clock was set back since Qchat last ran");
        // times recorded by the other clock would postpone expiry until this one has caught up
        if let Ok(outcome) = sequencer.propose(Proposal::ClockSet(leap)).await {
            let _ = outcome.await;
        }
    }
    let sweep = Arc::new(Sweeper::new(
        Arc::clone(&store),
        Arc::clone(&sequencer),
        Arc::clone(&presence),
        steady,
        settings.sweep_interval,
    ));
    let kept_for = Duration::from_millis(settings.lifetimes.message.millis());
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
    let engine = Engine::new(
        Arc::clone(&store),
        sequencer,
        fanout,
        Arc::clone(&presence),
        Arc::clone(&lobby),
        limits,
        clock,
    );
    let engine = Arc::new(engine);
    let control_socket = control_socket::listen(data_dir)
        .map(|listener| tokio::spawn(control_socket::serve(listener, Arc::clone(&engine))));

    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    let database = data_dir.join(DATABASE);
    let mut registry = Registry::default();
    engine.register_metrics(&mut registry);
    renderer.register_metrics(&mut registry);
    let metrics = Metrics::new(
        registry,
        Observed {
            engine: Arc::clone(&engine),
            presence: Arc::clone(&presence),
            lobby: Arc::clone(&lobby),
            panics: Arc::clone(&panics),
            writer: Arc::clone(&health),
            connections: connections.clone(),
            database: database.clone(),
            caps: settings.caps,
            started_at: SystemTime::now(),
        },
    );
    let of_listener = metrics.listener.clone();
    let state = Arc::new(AppState {
        engine,
        lobby,
        presence,
        panics,
        sessions,
        refusals: Refusals::default(),
        writer: Arc::clone(&health),
        stop: stop.clone(),
        connections: connections.clone(),
        renderer,
        metrics,
    });
    let serving = tokio::spawn(listener::serve(
        listener,
        http::router(state, settings.trusted_proxies.clone()),
        settings.trusted_proxies.clone(),
        stop.clone(),
        of_listener,
    ));
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

fn open(settings: &Settings) -> Result<Store, StartError> {
    let data_dir = &settings.data_dir;
    let path = data_dir.join(DATABASE);
    Store::open(&path, settings.lifetimes).map_err(|error| match error {
        StoreError::Io(error) | StoreError::Wal(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            StartError::DataDir { path: data_dir.clone(), error }
        }
        error => StartError::Database { path, error },
    })
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
