//! Publishing messages of the log.

use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use engine::command_log::transport::{MessageId, NotPublished, Transport};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::{sync::watch, time::timeout};

use crate::{stream::LogStream, trouble::not_published};

/// How long a message waits until it is known whether the stream is the one that is read: some round trips of a slow
/// network. The reader tells sooner what is wrong with it.
const RECOGNISED_WITHIN: Duration = Duration::from_secs(10);

/// Publishes messages of the log to its stream.
#[derive(Clone)]
pub struct NatsTransport {
    stream: LogStream,
    /// As which of its connections this node recognised the stream as the one that it reads. `None` while it does not read
    /// it.
    recognised: Option<watch::Receiver<Option<u64>>>,
}

impl NatsTransport {
    /// Publishes to this stream, whatever is in it.
    pub fn new(stream: LogStream) -> Self {
        Self { stream, recognised: None }
    }

    /// Publishes to this stream while its reader reads it.
    pub(crate) fn beside(stream: LogStream, recognised: watch::Receiver<Option<u64>>) -> Self {
        Self { stream, recognised: Some(recognised) }
    }

    async fn send(&self, id: MessageId, payload: Bytes) -> Result<(), NotPublished> {
        let connection = self.stream.connection();
        // Without a connection the message would wait in the client and go out much later, with a wrong uptime in it.
        if !connection.is_up() {
            return Err(NotPublished::NoAnswer);
        }
        // Servers that were started again may have lost the end of the stream. What is published then takes the places of
        // what is lost.
        if let Some(recognised) = &self.recognised {
            let mut recognised = recognised.clone();
            let read = recognised.wait_for(|connects| *connects == Some(connection.connects()));
            if !matches!(timeout(RECOGNISED_WITHIN, read).await, Ok(Ok(_))) {
                return Err(NotPublished::NotRead);
            }
        }
        let message = PublishMessage::build()
            .payload(payload)
            .message_id(id.to_string())
            .expected_stream(self.stream.name());
        let sent = connection.publishing().send_publish(self.stream.subject().to_owned(), message).await;
        let acknowledged = match sent {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        let published = acknowledged.map(drop).map_err(|error| not_published(&error));
        if published == Err(NotPublished::Full) {
            self.stream.ask_for_room().await;
        }
        published
    }
}

impl Transport for NatsTransport {
    fn publish(&self, id: MessageId, payload: Bytes) -> BoxFuture<'_, Result<(), NotPublished>> {
        self.send(id, payload).boxed()
    }
}
