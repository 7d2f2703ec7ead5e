//! A node as far as this crate goes: it publishes, and reads.

use std::{collections::HashMap, ops::Range, time::Duration};

use bytes::Bytes;
use cluster::{
    Connection, NatsSettings,
    join::{Founder, Joined, try_join},
    reader::{Reader, Seen, Start},
    snapshots::Snapshots,
    stream::LogStream,
    transport::NatsTransport,
};
use domain::{Epoch, Rules};
use engine::{
    command_log::{
        envelope::{Content, Decoded, Envelope, decode, encode, epoch},
        status::{self, LogStatus, Part, StatusReceiver, StatusSender},
        transport::{Delivery, Incarnation, MessageId, NotPublished, StreamEnd, Transport},
    },
    nodes::members::Standing,
};
use nats_fixture::Nats;
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// How long something may take on a busy machine before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// The time between two attempts.
const BETWEEN: Duration = Duration::from_millis(50);
/// The epoch of the log of the tests.
pub(crate) const EPOCH: Epoch = Epoch::from_bytes([7; 10]);
/// The node that publishes.
pub(crate) const NODE: Incarnation = Incarnation::from_bytes([1; 10]);

/// Returns settings for servers.
pub(crate) fn settings(nats: &Nats) -> NatsSettings {
    let urls = nats.urls();
    let mut settings = NatsSettings::of(urls.join(",").parse().unwrap());
    settings.max_log_bytes = Some(64 << 20);
    settings
}

/// Connects.
pub(crate) async fn connect(settings: &NatsSettings) -> Connection {
    let connection = Connection::open(settings).await.unwrap();
    within(connection.connected()).await;
    connection
}

/// Awaits something that has to happen.
pub(crate) async fn within<T>(happens: impl Future<Output = T>) -> T {
    timeout(PATIENCE, happens).await.unwrap()
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "it does not happen");
        sleep(BETWEEN).await;
    }
}

/// Finds the log, or founds it, as soon as that works.
pub(crate) async fn join(stream: &LogStream, snapshots: &Snapshots, founder: &Founder) -> Joined {
    stream.connection().settled().await;
    until(async || try_join(stream, snapshots, founder).await.ok()).await
}

/// Returns a message of a log that has a number in it.
pub(crate) fn message_of(epoch: Epoch, number: u64) -> Bytes {
    let content = Content::Proposals(Vec::new());
    encode(epoch, &Envelope { from: NODE, number, uptime_millis: 0, content }).unwrap()
}

/// Returns a message of the log of the tests.
pub(crate) fn message(number: u64) -> Bytes {
    message_of(EPOCH, number)
}

/// Returns the number in a message.
pub(crate) fn number(message: &[u8]) -> u64 {
    match decode(epoch(message).unwrap(), message) {
        Ok(Decoded::Envelope(envelope)) => envelope.number,
        other => panic!("{other:?}"),
    }
}

/// A node that publishes and reads.
pub(crate) struct Node {
    pub(crate) settings: NatsSettings,
    pub(crate) stream: LogStream,
    pub(crate) snapshots: Snapshots,
    pub(crate) transport: NatsTransport,
    pub(crate) folder: TempDir,
}

/// A reader that runs. It ends when it is dropped.
pub(crate) struct Running {
    pub(crate) deliveries: mpsc::Receiver<Delivery>,
    pub(crate) seen: watch::Receiver<Seen>,
    /// What the reader is told of this node among the others.
    pub(crate) standing: watch::Sender<Standing>,
    /// How far the stream goes, as far as the reader knows.
    pub(crate) end: StreamEnd,
    /// What publishes beside the reader.
    pub(crate) transport: NatsTransport,
    /// How the log is doing.
    pub(crate) told: StatusSender,
    status: StatusReceiver,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Node {
    /// Connects and waits until the stream is there.
    pub(crate) async fn join(nats: &Nats) -> Self {
        Self::with(settings(nats)).await
    }

    /// As [`Node::join`], with these settings.
    pub(crate) async fn with(settings: NatsSettings) -> Self {
        let connection = connect(&settings).await;
        let stream = LogStream::new(connection.clone(), &settings);
        until(async || stream.open().await.ok()).await;
        Self {
            snapshots: Snapshots::new(connection, &settings),
            transport: NatsTransport::new(stream.clone()),
            stream,
            folder: TempDir::new().unwrap(),
            settings,
        }
    }

    /// Publishes a message once.
    pub(crate) async fn try_publish(&self, number: u64) -> Result<(), NotPublished> {
        self.transport.publish(MessageId { from: NODE, number }, message(number)).await
    }

    /// Publishes a message again and again until it is acknowledged, as the log does.
    pub(crate) async fn publish(&self, number: u64) {
        let again_and_again = async {
            while self.try_publish(number).await.is_err() {
                sleep(BETWEEN).await;
            }
        };
        within(again_and_again).await;
    }

    /// Publishes messages one after the other.
    pub(crate) async fn publish_all(&self, numbers: Range<u64>) {
        for number in numbers {
            self.publish(number).await;
        }
    }

    /// Begins to read after a place.
    pub(crate) async fn read_after(&self, reached: u64) -> Running {
        let (sender, status) = status::channel();
        let end = StreamEnd::default();
        let (reader, deliveries) = Reader::new(Start {
            stream: self.stream.clone(),
            snapshots: self.snapshots.clone(),
            folder: self.folder.path().to_owned(),
            epoch: EPOCH,
            reached,
            rules: (Rules::OLDEST, Rules::NEWEST),
            applied: HashMap::from([(NODE, reached)]),
            end: end.clone(),
            status: sender.clone(),
        })
        .await;
        let seen = reader.seen();
        let standing = watch::Sender::default();
        let (told, transport) = (standing.subscribe(), reader.transport());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = reader.run() => {}
                () = reader.mend(told) => {}
            }
        });
        Running { deliveries, seen, standing, end, transport, told: sender, status, task }
    }
}

impl Running {
    /// Waits for what is read next.
    pub(crate) async fn next(&mut self) -> Delivery {
        within(self.deliveries.recv()).await.unwrap()
    }

    /// Waits for the next message, and returns its place and the number in it.
    pub(crate) async fn next_message(&mut self) -> (u64, u64) {
        match self.next().await {
            Delivery::Message { place, payload, .. } => (place, number(&payload)),
            Delivery::Replace { .. } => panic!("a snapshot"),
        }
    }

    /// Waits for messages, and asserts that they come in their order from a place on, with this number first.
    pub(crate) async fn expect(&mut self, place: u64, numbers: Range<u64>) {
        for (place, number) in (place..).zip(numbers) {
            assert_eq!(self.next_message().await, (place, number));
        }
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) {
        (&mut self.task).await.unwrap();
    }

    /// Waits until a part has this status.
    pub(crate) async fn until_part(&mut self, part: Part, is_it: impl Fn(&LogStatus) -> bool) -> LogStatus {
        loop {
            let status = self.status.of(part);
            if is_it(&status) {
                return status;
            }
            within(self.status.changed()).await;
        }
    }

    /// Waits until it has this status.
    async fn until(&mut self, is_it: impl Fn(&LogStatus) -> bool) -> LogStatus {
        self.until_part(Part::Stream, is_it).await
    }

    /// Waits until it reads.
    pub(crate) async fn reads(&mut self) {
        self.until(|status| *status == LogStatus::Well).await;
    }

    /// Waits until it does not read, and returns the line for the operator.
    pub(crate) async fn complaint(&mut self) -> String {
        self.until(|status| matches!(status, LogStatus::Trouble(_))).await.to_string()
    }

    /// Waits until it has said this to the operator.
    pub(crate) async fn until_it_says(&mut self, line: &str) {
        self.until(|status| status.to_string() == line).await;
    }
}
