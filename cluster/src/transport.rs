//! Publishing messages of the log.

use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use engine::command_log::transport::{MessageId, NotPublished, Transport};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::{sync::watch, time::timeout};

use crate::{connection::ACK_TIMEOUT, stream::LogStream, trouble::not_published};

/// Publishes messages of the log to its stream.
#[derive(Clone)]
pub struct NatsTransport {
    stream: LogStream,
    recognised: Option<watch::Receiver<bool>>,
}

impl NatsTransport {
    /// Publishes to this stream.
    pub fn new(stream: LogStream) -> Self {
        Self { stream, recognised: None }
    }

    /// Publishes only while a reader has found that the stream holds its log. Another log may be in it,
    /// whose nodes would have to skip the messages.
    #[must_use]
    pub fn while_recognised(self, recognised: watch::Receiver<bool>) -> Self {
        Self { recognised: Some(recognised), ..self }
    }

    /// Waits until the stream is recognised, for as long as an acknowledgement may take. Returns whether it is.
    async fn is_recognised(&self) -> bool {
        let Some(mut recognised) = self.recognised.clone() else { return true };
        timeout(ACK_TIMEOUT, recognised.wait_for(|is_recognised| *is_recognised))
            .await
            .is_ok_and(|found| found.is_ok())
    }

    async fn send(&self, id: MessageId, payload: Bytes) -> Result<(), NotPublished> {
        let connection = self.stream.connection();
        if connection.is_up() && !self.is_recognised().await {
            return Err(NotPublished::Unrecognised);
        }
        // Without a connection the message would wait in the client and go out much later, with a wrong uptime in it.
        if !connection.is_up() {
            return Err(NotPublished::NoAnswer);
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
        acknowledged.map(drop).map_err(|error| not_published(&error))
    }
}

impl Transport for NatsTransport {
    fn publish(&self, id: MessageId, payload: Bytes) -> BoxFuture<'_, Result<(), NotPublished>> {
        self.send(id, payload).boxed()
    }
}
