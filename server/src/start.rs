//! From settings to a running server, and back to nothing in order.

use std::{
    fs, io, net::SocketAddr, num::NonZero, os::unix::fs::DirBuilderExt, path::PathBuf, sync::Arc, thread,
    time::Duration,
};

use domain::{Proposal, Seq};
use engine::{
    Engine,
    clock::{self, SteadyClock},
    expiry::Sweeper,
    fanout::Fanout,
    limits::Limits,
    lobby::Lobby,
    log::{self, Sequencer},
    presence::{self, Presence},
    publisher::Publisher,
    storage::{Store, StoreError},
    supervisor::{Panics, Supervisor},
    writer::{Writer, WriterHealth},
};
use leptos::config::LeptosOptions;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Settings,
    http::{
        self, assets, listener,
        origin::Refusals,
        render::PageRenderer,
        session::{KeyError, Sessions},
        state::AppState,
    },
    operator,
};

/// The database file in the data folder.
pub const DATABASE: &str = "qchat.redb";
/// The key that signs sessions, in the data folder.
pub const SESSION_KEY: &str = "session.key";
/// The key before it, whose sessions still hold, if there is one.
pub const OLD_SESSION_KEY: &str = "session.key.old";

/// Connections that wait to be accepted. tokio asks for 1,024, and a storm of reconnects overflows that: the rest
/// then waits for TCP to try again, seconds later.
const BACKLOG: i32 = 4_096;
/// Whoever takes nothing of what was sent for this long is cut off by the system (RFC 5482, and `TCP_USER_TIMEOUT` in
/// tcp(7), which counts a window of zero as well), so that an answer that is not read keeps no place.
const READING_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stopping server waits for its connections to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why Qchat did not start, in one line that names what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be made or written.
    #[error("the data folder {} cannot be used: {error}", path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database cannot be opened.
    #[error("the database {} cannot be opened: {error}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        error: StoreError,
    },
    /// The session key cannot be used.
    #[error("the session key {} cannot be used: {error}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        error: KeyError,
    },
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The writer's thread cannot be started.
    #[error("the writer cannot be started: {0}")]
    Writer(io::Error),
}

/// A server that runs.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
    connections: TaskTracker,
    serving: JoinHandle<()>,
    background: Supervisor,
    /// Nothing where nobody can ask.
    operator: Option<JoinHandle<()>>,
    health: Arc<WriterHealth>,
    writer: thread::JoinHandle<()>,
    store: Arc<Store>,
    database: PathBuf,
}

/// Starts a server: it listens when this returns.
///
/// # Errors
/// [`StartError`], with everything given back that was taken.
pub async fn start(settings: &Settings) -> Result<Running, StartError> {
    start_by(settings, SteadyClock::new(clock::system(), clock::uptime())).await
}

/// The same, by another clock.
///
/// # Errors
/// [`StartError`].
pub async fn start_by(settings: &Settings, clock: SteadyClock) -> Result<Running, StartError> {
    // Leptos renders on this runtime. A second server in the same process finds it told already.
    let _ = any_spawner::Executor::init_tokio();
    let data_dir = &settings.data_dir;
    // what people say is for Qchat alone to read
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
    // since when the clock was set back, if it was
    let ends = view.log().map_err(unreadable)?;
    let set_back = ends.map(|log| clock::difference(clock(), log.at));
    drop(view);
    // as many as can run at once
    let shards = thread::available_parallelism().map_or(1, NonZero::get);
    let fanout = Arc::new(Fanout::new(shards));
    let presence = Arc::new(Presence::new(presence::GRACE, Arc::clone(&clock)));
    let lobby = Arc::new(Lobby::new(
        chats,
        Arc::clone(&presence),
        settings.lifetimes,
        Arc::clone(&clock),
        settings.caps.listed,
    ));
    let (health, panics) = (Arc::new(WriterHealth::default()), Arc::new(Panics::default()));
    let (sequencer, local) = log::local(Arc::clone(&clock), ends.map_or(Seq::ZERO, |log| log.seq));
    let sequencer: Arc<dyn Sequencer> = Arc::new(sequencer);
    let publisher = Publisher {
        store: Arc::clone(&store),
        fanout: Arc::clone(&fanout),
        presence: Arc::clone(&presence),
        lobby: Arc::clone(&lobby),
    };
    let writer = Writer::new(local, Arc::clone(&store), publisher, Arc::clone(&health), Arc::clone(&panics));
    let writer =
        thread::Builder::new().name("writer".into()).spawn(|| writer.run()).map_err(StartError::Writer)?;
    if let Some(leap) = set_back.filter(|leap| *leap < 0 && clock::is_leap(*leap)) {
        tracing::warn!(seconds = leap / 1_000, "the clock of this machine was set back since Qchat ran last");
        // what was noted by the other clock would be kept until this one is as far
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
        background.spawn("tails", &fanout, move |fanout| async move { fanout.run(shard).await });
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
    let operator = operator::listen(data_dir)
        .map(|listener| tokio::spawn(operator::serve(listener, Arc::clone(&engine))));

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
    Ok(Running { address, stop, connections, serving, background, operator, health, writer, store, database })
}

impl Running {
    /// Waits until nothing can be stored any more. From then on every command is refused, and the server is to be
    /// stopped.
    pub async fn cannot_go_on(&self) {
        self.health.cannot_go_on().await;
    }

    /// Stops in order: no new requests, connections told to come back, everything proposed decided and stored, the
    /// database closed.
    pub async fn stop(self) {
        // who leaves now leaves because of this, and is back in a moment
        self.background.stop().await;
        // what it has begun goes no further: it holds an end of the log
        if let Some(task) = self.operator {
            task.abort();
            let _ = task.await;
            self.database.parent().into_iter().for_each(operator::close);
        }
        self.stop.cancel();
        self.connections.close();
        if timeout(STOP_TIMEOUT, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.connections.len(), "some connections did not end in time");
        }
        // With the router go the last ends of the log where commands come in, and with them the writer.
        let mut serving = self.serving;
        if timeout(STOP_TIMEOUT, &mut serving).await.is_err() {
            tracing::warn!("some requests did not end in time");
            serving.abort();
            let _ = serving.await;
        }
        let writer = self.writer;
        let joined = tokio::task::spawn_blocking(move || writer.join());
        match timeout(STOP_TIMEOUT, joined).await {
            Ok(Ok(Ok(()))) => {}
            _ => return tracing::error!("the writer did not end in order"),
        }
        if !self.health.can_store() {
            return;
        }
        let Some(store) = Arc::into_inner(self.store) else {
            return tracing::warn!(
                "the database is read still: the next start may have to look at all of it"
            );
        };
        let closed = tokio::task::spawn_blocking(move || store.close(&self.database)).await;
        if let Ok(Err(error)) = closed {
            tracing::warn!(%error, "the database could not be sealed: the next start may have to look at all of it");
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
    // a new start does not wait for the connections of the old one to be forgotten
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // every connection has this from the socket that accepts it
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(READING_TIMEOUT))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
