//! From settings to a running server, and back to nothing in order.

use std::{
    fs, io, net::SocketAddr, num::NonZero, os::unix::fs::DirBuilderExt, path::PathBuf, sync::Arc, thread,
    time::Duration,
};

use domain::Proposal;
use engine::{
    Service,
    clock::{self, SteadyClock},
    expiry::Sweep,
    fanout::Tails,
    limits::Limits,
    lobby::Lobby,
    log::{self, Sequencer},
    presence::{self, Presence},
    publisher::Audience,
    storage::{Store, StoreError},
    supervisor::{Panics, supervise},
    writer::{Writer, WriterHealth},
};
use futures_util::future::join_all;
use leptos::config::LeptosOptions;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Settings,
    http::{
        self, assets, listener,
        origin::Refusals,
        render::Press,
        session::{KeyError, Sessions},
        state::Parts,
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
const READING_PATIENCE: Duration = Duration::from_secs(30);
/// How long a stopping server waits for its connections to end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

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
    background: JoinHandle<()>,
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
    let set_back = view.log().map_err(unreadable)?.map(|log| clock::difference(clock(), log.at));
    drop(view);
    // as many as can run at once
    let shards = thread::available_parallelism().map_or(1, NonZero::get);
    let tails = Arc::new(Tails::new(shards));
    let presence = Arc::new(Presence::new(presence::GRACE, Arc::clone(&clock)));
    let lobby = Arc::new(Lobby::new(
        chats,
        Arc::clone(&presence),
        settings.lifetimes,
        Arc::clone(&clock),
        settings.caps.listed,
    ));
    let (health, panics) = (Arc::new(WriterHealth::default()), Arc::new(Panics::default()));
    let (sequencer, local) = log::local(Arc::clone(&clock));
    let sequencer: Arc<dyn Sequencer> = Arc::new(sequencer);
    let audience = Audience {
        store: Arc::clone(&store),
        tails: Arc::clone(&tails),
        presence: Arc::clone(&presence),
        lobby: Arc::clone(&lobby),
    };
    let writer = Writer::new(local, Arc::clone(&store), audience, Arc::clone(&health), Arc::clone(&panics))
        .map_err(unreadable)?;
    let writer =
        thread::Builder::new().name("writer".into()).spawn(|| writer.run()).map_err(StartError::Writer)?;
    if let Some(leap) = set_back.filter(|leap| *leap < 0 && clock::is_leap(*leap)) {
        tracing::warn!(seconds = leap / 1_000, "the clock of this machine was set back since Qchat ran last");
        // what was noted by the other clock would be kept until this one is as far
        if let Ok(outcome) = sequencer.propose(Proposal::ClockSet(leap)).await {
            let _ = outcome.await;
        }
    }
    let sweep = Arc::new(Sweep::new(
        Arc::clone(&store),
        Arc::clone(&sequencer),
        Arc::clone(&presence),
        steady,
        settings.sweep_interval,
    ));
    let kept_for = Duration::from_millis(settings.lifetimes.message.millis());
    let limits = Arc::new(Limits::new(settings.rates, settings.caps, kept_for));
    let press = Arc::new(Press::new(
        assets::assets(),
        LeptosOptions::builder().output_name("qchat").reload_port(settings.reload_port).build(),
    ));
    let background = tokio::spawn(run_background(
        Arc::clone(&presence),
        Arc::clone(&lobby),
        sweep,
        Arc::clone(&tails),
        Arc::clone(&limits),
        Arc::clone(&press),
        Arc::clone(&panics),
    ));
    let service = Service::new(
        Arc::clone(&store),
        sequencer,
        tails,
        Arc::clone(&presence),
        Arc::clone(&lobby),
        limits,
        clock,
    );
    let service = Arc::new(service);
    let operator = operator::listen(data_dir)
        .map(|listener| tokio::spawn(operator::serve(listener, Arc::clone(&service))));

    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    let parts = Arc::new(Parts {
        service,
        lobby,
        presence,
        panics,
        sessions,
        refusals: Refusals::default(),
        writer: Arc::clone(&health),
        stop: stop.clone(),
        connections: connections.clone(),
        press,
    });
    let serving = tokio::spawn(listener::serve(
        listener,
        http::router(parts, settings.trusted_proxies.clone()),
        settings.trusted_proxies.clone(),
        stop.clone(),
    ));
    let database = data_dir.join(DATABASE);
    Ok(Running { address, stop, connections, serving, background, operator, health, writer, store, database })
}

/// The tasks in the background, each supervised.
async fn run_background(
    presence: Arc<Presence>,
    lobby: Arc<Lobby>,
    sweep: Arc<Sweep>,
    tails: Arc<Tails>,
    limits: Arc<Limits>,
    press: Arc<Press>,
    panics: Arc<Panics>,
) {
    let presence = supervise("presence", &panics.presence, || {
        let presence = Arc::clone(&presence);
        async move { presence.run().await }
    });
    let lobby = supervise("lobby", &panics.lobby, || {
        let lobby = Arc::clone(&lobby);
        async move { lobby.run().await }
    });
    let sweep = supervise("sweep", &panics.sweep, || {
        let sweep = Arc::clone(&sweep);
        async move { sweep.run().await }
    });
    let limits = supervise("limits", &panics.limits, || {
        let limits = Arc::clone(&limits);
        async move { limits.run().await }
    });
    let press = supervise("press", &panics.press, || {
        let press = Arc::clone(&press);
        async move { press.run().await }
    });
    let shards = (0..tails.shards()).map(|shard| {
        let tails = Arc::clone(&tails);
        supervise("tails", &panics.tails, move || {
            let tails = Arc::clone(&tails);
            async move { tails.run(shard).await }
        })
    });
    tokio::join!(presence, lobby, sweep, limits, press, join_all(shards));
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
        self.background.abort();
        let _ = self.background.await;
        // what it has begun goes no further: it holds an end of the log
        if let Some(operator) = self.operator {
            operator.abort();
            let _ = operator.await;
        }
        self.stop.cancel();
        self.connections.close();
        if timeout(STOP_PATIENCE, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.connections.len(), "some connections did not end in time");
        }
        // With the router go the last ends of the log where commands come in, and with them the writer.
        let mut serving = self.serving;
        if timeout(STOP_PATIENCE, &mut serving).await.is_err() {
            tracing::warn!("some requests did not end in time");
            serving.abort();
            let _ = serving.await;
        }
        let writer = self.writer;
        let joined = tokio::task::spawn_blocking(move || writer.join());
        match timeout(STOP_PATIENCE, joined).await {
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
        StoreError::Io(error) | StoreError::Journal(error)
            if error.kind() == io::ErrorKind::PermissionDenied =>
        {
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
    socket.set_tcp_user_timeout(Some(READING_PATIENCE))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use domain::{
        Change, ChatId, Event, Lifetimes, Nickname, Seq, Span, Title, UserId, Visibility, What, id::ID_BYTES,
        lobby::Wanted,
    };
    use tokio::time::sleep;

    use app::shell::Assets;

    use super::*;
    use engine::limits::{Caps, Rates};

    const ANA: UserId = UserId::from_bytes([1; ID_BYTES]);

    /// Each of the three asks for the time in its work, and panics there once.
    #[tokio::test(start_paused = true)]
    async fn a_task_in_the_background_that_panics_goes_on_and_nobody_else_notices() {
        let (panics_now, sweep_panics) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let panicking = |panics_now: &Arc<AtomicBool>| -> clock::Clock {
            let panics_now = Arc::clone(panics_now);
            Arc::new(move || {
                assert!(!panics_now.swap(false, Ordering::SeqCst), "on purpose");
                clock::system()()
            })
        };
        let clock = panicking(&panics_now);
        let lifetimes = Lifetimes::default();
        let store = Arc::new(Store::in_memory(lifetimes).unwrap());
        let presence = Arc::new(Presence::new(presence::GRACE, Arc::clone(&clock)));
        let lobby = Arc::new(Lobby::new(
            Vec::new(),
            Arc::clone(&presence),
            lifetimes,
            Arc::clone(&clock),
            usize::MAX,
        ));
        let (sequencer, _log) = log::local(clock::system());
        let sweep = Arc::new(Sweep::new(
            store,
            Arc::new(sequencer),
            Arc::clone(&presence),
            Arc::new(SteadyClock::new(panicking(&sweep_panics), clock::uptime())),
            Span::seconds(3_600),
        ));
        let panics = Arc::new(Panics::default());
        let background = tokio::spawn(run_background(
            Arc::clone(&presence),
            Arc::clone(&lobby),
            sweep,
            Arc::new(Tails::new(1)),
            Arc::new(Limits::new(Rates::OFF, Caps::OFF, Duration::from_secs(60))),
            Arc::new(Press::new(Assets::default(), LeptosOptions::builder().output_name("qchat").build())),
            Arc::clone(&panics),
        ));
        let counts = || panics.by_task().map(|(_, count)| count);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(counts(), [0; 7]);

        // the lobby: what was to be told is told all the same
        let (mut view, _) = lobby.enter(Wanted { limit: 9, ..Wanted::default() }).await.unwrap();
        let (nickname, title) = (Nickname::friendly(1), Title::parse("Tea").unwrap());
        let what = What::Started { owner: ANA, nickname, title, visibility: Visibility::Public, guest: None };
        let chat = ChatId::from_bytes([7; ID_BYTES]);
        let at = clock();
        panics_now.store(true, Ordering::SeqCst);
        lobby.apply(&Change::Chat(Event { chat, seq: Seq(1), prev: Seq::ZERO, at, what }));
        view.changed().await;
        assert_eq!(view.news().unwrap().listed.len(), 1);
        assert_eq!(counts(), [0, 0, 1, 0, 0, 0, 0]);

        // the sweep
        presence.looked(Some(ANA), None);
        sweep_panics.store(true, Ordering::SeqCst);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(counts(), [0, 0, 1, 1, 0, 0, 0]);

        // presence: whoever was to leave leaves all the same
        drop(presence.arrive(ANA, Default::default()));
        sleep(Duration::from_secs(1)).await;
        panics_now.store(true, Ordering::SeqCst);
        sleep(presence::GRACE * 2).await;
        assert_eq!(counts(), [0, 1, 1, 1, 0, 0, 0]);
        assert_eq!(presence.people(), 0);
        background.abort();
    }
}
