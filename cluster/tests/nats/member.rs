//! A node of a cluster with everything but its pages: its log, who is online, and what it does for all.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc, thread, time::Duration};

use cluster::{
    ephemeral::{Ephemeral, EphemeralParts},
    join::Founder,
    reader::{Reader, Start},
    snapshots::{
        Snapshots,
        maker::{Made, MakerParts, SnapshotMaker},
    },
    stream::LogStream,
};
use domain::{
    Body, ChatId, Command, LogClock, LogSettings, Proposal, Rules, Seq, Timestamp, User, UserId, Visibility,
    id::ID_BYTES,
};
use engine::{
    change_dispatcher::ChangeDispatcher,
    clock::{self, ReplicaClock},
    command_log::{
        Outcome, Sequencer,
        envelope::{FORMAT, Founding},
        replicated::{self, Opening},
        status::{self, Part, StatusReceiver},
        transport::{Incarnation, StreamEnd},
    },
    fanout::Fanout,
    lobby::Lobby,
    metrics::ReplicationMetrics,
    nodes::{members::Standing, message::Versions},
    presence::{GRACE, MemberGuard, NodeId, OnlineGuard, Presence},
    progress::Progress,
    random,
    storage::{LogState, ReplicaState, Store},
    writer::{Writer, WriterHealth},
};
use nats_fixture::Nats;
use tempfile::TempDir;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use crate::support::{connect, join, settings, until, within};

pub(crate) const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
/// An interval between snapshots after which no test waits.
pub(crate) const NEVER: Duration = Duration::from_secs(3_600);

/// A node. It is killed when it is dropped: nobody is told.
pub(crate) struct Member {
    pub(crate) me: Incarnation,
    pub(crate) stream: LogStream,
    pub(crate) snapshots: Snapshots,
    pub(crate) store: Arc<Store>,
    pub(crate) ephemeral: Arc<Ephemeral>,
    pub(crate) duty: watch::Receiver<bool>,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) made: watch::Receiver<Made>,
    pub(crate) status: StatusReceiver,
    presence: Arc<Presence>,
    sequencer: Arc<dyn Sequencer>,
    tasks: Vec<JoinHandle<()>>,
    /// Where it makes snapshots. It cannot if this is removed.
    pub(crate) for_snapshots: PathBuf,
    _folder: TempDir,
}

/// A page that is open in the chat.
pub(crate) struct Page {
    _online: OnlineGuard,
    _member: MemberGuard,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

pub(crate) fn user(number: u8) -> UserId {
    UserId::from_bytes([number; ID_BYTES])
}

impl Member {
    /// Starts a node of this name, and waits until it reads the log.
    pub(crate) async fn start(nats: &Nats, name: &str, interval: Duration) -> Self {
        let mut settings = settings(nats);
        settings.node = name.to_owned();
        let connection = connect(&settings).await;
        let stream = LogStream::new(connection.clone(), &settings);
        let snapshots = Snapshots::new(connection.clone(), &settings);
        let (sender, mut status) = status::channel();
        let founding = Founding {
            settings: LogSettings::default(),
            seq: Seq::ZERO,
            at: Timestamp::default(),
            base: None,
            clock_offset: 0,
        };
        let me = Incarnation::from_bytes(random::bytes().unwrap());
        let founder = Founder { me, uptime_millis: 0, epoch: random::epoch().unwrap(), founding };
        let joined = join(&stream, &snapshots, &founder).await;

        let folder = TempDir::new().unwrap();
        let path = folder.path().join("qchat.redb");
        let store = Arc::new(Store::open_replica(&path).unwrap());
        match joined.founding {
            Some(founding) => {
                let log = LogState { epoch: joined.epoch, seq: Seq::ZERO, at: founding.at };
                let begins = joined.stream.begins - 1;
                let state = ReplicaState::beginning(begins, founding.settings, LogClock::default());
                store.begin_replica(Some(&path), log, &state).unwrap();
            }
            // Its beginning was purged, so there is a snapshot.
            None => {
                let loaded = snapshots
                    .load_newest(joined.epoch, (Rules::OLDEST, Rules::NEWEST), &store, folder.path())
                    .await
                    .unwrap();
                assert_eq!(loaded.map(|about| about.epoch), Some(joined.epoch));
            }
        }
        let end = StreamEnd::at(joined.stream.last);
        let applied = store.producers().unwrap().into_iter();
        let (reader, deliveries) = Reader::new(Start {
            stream: stream.clone(),
            snapshots: snapshots.clone(),
            folder: folder.path().to_owned(),
            epoch: joined.epoch,
            reached: store.replica().unwrap().unwrap().place,
            rules: (Rules::OLDEST, Rules::NEWEST),
            applied: applied.map(|(sender, newest)| (sender, newest.number)).collect(),
            end: end.clone(),
            status: sender.clone(),
        })
        .await;
        let newest = store.replica().unwrap().unwrap().clock.last();
        let opening = Opening {
            me,
            published: u64::from(joined.is_founder),
            transport: reader.transport(),
            deliveries,
            end,
            rules: (Rules::OLDEST, Rules::NEWEST),
            checkpoint_after: Duration::from_millis(500),
            clock: Arc::new(ReplicaClock::new(newest, clock::uptime(), clock::system())),
            status: sender.clone(),
            metrics: ReplicationMetrics::default(),
        };
        let (sequencer, log, batcher) = replicated::open(&store, opening).unwrap();
        let clock = clock::system();
        let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, Arc::clone(&clock)));
        let chats = store.read(clock()).unwrap().chats().unwrap();
        let lobby = Lobby::new(chats, Arc::clone(&presence), store.lifetimes(), clock, usize::MAX);
        let lobby = Arc::new(lobby);
        let dispatcher = ChangeDispatcher {
            store: Arc::clone(&store),
            fanout: Arc::new(Fanout::new(1)),
            presence: Arc::clone(&presence),
            lobby: Arc::clone(&lobby),
            pictures: Arc::new(engine::pictures::Pictures::off()),
            progress: Arc::new(Progress::new(Seq::ZERO)),
            steady: None,
        };
        let health = Arc::new(WriterHealth::default());
        let writer = Writer::new(log, Arc::clone(&store), dispatcher, health, Arc::default());
        // It ends when the reader is dropped.
        thread::spawn(|| writer.run());

        let duty = watch::Sender::new(false);
        let on_duty = duty.subscribe();
        let for_snapshots = folder.path().join("made");
        fs::create_dir(&for_snapshots).unwrap();
        let maker = SnapshotMaker::new(MakerParts {
            stream: stream.clone(),
            snapshots: snapshots.clone(),
            store: Arc::clone(&store),
            duty: on_duty.clone(),
            folder: for_snapshots.clone(),
            interval,
        });
        let parts = EphemeralParts {
            me,
            versions: Versions { formats: (FORMAT, FORMAT), rules: (Rules::OLDEST, Rules::NEWEST) },
            presence: Arc::clone(&presence),
            store: Arc::clone(&store),
            lobby: Arc::clone(&lobby),
            status: sender,
            resigned: maker.resigned(),
            duty,
        };
        let ephemeral = Arc::new(Ephemeral::new(connection, &settings, parts));
        let made = maker.made();
        let (telling, standing) = (Arc::clone(&ephemeral), ephemeral.standing());
        let present = Arc::clone(&presence);
        let tasks = vec![
            // The first, which ends when the node says goodbye.
            tokio::spawn(async move { telling.run().await }),
            tokio::spawn(async move {
                tokio::select! {
                    () = reader.run() => {}
                    () = reader.mend(standing) => {}
                }
            }),
            tokio::spawn(async move { batcher.run().await }),
            tokio::spawn(async move { maker.run().await }),
            tokio::spawn(async move { present.run().await }),
            tokio::spawn(async move { lobby.run().await }),
        ];
        // Its place among the others may keep it from being ready.
        while [Part::Stream, Part::Applier].iter().any(|part| !status.of(*part).is_ready()) {
            within(status.changed()).await;
        }
        Self {
            me,
            stream,
            snapshots,
            store,
            standing: ephemeral.standing(),
            ephemeral,
            duty: on_duty,
            made,
            status,
            presence,
            sequencer: Arc::new(sequencer),
            tasks,
            for_snapshots,
            _folder: folder,
        }
    }

    /// Starts nodes, and waits until each has met all others.
    pub(crate) async fn start_all(nats: &Nats, names: &[&str], interval: Duration) -> Vec<Self> {
        let mut members = Vec::new();
        for name in names {
            members.push(Self::start(nats, name, interval).await);
        }
        for member in &mut members {
            member.knows(names.len()).await;
        }
        members
    }

    /// Waits until it knows so many nodes, itself included.
    pub(crate) async fn knows(&mut self, count: usize) {
        within(self.standing.wait_for(|standing| standing.members == count)).await.unwrap();
    }

    /// Says goodbye, as a node does that stops in order, and ends.
    pub(crate) async fn leave(self) {
        self.tasks[0].abort();
        self.ephemeral.leave().await;
    }

    /// Executes a command of a user, and waits until it is applied here.
    pub(crate) async fn execute(&self, by: u8, command: Command) -> Outcome {
        let proposal = Proposal::Command { by: user(by), command };
        let outcome = within(self.sequencer.propose(proposal)).await.unwrap();
        within(outcome).await.unwrap()
    }

    /// Starts the chat. Its owner is user 1.
    pub(crate) async fn start_chat(&self) {
        let start = Command::StartChat { chat: CHAT, title: None, visibility: Visibility::Public };
        self.execute(1, start).await.unwrap();
    }

    /// Posts a text as user 1. Returns its sequence number.
    pub(crate) async fn post(&self, text: &str) -> Seq {
        let (client_id, body) = (random::client_id().unwrap(), Body::parse(text).unwrap());
        let post = Command::Post { chat: CHAT, client_id, body, waited_millis: 0 };
        self.execute(1, post).await.unwrap()
    }

    /// Removes a message of user 1.
    pub(crate) async fn remove(&self, message: Seq) {
        self.execute(1, Command::RemoveMessage { chat: CHAT, message }).await.unwrap();
    }

    /// Opens a page of a user in the chat.
    pub(crate) fn open(&self, number: u8) -> Page {
        let wake = || Arc::new(Notify::new());
        Page {
            _online: self.presence.arrive(user(number), wake()),
            _member: self.presence.join(CHAT, User::new(user(number)), wake()),
        }
    }

    /// Returns the members of the chat, and the number of users who are online.
    pub(crate) fn shows(&self) -> (BTreeSet<UserId>, usize) {
        let roster = self.presence.roster(CHAT);
        (roster.members.iter().map(|member| member.id).collect(), self.presence.people())
    }

    /// Waits until it shows these users as members of the chat and online, and nobody else.
    pub(crate) async fn shows_only(&self, users: &[u8]) {
        let expected: BTreeSet<_> = users.iter().map(|number| user(*number)).collect();
        let expected = (expected, users.len());
        until(async || (self.shows() == expected).then_some(())).await;
    }

    /// Returns the place that it has applied.
    pub(crate) fn place(&self) -> u64 {
        self.store.replica().unwrap().unwrap().place
    }

    /// Returns all that is in its database.
    pub(crate) fn export(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.store.read(Timestamp::default()).unwrap().export(&mut bytes).unwrap();
        bytes
    }
}
