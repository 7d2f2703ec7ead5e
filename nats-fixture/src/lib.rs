//! NATS servers on loopback, for tests: one, or three that form a cluster. They can be killed, started again, frozen and
//! thawed, and are killed when the test ends, passed or failed.
//!
//! Where there is no nats-server, [`Nats::one`] and [`Nats::three`] return `None`, after a line on standard error that is
//! shown though the test passes. `scripts/setup.sh nats` gets one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use std::{
    fs::{self, File},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock},
    time::Duration,
};

use rand::Rng;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Mutex, OwnedMutexGuard, mpsc},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

/// The oldest version that Qchat works with.
const OLDEST: (u64, u64) = (2, 10);
/// How long servers may take to be ready on a busy machine.
const START: Duration = Duration::from_secs(60);
/// The time between two questions whether they are.
const BETWEEN: Duration = Duration::from_millis(50);
/// The number of times that servers are started, each time on other ports, if another program was faster to take one.
const ATTEMPTS: usize = 5;

/// The program. `None` if there is none, or none that is new enough.
static PROGRAM: LazyLock<Option<PathBuf>> = LazyLock::new(find);
/// Held by the test that has three servers: they take what the machine has.
static THREE: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);

/// NATS servers that run.
pub struct Nats {
    servers: Vec<Server>,
    folder: TempDir,
    _alone: Option<OwnedMutexGuard<()>>,
}

struct Server {
    port: u16,
    monitor: u16,
    /// The file with its configuration.
    configuration: PathBuf,
    /// What is always in it.
    addresses: String,
    /// Where it stores streams.
    store: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// Writes its configuration, which it has from the next start on.
    fn configure(&self, has_jetstream: bool, more: &str) {
        let mut text = format!("{}{more}\n", self.addresses);
        if has_jetstream {
            let store = self.store.display();
            text.push_str(&format!(
                "jetstream {{ store_dir: \"{store}\", sync_interval: always, max_memory_store: 64MB, max_file_store: 8GB }}\n"
            ));
        }
        fs::write(&self.configuration, text).unwrap();
    }
}

impl Nats {
    /// Starts one server with JetStream. `None` if there is no program.
    pub async fn one() -> Option<Self> {
        Self::one_with("").await
    }

    /// Starts one server with JetStream and more configuration. `None` if there is no program.
    pub async fn one_with(configuration: &str) -> Option<Self> {
        Self::start_all(1, true, configuration, None).await
    }

    /// Starts one server with JetStream that stores streams in this folder. `None` if there is no program.
    pub async fn one_on(store: &Path) -> Option<Self> {
        let mut nats = Self::one().await?;
        nats.kill(0);
        nats.servers[0].store = store.to_owned();
        nats.servers[0].configure(true, "");
        nats.start(0).await;
        Some(nats)
    }

    /// Starts one server without JetStream. `None` if there is no program.
    pub async fn without_jetstream() -> Option<Self> {
        Self::start_all(1, false, "", None).await
    }

    /// Starts three servers with JetStream, and waits until they have formed a cluster. Only one test of a process has three at
    /// a time. `None` if there is no program.
    pub async fn three() -> Option<Self> {
        let alone = Arc::clone(&THREE).lock_owned().await;
        Self::start_all(3, true, "", Some(alone)).await
    }

    async fn start_all(
        count: usize,
        has_jetstream: bool,
        configuration: &str,
        alone: Option<OwnedMutexGuard<()>>,
    ) -> Option<Self> {
        if PROGRAM.is_none() {
            // Not by `eprintln`, whose output a test that passes does not show.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED a test: there is no nats-server 2.10 or newer, see scripts/setup.sh nats"
            );
            return None;
        }
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let folder = TempDir::new().unwrap();
            let servers = prepare(folder.path(), count, has_jetstream, configuration);
            let mut nats = Self { servers, folder, _alone: None };
            for index in 0..count {
                nats.launch(index);
            }
            if nats.is_ready().await {
                nats._alone = alone;
                return Some(nats);
            }
            said = logs(nats.folder.path());
        }
        panic!("the NATS servers did not start: {said}");
    }

    /// Gives all servers another configuration, and starts those anew that run.
    pub async fn configure(&mut self, has_jetstream: bool, configuration: &str) {
        for index in 0..self.servers.len() {
            self.servers[index].configure(has_jetstream, configuration);
            if self.servers[index].child.is_some() {
                self.kill(index);
                self.launch(index);
            }
        }
        assert!(self.is_ready().await, "they did not start: {}", logs(self.folder.path()));
    }

    /// Returns the addresses of the servers.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(|server| format!("nats://127.0.0.1:{}", server.port)).collect()
    }

    /// Returns the address of a server.
    pub fn url(&self, index: usize) -> String {
        format!("nats://127.0.0.1:{}", self.servers[index].port)
    }

    /// Returns what a server tells of itself under a path, such as `/jsz`. `None` if it does not answer.
    pub async fn monitor(&self, index: usize, path: &str) -> Option<Value> {
        get(self.servers[index].monitor, path).await
    }

    /// Waits until a stream has a leader, and returns which server it is.
    pub async fn leader(&self, stream: &str) -> usize {
        let deadline = Instant::now() + START;
        loop {
            for index in 0..self.servers.len() {
                let found = self.monitor(index, "/jsz?streams=1").await;
                if let Some(name) = found.as_ref().and_then(|jsz| leader_of(jsz, stream)) {
                    return name;
                }
            }
            assert!(Instant::now() < deadline, "the stream {stream} has no leader");
            sleep(BETWEEN).await;
        }
    }

    /// Returns the process id of a server. `None` if it was killed.
    pub fn id(&self, index: usize) -> Option<u32> {
        self.servers[index].child.as_ref().map(Child::id)
    }

    /// Kills a server at once.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.servers[index].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts a server that was killed, and waits until it is ready.
    pub async fn start(&mut self, index: usize) {
        self.launch(index);
        assert!(self.is_ready().await, "it did not start: {}", logs(self.folder.path()));
    }

    /// Stops a server from doing anything, without anyone being told.
    pub fn freeze(&self, index: usize) {
        self.signal(index, "-STOP");
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self, index: usize) {
        self.signal(index, "-CONT");
    }

    fn signal(&self, index: usize, signal: &str) {
        let Some(child) = &self.servers[index].child else { return };
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn launch(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let log = server.configuration.with_extension("log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(PROGRAM.as_ref().unwrap());
        command.arg("-c").arg(&server.configuration).stdout(Stdio::null()).stderr(log);
        server.child = Some(command.spawn().unwrap());
    }

    /// Waits until all servers that run are ready. Returns whether they are: one that ends is not.
    async fn is_ready(&mut self) -> bool {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            let ended = |server: &mut Server| {
                let child = server.child.as_mut();
                child.is_some_and(|child| child.try_wait().unwrap().is_some())
            };
            if self.servers.iter_mut().any(ended) {
                return false;
            }
            let mut ready = 0;
            for index in 0..self.servers.len() {
                let is_running = self.servers[index].child.is_some();
                ready += usize::from(!is_running || self.is_one_ready(index).await);
            }
            if ready == self.servers.len() {
                return true;
            }
            sleep(BETWEEN).await;
        }
        false
    }

    async fn is_one_ready(&self, index: usize) -> bool {
        let health = self.monitor(index, "/healthz").await;
        if health.is_none_or(|health| health["status"] != "ok") {
            return false;
        }
        if self.servers.len() == 1 {
            return true;
        }
        let Some(jsz) = self.monitor(index, "/jsz").await else { return false };
        let leader = jsz["meta_cluster"]["leader"].as_str();
        leader.is_some_and(|leader| !leader.is_empty())
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        for index in 0..self.servers.len() {
            if let Some(mut child) = self.servers[index].child.take() {
                // A frozen one dies of this as well.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// A network that delays everything in both directions. It ends when it is dropped.
pub struct Slow {
    /// Where it takes connections.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Slow {
    /// Delays what goes to a server, and what comes from it.
    pub async fn to(server: String, delay: Duration) -> Self {
        let server = server.trim_start_matches("nats://").to_owned();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                tokio::spawn(pass(client_in, server_out, delay));
                tokio::spawn(pass(server_in, client_out, delay));
            }
        });
        Self { address, task }
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin + Send + 'static,
    mut to: impl AsyncWriteExt + Unpin,
    delay: Duration,
) {
    let (sender, mut receiver) = mpsc::channel(1_024);
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    });
    while let Some((due, bytes)) = receiver.recv().await {
        sleep_until(due).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Returns the server that leads a stream, by what a server tells of its streams.
fn leader_of(jsz: &Value, stream: &str) -> Option<usize> {
    let accounts = jsz["account_details"].as_array()?;
    let streams = accounts.iter().filter_map(|account| account["stream_detail"].as_array()).flatten();
    let found = streams.into_iter().find(|detail| detail["name"] == stream)?;
    found["cluster"]["leader"].as_str()?.strip_prefix('n')?.parse().ok()
}

/// Writes the configuration of servers that are to run on free ports.
fn prepare(folder: &Path, count: usize, has_jetstream: bool, more: &str) -> Vec<Server> {
    let ports = free_ports(count * 3);
    let routes: Vec<_> = ports.iter().skip(2).step_by(3).collect();
    let mut servers = Vec::new();
    for (index, ports) in ports.chunks(3).enumerate() {
        let &[port, monitor, route] = ports else { unreachable!() };
        let mut addresses =
            format!("server_name: n{index}\nlisten: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\n");
        if count > 1 {
            // Without advertising, nodes reach the servers by the addresses they are given, which may be those of a proxy.
            let routes: Vec<_> = routes.iter().map(|route| format!("\"nats://127.0.0.1:{route}\"")).collect();
            let routes = routes.join(", ");
            addresses.push_str(&format!(
                "cluster {{ name: qchat, listen: \"127.0.0.1:{route}\", no_advertise: true, routes: [{routes}] }}\n"
            ));
        }
        let [configuration, store] = [format!("{port}.conf"), port.to_string()].map(|name| folder.join(name));
        let server = Server { port, monitor, configuration, addresses, store, child: None };
        server.configure(has_jetstream, more);
        servers.push(server);
    }
    servers
}

/// Returns ports that are free now. They are below those that the system gives to connections, so that none takes one
/// while its server is away.
fn free_ports(count: usize) -> Vec<u16> {
    let mut chance = rand::rng();
    let mut taken = Vec::new();
    while taken.len() < count {
        let port = chance.random_range(12_000..32_000);
        taken.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    taken.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

async fn get(port: u16, path: &str) -> Option<Value> {
    let answer = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    };
    timeout(Duration::from_secs(2), answer).await.ok().flatten()
}

fn logs(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let logs = files.filter(|file| file.extension().is_some_and(|extension| extension == "log"));
    logs.map(|log| fs::read_to_string(log).unwrap()).collect()
}

fn find() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/nats-server");
    ["nats-server".into(), tools].into_iter().find(|program| is_new(program))
}

fn is_new(program: &Path) -> bool {
    let Ok(output) = Command::new(program).arg("--version").output() else { return false };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some((_, version)) = said.split_once(": v") else { return false };
    let mut numbers = version.split('.').map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST)
}
