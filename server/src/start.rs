//! From settings to a running server, and back to nothing in order.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use leptos::config::LeptosOptions;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Settings, clock,
    presence::{self, Presence},
    router::{self, Parts},
    sequencer,
    service::Service,
    session::{KeyError, Sessions},
    site,
    store::{Store, StoreError},
    tail::Tails,
    writer::{Writer, WriterHealth},
};

/// The database file in the data folder.
pub const DATABASE: &str = "qchat.redb";
/// The key that signs sessions, in the data folder.
pub const SESSION_KEY: &str = "session.key";

/// Connections that wait to be accepted. tokio asks for 1,024, and a storm of reconnects overflows that: the rest
/// then waits for TCP to try again, seconds later.
const BACKLOG: i32 = 4_096;
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
    serving: JoinHandle<io::Result<()>>,
    presence: JoinHandle<()>,
    writer: thread::JoinHandle<()>,
}

/// Starts a server: it listens when this returns.
///
/// # Errors
/// [`StartError`], with everything given back that was taken.
pub async fn start(settings: &Settings) -> Result<Running, StartError> {
    // Leptos renders on this runtime. A second server in the same process finds it told already.
    let _ = any_spawner::Executor::init_tokio();
    let data_dir = &settings.data_dir;
    // what people say is for Qchat alone to read
    let mut folder = fs::DirBuilder::new();
    folder.recursive(true).mode(0o700);
    folder.create(data_dir).map_err(|error| StartError::DataDir { path: data_dir.clone(), error })?;
    let store = Arc::new(open(data_dir)?);
    let key = data_dir.join(SESSION_KEY);
    let sessions = Sessions::open(&key).map_err(|error| StartError::Key { path: key, error })?;
    let address = settings.address;
    let listener = listen(address).map_err(|error| StartError::Listen { address, error })?;
    let address = listener.local_addr().map_err(|error| StartError::Listen { address, error })?;

    let clock = clock::system();
    let tails = Arc::new(Tails::default());
    let presence = Arc::new(Presence::new(presence::GRACE));
    let health = Arc::new(WriterHealth::default());
    let (sequencer, log) = sequencer::local(Arc::clone(&clock));
    let writer =
        Writer::new(log, Arc::clone(&store), Arc::clone(&tails), Arc::clone(&presence), Arc::clone(&health))
            .map_err(|error| StartError::Database { path: data_dir.join(DATABASE), error })?;
    let writer =
        thread::Builder::new().name("writer".into()).spawn(|| writer.run()).map_err(StartError::Writer)?;
    let service = Arc::new(Service::new(store, Arc::new(sequencer), tails, Arc::clone(&presence), clock));
    let presence = tokio::spawn(async move { presence.run().await });

    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    let parts = Arc::new(Parts {
        service,
        sessions,
        writer: health,
        stop: stop.clone(),
        connections: connections.clone(),
        assets: site::assets(),
        leptos: LeptosOptions::builder().output_name("qchat").reload_port(settings.reload_port).build(),
    });
    let router = router::router(parts);
    let serve = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let serving = tokio::spawn(serve.into_future());
    Ok(Running { address, stop, connections, serving, presence, writer })
}

impl Running {
    /// Stops in order: no new requests, connections told to come back, everything proposed decided and stored, the
    /// database closed.
    pub async fn stop(self) {
        self.stop.cancel();
        self.connections.close();
        if timeout(STOP_PATIENCE, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.connections.len(), "some connections did not end in time");
        }
        self.presence.abort();
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
            _ => tracing::error!("the writer did not end in order"),
        }
    }
}

fn open(data_dir: &Path) -> Result<Store, StartError> {
    let path = data_dir.join(DATABASE);
    Store::open(&path).map_err(|error| match error {
        StoreError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            StartError::DataDir { path: data_dir.to_owned(), error }
        }
        error => StartError::Database { path, error },
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // a new start does not wait for the connections of the old one to be forgotten
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
