//! Three NATS servers on this machine, and the nodes of Qchat that use them.

use std::{
    io,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use cluster::{Connection, NatsSettings};
use nats_fixture::Nats;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{
    machine::Watched,
    target::{self, Running, Target, request, start_chat},
};

/// The number of logs in the same servers. They are started anew then, since each log reserves a part of their disks, and
/// costs them heartbeats.
const LOGS: u32 = 6;
/// The size that a log may reach, in MiB. It is large enough that no snapshot is made because a log has grown.
const LOG_MEBIBYTES: u64 = 1_200;
/// How long a node may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(300);
/// The time between two questions whether it is.
const BETWEEN: Duration = Duration::from_millis(10);

/// Three servers, each of which syncs before it acknowledges. Every log has a replica on each.
pub(crate) struct Servers {
    nats: Option<Nats>,
    logs: u32,
}

impl Servers {
    /// Starts the servers. `None` if there is no program.
    pub(crate) async fn start() -> Option<Self> {
        Some(Self { nats: Some(Nats::three().await?), logs: 0 })
    }

    /// Begins another log. Returns its name.
    pub(crate) async fn begin(&mut self) -> io::Result<String> {
        if self.logs > 0 && self.logs.is_multiple_of(LOGS) {
            // There can be only three servers at a time.
            self.nats = None;
            self.nats = Nats::three().await;
        }
        self.logs += 1;
        Ok(format!("bench{}", self.logs))
    }

    pub(crate) fn nats(&self) -> io::Result<&Nats> {
        self.nats.as_ref().ok_or_else(|| io::Error::other("the NATS servers are gone"))
    }

    pub(crate) fn nats_mut(&mut self) -> io::Result<&mut Nats> {
        self.nats.as_mut().ok_or_else(|| io::Error::other("the NATS servers are gone"))
    }

    /// Returns the processor time of all servers so far.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let nats = self.nats()?;
        (0..nats.urls().len()).filter_map(|index| nats.id(index)).map(|id| Watched(id).cpu()).sum()
    }

    /// Returns the settings for a log.
    pub(crate) fn settings(&self, log: &str) -> io::Result<NatsSettings> {
        let servers = self.nats()?.urls().join(",").parse().map_err(io::Error::other)?;
        let name = log.parse().map_err(io::Error::other)?;
        Ok(NatsSettings { name, max_log_bytes: Some(LOG_MEBIBYTES << 20), ..NatsSettings::of(servers) })
    }

    /// Connects to the servers.
    pub(crate) async fn connect(&self, log: &str) -> io::Result<Connection> {
        let connection = Connection::open(&self.settings(log)?).await.map_err(io::Error::other)?;
        timeout(PATIENCE, connection.connected()).await?;
        Ok(connection)
    }

    /// Returns the command that starts a node.
    pub(crate) fn command(&self, log: &str, folder: &Path) -> io::Result<Command> {
        let mut command = target::qchat(folder);
        command
            .args(["--nats-url", &self.nats()?.urls().join(","), "--nats-name", log, "--nats-max-log"])
            .arg(LOG_MEBIBYTES.to_string());
        Ok(command)
    }

    /// Starts a node, and waits until it is ready. Returns also how long that took.
    pub(crate) async fn node(&self, log: &str, folder: &Path) -> io::Result<(Running, Duration)> {
        let began = Instant::now();
        let node = target::launch(Target::Qchat, &mut self.command(log, folder)?)?;
        until(&node, "/readyz", "").await?;
        Ok((node, began.elapsed()))
    }

    /// Starts nodes with a log of their own, and a chat that all of them know.
    pub(crate) async fn nodes(&self, log: &str, count: usize) -> io::Result<Vec<Running>> {
        let mut nodes = Vec::new();
        for _ in 0..count {
            let folder = TempDir::new()?;
            let (mut node, _) = self.node(log, folder.path()).await?;
            node.keep(folder);
            nodes.push(node);
        }
        let Some(first) = nodes.first() else { return Ok(nodes) };
        let chat = start_chat(first.address).await?;
        for node in &mut nodes {
            until(node, &format!("/chat/{chat}"), "").await?;
            node.chat.clone_from(&chat);
        }
        Ok(nodes)
    }
}

/// Waits until a server answers 200 to a request.
async fn until(server: &Running, path: &str, body: &str) -> io::Result<()> {
    let began = Instant::now();
    loop {
        let said = request(server.address, &format!("GET {path} HTTP/1.1"), body).await;
        match said {
            Ok(said) if said.starts_with("HTTP/1.1 200") => return Ok(()),
            said if began.elapsed() > PATIENCE => {
                return Err(io::Error::other(format!("{path} is not answered: {said:?}")));
            }
            _ => sleep(BETWEEN).await,
        }
    }
}
