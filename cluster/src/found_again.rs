//! Founding the log again, when its stream is gone for good, has lost its newest messages, or has a hole that no snapshot
//! fills. An operator has it done for one node, which must not run meanwhile.
//!
//! The state of that node becomes a snapshot with which a log of a new epoch begins, and its places go on after those of the
//! log before. The stream is made for that epoch, so that what other nodes still publish for the one before does not count.
//! Each other node whose place is not beyond that of the snapshot loads it, and so does this one when it is started again:
//! its own database is left as it is.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::{Epoch, Rules, Timestamp};
use engine::{
    nodes::message::Beat,
    random,
    storage::{
        LogState, ReplicaState, Store, StoreError,
        export::{self, ExportError},
    },
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};

use crate::{
    connection::{CannotConnect, Connection},
    join::{first_beat, newest_epoch},
    settings::NatsSettings,
    snapshots::{About, FILE, LoadError, Snapshots, TransferError},
    stream::{LogStream, StreamState},
    trouble::Trouble,
};

/// How long it is tried to reach the servers, and to get an answer from them.
const PATIENCE: Duration = Duration::from_secs(15);
/// The wait after trouble.
const WAIT: Duration = Duration::from_millis(500);
/// How long this node listens to the others, each of which beats once a second.
const LISTENING: Duration = Duration::from_secs(3);

/// What founds a log again.
pub struct FoundAgain<'a> {
    /// How to reach NATS.
    pub settings: &'a NatsSettings,
    /// The view of the log that is gone.
    pub store: &'a Arc<Store>,
    /// The folder for the snapshot, which must have room for it.
    pub folder: &'a Path,
    /// The oldest and the newest rules by which this node can decide.
    pub rules: (Rules, Rules),
}

/// A log that was founded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundedAgain {
    /// The place after which it goes on.
    pub place: u64,
    /// The first and the last place of the messages in the stream before that no node could apply, since those before them
    /// are missing. `None` if there were none.
    pub lost: Option<(u64, u64)>,
}

/// Why a log was not founded again.
#[derive(Debug, thiserror::Error)]
pub enum NotFoundedAgain {
    /// A file for the connection to NATS cannot be used.
    #[error(transparent)]
    Connect(#[from] CannotConnect),
    /// NATS does not do it.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// The log is not gone.
    #[error("the log in the stream {0} is there, and this node can go on with it: start it as always")]
    NotGone(String),
    /// There is another log. It may be one that was founded by a new node since.
    #[error(
        "the stream {0} holds another log, which may have been founded by a node with an empty folder: delete that stream if nothing in it is to be kept, and run this again"
    )]
    OtherLog(String),
    /// Another node has founded the log again.
    #[error("the log in the stream {0} was founded again already: start this node as always")]
    Already(String),
    /// Another node has more of the log.
    #[error(
        "the node {name:?} has applied place {place} of the log, and this one {own}: found the log again with that one"
    )]
    Ahead {
        /// The name of the node.
        name: String,
        /// The place that it has applied.
        place: u64,
        /// The place that this node has applied.
        own: u64,
    },
    /// This node has no view of a log.
    #[error("this data folder has no log of a cluster")]
    NoLog,
    /// The database cannot be read or written.
    #[error("the database of this node cannot be used: {0}")]
    Store(#[from] StoreError),
    /// The snapshot cannot be written or uploaded.
    #[error("the snapshot could not be made: {0}")]
    Snapshot(String),
}

/// What there is of the log before.
enum Found {
    /// Nothing.
    Nothing,
    /// A stream that is of no use any more.
    Useless(StreamState),
}

impl FoundAgain<'_> {
    /// Founds the log again from the state of this node, or from a newer snapshot of the log before. Takes some seconds, since
    /// it listens to the other nodes.
    ///
    /// # Errors
    /// [`NotFoundedAgain`]. It can be run again.
    pub async fn run(&self) -> Result<FoundedAgain, NotFoundedAgain> {
        let connection = Connection::open(self.settings).await?;
        if timeout(PATIENCE, connection.connected()).await.is_err() {
            return Err(connection.silence().into());
        }
        let stream = LogStream::new(connection.clone(), self.settings);
        let snapshots = Snapshots::new(connection.clone(), self.settings);
        let (_, replica) = self.state()?;
        let found = patiently(async || self.look(&stream, &snapshots, replica.place).await).await?;
        self.load_newest(&snapshots).await?;
        let (log, replica) = self.state()?;
        self.listen(&connection, &log, replica.place).await?;
        let epoch = random::epoch().map_err(StoreError::from)?;
        self.upload(&snapshots, &log, &replica, epoch).await?;
        let mut lost = None;
        if let Found::Useless(state) = found {
            lost = (state.last > replica.place).then_some((state.first, state.last));
            patiently(async || Ok(stream.delete().await?)).await?;
        }
        patiently(async || Ok(stream.create_successor(replica.place + 1, epoch).await?)).await?;
        Ok(FoundedAgain { place: replica.place, lost })
    }

    /// Returns how far this node has come.
    fn state(&self) -> Result<(LogState, ReplicaState), NotFoundedAgain> {
        let view = self.store.read(Timestamp::default())?;
        view.log()?.zip(view.replica()?).ok_or(NotFoundedAgain::NoLog)
    }

    /// Looks at what there is of the log.
    async fn look(
        &self,
        stream: &LogStream,
        snapshots: &Snapshots,
        reached: u64,
    ) -> Result<Found, NotFoundedAgain> {
        let Some(state) = stream.look().await? else { return Ok(Found::Nothing) };
        let (name, own) = (|| stream.name().to_owned(), self.store.epoch());
        let listed = snapshots.list().await?;
        if state.is_unfounded() {
            return Ok(Found::Useless(state));
        }
        match newest_epoch(stream, &state).await? {
            Some(epoch) if epoch == own => {}
            Some(epoch) => {
                let follows = |about: &About| {
                    about.epoch == epoch && about.follows.is_some_and(|follows| follows.epoch == own)
                };
                let is_known = listed.iter().any(|snapshot| follows(&snapshot.about));
                return Err(match is_known {
                    true => NotFoundedAgain::Already(name()),
                    false => NotFoundedAgain::OtherLog(name()),
                });
            }
            None => return Err(NotFoundedAgain::OtherLog(name())),
        }
        let newest = listed.iter().filter(|snapshot| snapshot.about.epoch == own).map(|one| one.about.place);
        let reached = newest.max().map_or(reached, |place| place.max(reached));
        let goes_on = state.first <= reached + 1 && state.last >= reached;
        if goes_on { Err(NotFoundedAgain::NotGone(name())) } else { Ok(Found::Useless(state)) }
    }

    /// Loads the newest snapshot of the log before, if this node has not come as far.
    async fn load_newest(&self, snapshots: &Snapshots) -> Result<(), NotFoundedAgain> {
        let (log, replica) = self.state()?;
        let listed = patiently(async || Ok(snapshots.list().await?)).await?;
        let is_newer = |about: &About| about.epoch == log.epoch && about.place > replica.place;
        if !listed.iter().any(|snapshot| is_newer(&snapshot.about)) {
            return Ok(());
        }
        match snapshots.load_newest(log.epoch, self.rules, self.store, self.folder).await {
            Ok(_) => Ok(()),
            Err(LoadError::Trouble(trouble)) => Err(trouble.into()),
            Err(LoadError::Store(error)) => Err(error.into()),
            Err(LoadError::Unusable { place, reason }) => Err(Trouble::Snapshot { place, reason }.into()),
        }
    }

    /// Makes sure that no other node has more of the log.
    async fn listen(&self, connection: &Connection, log: &LogState, own: u64) -> Result<(), NotFoundedAgain> {
        let has_more = |beat: &Beat| beat.position.epoch == log.epoch && beat.position.place > own;
        match first_beat(connection, self.settings, LISTENING, has_more).await? {
            Some(Beat { name, position, .. }) => {
                Err(NotFoundedAgain::Ahead { name, place: position.place, own })
            }
            None => Ok(()),
        }
    }

    /// Uploads the state of this node as the beginning of a log of this epoch. What an attempt before has left is deleted.
    async fn upload(
        &self,
        snapshots: &Snapshots,
        log: &LogState,
        replica: &ReplicaState,
        epoch: Epoch,
    ) -> Result<(), NotFoundedAgain> {
        for snapshot in patiently(async || Ok(snapshots.list().await?)).await? {
            if snapshot.about.follows.is_some_and(|follows| follows.epoch == log.epoch) {
                snapshots.delete(&snapshot).await?;
            }
        }
        let file = self.folder.join(format!("{FILE}{}", replica.place));
        let (store, path) = (Arc::clone(self.store), file.clone());
        let written = spawn_blocking(move || write(&store, epoch, &path)).await;
        let written = written.map_err(|error| ExportError::Io(io::Error::other(error))).flatten();
        let uploaded = match written {
            Ok(about) => snapshots.upload(&file, about).await.map(drop).map_err(|error| match error {
                TransferError::Trouble(trouble) => trouble.into(),
                error => NotFoundedAgain::Snapshot(error.to_string()),
            }),
            Err(ExportError::Store(error)) => Err(error.into()),
            Err(error) => Err(NotFoundedAgain::Snapshot(error.to_string())),
        };
        // It has what users may remove later. What is left is removed by the next start.
        let _ = tokio::fs::remove_file(&file).await;
        uploaded
    }
}

/// Writes the beginning of a log that goes on from that of a view, and checks that it can be read back.
fn write(store: &Store, epoch: Epoch, path: &PathBuf) -> Result<About, ExportError> {
    let view = store.read(Timestamp::default())?;
    view.export_successor(epoch, File::create(path).map_err(ExportError::Io)?)?;
    drop(view);
    let contents = export::check(path)?;
    let (log, replica) = contents.log.zip(contents.replica).ok_or(StoreError::NotAReplica)?;
    Ok(About {
        format: export::FORMAT,
        epoch: log.epoch,
        place: replica.place,
        seq: log.seq,
        rules: replica.settings.rules.0,
        follows: replica.follows,
    })
}

/// Does something that JetStream may not answer at once.
async fn patiently<T>(
    mut work: impl AsyncFnMut() -> Result<T, NotFoundedAgain>,
) -> Result<T, NotFoundedAgain> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match work().await {
            Err(NotFoundedAgain::Trouble(Trouble::NoAnswer | Trouble::NotConnected { .. }))
                if Instant::now() < deadline =>
            {
                sleep(WAIT).await;
            }
            done => return done,
        }
    }
}
