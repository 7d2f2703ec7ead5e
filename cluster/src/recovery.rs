//! Recovering the log from what a node has, when its stream is gone for good or has lost its newest messages. An operator has
//! it done for one node, which must not run meanwhile.
//!
//! The state of that node becomes a snapshot with which a log of a new epoch begins, and its places go on after those of the
//! log before. The stream is made for that epoch, so that what other nodes still publish for the one before does not count.
//! Each other node whose place is not beyond that of the snapshot loads it, and so does this one when it is started again.
//!
//! Nothing that somebody may need is deleted: only a stream that has nothing that this node has not applied. Where a stream
//! has something else, the operator has to delete it first.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::{Epoch, Rules, Timestamp, id::ID_BYTES};
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
    reader::{BELIEVED_AFTER, Known, differs_at},
    settings::NatsSettings,
    snapshots::{About, FILE, LoadError, Snapshot, Snapshots, TransferError},
    stream::{LogStream, StreamState},
    trouble::Trouble,
};

/// How long it is tried to reach the servers, and to get an answer from them.
const PATIENCE: Duration = Duration::from_secs(15);
/// The wait after trouble, and between two looks at the stream.
const WAIT: Duration = Duration::from_millis(500);
/// How long this node listens to the others, each of which beats once a second.
const LISTENING: Duration = Duration::from_secs(3);

/// What recovers a log.
pub struct Recovery<'a> {
    /// How to reach NATS.
    pub settings: &'a NatsSettings,
    /// The view of the log that is gone.
    pub store: &'a Arc<Store>,
    /// The folder for the snapshot, which must have room for it.
    pub folder: &'a Path,
    /// The oldest and the newest rules by which this node can decide.
    pub rules: (Rules, Rules),
}

/// Why a log was not recovered.
#[derive(Debug, thiserror::Error)]
pub enum NotRecovered {
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
        "the stream {0} holds another log, which may have been founded by a node with an empty folder: if nothing in it is to be kept, stop its nodes, delete the stream, and run this again"
    )]
    OtherLog(String),
    /// The log was recovered from another node, and this one can go on with it.
    #[error("the log in the stream {0} was recovered already: start this node as always")]
    Already(String),
    /// The log was recovered from another node, which had not applied all that this one has.
    #[error(
        "the log was recovered from place {place} on, and this node has applied {own}: give this node an empty folder if that is not needed; if what was written since then is not needed, stop the other nodes, delete the stream and the snapshots, and run this again"
    )]
    Behind {
        /// The place from which the log was recovered.
        place: u64,
        /// The place that this node has applied.
        own: u64,
    },
    /// The stream has messages that this node has not applied and cannot apply, since those before them are missing.
    #[error(
        "the stream {stream} has messages from place {first} to {last} that this node cannot apply, since those after place {own} are missing: if no other node has them, stop all nodes, delete the stream, and run this again"
    )]
    Hole {
        /// The name of the stream.
        stream: String,
        /// The place of the oldest message in it.
        first: u64,
        /// The place of the newest message in it.
        last: u64,
        /// The place that this node has applied.
        own: u64,
    },
    /// The stream has other messages than this node has applied.
    #[error(
        "the stream {stream} has another message at place {place} than this node has applied: give this node an empty folder if that is the right one; if what this node has is to be kept, stop the other nodes, delete the stream and the snapshots, and run this again"
    )]
    OtherHistory {
        /// The name of the stream.
        stream: String,
        /// The place.
        place: u64,
    },
    /// Another node has more of the log.
    #[error(
        "the node {name:?} has applied place {place} of the log, and this one {own}: recover the log with that one"
    )]
    Ahead {
        /// The name of the node.
        name: String,
        /// The place that it has applied.
        place: u64,
        /// The place that this node has applied.
        own: u64,
    },
    /// A node runs that has another log.
    #[error(
        "the node {0:?} has another log, which may go on from the one of this node: recover the log with that one, or stop it"
    )]
    OtherNode(String),
    /// The log was recovered before, and went on from there until that stream was lost as well.
    #[error(
        "the log was recovered before, and a snapshot of place {0} of what came then is there: recover the log with a node that has it; if it is not needed, stop all nodes, delete the snapshots, and run this again"
    )]
    Outdated(u64),
    /// Something was done to the stream meanwhile.
    #[error("the stream {0} changes: wait until nobody does anything to it, and run this again")]
    Changing(String),
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

/// What this node has of the log.
struct Own {
    log: LogState,
    replica: ReplicaState,
}

impl Recovery<'_> {
    /// Recovers the log from the state of this node, or from a newer snapshot of the log before, which it loads. Takes some ten
    /// seconds, since it looks at the stream for a while and listens to the other nodes. Returns the place after which the log
    /// goes on.
    ///
    /// # Errors
    /// [`NotRecovered`]. It can be run again.
    pub async fn run(&self) -> Result<u64, NotRecovered> {
        let connection = Connection::open(self.settings).await?;
        if timeout(PATIENCE, connection.connected()).await.is_err() {
            return Err(connection.silence().into());
        }
        let stream = LogStream::new(connection.clone(), self.settings);
        let snapshots = Snapshots::new(connection.clone(), self.settings);
        self.load_newer(&snapshots).await?;
        let own = self.own()?;
        let found = self.look_for_long(&stream, &snapshots, &own).await?;
        self.listen(&connection, &own).await?;
        let epoch = random::epoch().map_err(StoreError::from)?;
        let uploaded = self.upload(&snapshots, &own, epoch).await?;
        let founded = self.replace(&stream, found, &own, epoch).await;
        let is_useless = |snapshot: &Snapshot| match &founded {
            // What attempts before have left.
            Ok(()) => follows(&snapshot.about, own.log.epoch).is_some() && snapshot.about.epoch != epoch,
            // It has what users may remove later.
            Err(_) => snapshot.about == uploaded.about,
        };
        let listed = patiently(async || Ok(snapshots.list().await?)).await;
        for snapshot in listed.unwrap_or_default().iter().filter(|one| is_useless(one)) {
            // What is left is deleted after a week.
            let _ = snapshots.delete(snapshot).await;
        }
        founded.map(|()| own.replica.place)
    }

    /// Returns how far this node has come.
    fn own(&self) -> Result<Own, NotRecovered> {
        let view = self.store.read(Timestamp::default())?;
        let (log, replica) = view.log()?.zip(view.replica()?).ok_or(NotRecovered::NoLog)?;
        Ok(Own { log, replica })
    }

    /// Loads the newest snapshot of the log before that can be used, if this node has not come as far.
    async fn load_newer(&self, snapshots: &Snapshots) -> Result<(), NotRecovered> {
        let Own { log, replica } = self.own()?;
        let wanted = |about: &About| about.epoch == log.epoch && about.place > replica.place;
        let loaded = snapshots.load_first(wanted, self.rules, self.store, self.folder).await;
        match loaded {
            // What cannot be used is worth nothing to other nodes either.
            Ok(_) | Err(LoadError::Unusable { .. }) => Ok(()),
            Err(LoadError::Trouble(trouble)) => Err(trouble.into()),
            Err(LoadError::Store(error)) => Err(error.into()),
        }
    }

    /// Looks at what there is of the log until it has been the same for so long that it is no server that is behind for a
    /// moment.
    async fn look_for_long(
        &self,
        stream: &LogStream,
        snapshots: &Snapshots,
        own: &Own,
    ) -> Result<Option<StreamState>, NotRecovered> {
        let deadline = Instant::now() + PATIENCE;
        let mut since: Option<(Option<StreamState>, Instant)> = None;
        loop {
            let found = patiently(async || self.look(stream, snapshots, own).await).await?;
            match since {
                Some((before, at)) if before == found => {
                    if at.elapsed() >= BELIEVED_AFTER {
                        return Ok(found);
                    }
                }
                _ if Instant::now() >= deadline => {
                    return Err(NotRecovered::Changing(stream.name().to_owned()));
                }
                _ => since = Some((found, Instant::now())),
            }
            sleep(WAIT).await;
        }
    }

    /// Looks at what there is of the log. Returns a stream that has nothing that this node lacks, and with which it cannot go
    /// on. `None` if there is no stream.
    async fn look(
        &self,
        stream: &LogStream,
        snapshots: &Snapshots,
        own: &Own,
    ) -> Result<Option<StreamState>, NotRecovered> {
        let (name, epoch, reached) = (|| stream.name().to_owned(), own.log.epoch, own.replica.place);
        let listed = snapshots.list().await?;
        let state = stream.look().await?;
        let founded = state.filter(|state| !state.is_unfounded());
        let other = match &founded {
            Some(state) => match newest_epoch(stream, state).await? {
                Some(newest) if newest == epoch => None,
                Some(newest) => Some(newest),
                None => return Err(NotRecovered::OtherLog(name())),
            },
            None => None,
        };
        if let Some(other) = other {
            let of_other = listed.iter().filter(|snapshot| snapshot.about.epoch == other);
            let from = of_other.filter_map(|snapshot| follows(&snapshot.about, epoch)).next();
            return Err(match from {
                Some(place) if place >= reached => NotRecovered::Already(name()),
                Some(place) => NotRecovered::Behind { place, own: reached },
                None => NotRecovered::OtherLog(name()),
            });
        }
        let gone_on = |about: &About| follows(about, epoch).is_some_and(|from| about.place > from);
        if let Some(snapshot) = listed.iter().find(|snapshot| gone_on(&snapshot.about)) {
            return Err(NotRecovered::Outdated(snapshot.about.place));
        }
        let Some(found) = founded else { return Ok(state) };
        let applied = self.store.producers()?;
        let applied = Arc::new(applied.into_iter().map(|(sender, newest)| (sender, newest.number)).collect());
        if let Some(place) = differs_at(stream, &found, epoch, reached, &Known::Applied(applied)).await? {
            return Err(NotRecovered::OtherHistory { stream: name(), place });
        }
        let StreamState { first, last, .. } = found;
        match (first <= reached + 1, last >= reached) {
            (true, true) => Err(NotRecovered::NotGone(name())),
            (_, false) => Ok(state),
            (false, true) => Err(NotRecovered::Hole { stream: name(), first, last, own: reached }),
        }
    }

    /// Makes sure that no node that runs has more of the log, or one that goes on from it.
    async fn listen(&self, connection: &Connection, own: &Own) -> Result<(), NotRecovered> {
        let place = own.replica.place;
        let is_none = |epoch: Epoch| epoch == Epoch::from_bytes([0; ID_BYTES]);
        let has_more = |Beat { position, .. }: &Beat| match position.epoch == own.log.epoch {
            true => position.place > place,
            false => !is_none(position.epoch),
        };
        match first_beat(connection, self.settings, LISTENING, has_more).await? {
            Some(Beat { name, position, .. }) if position.epoch == own.log.epoch => {
                Err(NotRecovered::Ahead { name, place: position.place, own: place })
            }
            Some(Beat { name, .. }) => Err(NotRecovered::OtherNode(name)),
            None => Ok(()),
        }
    }

    /// Uploads the state of this node as the beginning of a log of this epoch.
    async fn upload(&self, snapshots: &Snapshots, own: &Own, epoch: Epoch) -> Result<Snapshot, NotRecovered> {
        let file = self.folder.join(format!("{FILE}{}", own.replica.place));
        let (store, path) = (Arc::clone(self.store), file.clone());
        let written = spawn_blocking(move || write(&store, epoch, &path)).await;
        let written = written.map_err(|error| ExportError::Io(io::Error::other(error))).flatten();
        let uploaded = match written {
            Ok(about) => snapshots.upload(&file, about).await.map_err(|error| match error {
                TransferError::Trouble(trouble) => trouble.into(),
                error => NotRecovered::Snapshot(error.to_string()),
            }),
            Err(ExportError::Store(error)) => Err(error.into()),
            Err(error) => Err(NotRecovered::Snapshot(error.to_string())),
        };
        // It has what users may remove later. What is left is removed by the next start.
        let _ = tokio::fs::remove_file(&file).await;
        uploaded
    }

    /// Puts an empty stream for a log of this epoch in the place of the one that was found, if that is still as it was.
    async fn replace(
        &self,
        stream: &LogStream,
        found: Option<StreamState>,
        own: &Own,
        epoch: Epoch,
    ) -> Result<(), NotRecovered> {
        if patiently(async || Ok(stream.look().await?)).await? != found {
            return Err(NotRecovered::Changing(stream.name().to_owned()));
        }
        if found.is_some() {
            patiently(async || Ok(stream.delete().await?)).await?;
        }
        patiently(async || Ok(stream.create_successor(own.replica.place + 1, epoch).await?)).await
    }
}

/// Returns the place from which a log goes on from the one of this epoch. `None` if it is no successor of that.
fn follows(about: &About, epoch: Epoch) -> Option<u64> {
    about.follows.filter(|follows| follows.epoch == epoch).map(|follows| follows.place)
}

/// Writes the beginning of a log that goes on from that of a view, and checks that it can be read back.
fn write(store: &Store, epoch: Epoch, path: &PathBuf) -> Result<About, ExportError> {
    let view = store.read(Timestamp::default())?;
    view.export_successor(epoch, File::create(path).map_err(ExportError::Io)?)?;
    drop(view);
    let contents = export::check(path)?;
    let (log, replica) = contents.log.zip(contents.replica).ok_or(StoreError::NotAReplica)?;
    Ok(About::written(&log, &replica))
}

/// Does something that JetStream may not answer at once.
async fn patiently<T>(mut work: impl AsyncFnMut() -> Result<T, NotRecovered>) -> Result<T, NotRecovered> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match work().await {
            Err(NotRecovered::Trouble(Trouble::NoAnswer | Trouble::NotConnected { .. }))
                if Instant::now() < deadline =>
            {
                sleep(WAIT).await;
            }
            done => return done,
        }
    }
}
