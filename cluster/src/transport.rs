//! Publishing messages of the log.

use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use engine::command_log::transport::{MessageId, NotPublished, Transport};
use futures_util::{FutureExt, future::BoxFuture};

use crate::{stream::LogStream, trouble::not_published};

/// Publishes messages of the log to its stream.
#[derive(Clone)]
pub struct NatsTransport(LogStream);

impl NatsTransport {
    /// Publishes to this stream.
    pub fn new(stream: LogStream) -> Self {
        Self(stream)
    }

    async fn send(&self, id: MessageId, payload: Bytes) -> Result<(), NotPublished> {
        let connection = self.0.connection();
        // Without a connection the message would wait in the client and go out much later, with a wrong uptime in it.
        if !connection.is_up() {
            return Err(NotPublished::NoAnswer);
        }
        self.0.takes_messages().await?;
        let message = PublishMessage::build()
            .payload(payload)
            .message_id(id.to_string())
            .expected_stream(self.0.name());
        let sent = connection.publishing().send_publish(self.0.subject().to_owned(), message).await;
        let acknowledged = match sent {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        let published = acknowledged.map(drop).map_err(|error| not_published(&error));
        if published == Err(NotPublished::Full) {
            self.0.ask_for_room().await;
        }
        published
    }
}

impl Transport for NatsTransport {
    fn publish(&self, id: MessageId, payload: Bytes) -> BoxFuture<'_, Result<(), NotPublished>> {
        self.send(id, payload).boxed()
    }
}
