//! What a log without batches would get: one message in NATS for each post.

use std::{
    cell::Cell,
    error::Error,
    io,
    time::{Duration, Instant},
};

use cluster::{stream::LogStream, transport::NatsTransport};
use domain::{Body, ChatId, ClientId, Command, Epoch, Proposal, UserId, id::ID_BYTES};
use engine::command_log::{
    envelope::{Content, Envelope, encode},
    transport::{Incarnation, MessageId, Transport},
};
use futures_util::future::try_join_all;

use super::servers::Servers;
use crate::target::body;

/// The number of messages that one connection has in flight at most.
const A_CONNECTION: usize = 16;

/// Publishes messages with one post each, as `nodes` nodes with `in_flight` messages in flight each, for `duration`.
/// Returns how many were acknowledged in a second. Nothing else is done: no post is decided, stored or answered.
pub(crate) async fn rate(
    servers: &Servers,
    log: &str,
    nodes: usize,
    in_flight: usize,
    duration: Duration,
) -> Result<f64, Box<dyn Error>> {
    let mut publishers = Vec::new();
    for node in 0..nodes {
        let from = Incarnation::from_bytes([node as u8; ID_BYTES]);
        for first in (0..in_flight).step_by(A_CONNECTION) {
            let stream = LogStream::new(servers.connect(log).await?, &servers.settings(log)?);
            stream.open().await?;
            let transport = NatsTransport::new(stream);
            publishers.push((from, transport, A_CONNECTION.min(in_flight - first)));
        }
    }
    let (began, number) = (Instant::now(), Cell::new(0));
    let publishing = publishers.iter().flat_map(|(from, transport, at_once)| {
        (0..*at_once).map(|_| publish(*from, transport, &number, began, duration))
    });
    let published: u32 = try_join_all(publishing).await?.iter().sum();
    Ok(f64::from(published) / began.elapsed().as_secs_f64())
}

/// Publishes one message after the other. Returns how many.
async fn publish(
    from: Incarnation,
    transport: &NatsTransport,
    next: &Cell<u32>,
    began: Instant,
    duration: Duration,
) -> Result<u32, Box<dyn Error>> {
    let mut published = 0;
    while began.elapsed() < duration {
        next.set(next.get() + 1);
        let number = u64::from(next.get());
        let command = Command::Post {
            chat: ChatId::from_bytes([1; ID_BYTES]),
            client_id: ClientId::from_bytes([2; ID_BYTES]),
            body: Body::parse(&body(next.get()))
                .map_err(|problem| io::Error::other(format!("{problem:?}")))?,
            waited_millis: 0,
        };
        let by = UserId::from_bytes([3; ID_BYTES]);
        let content = Content::Proposals(vec![Proposal::Command { by, command }]);
        let envelope = Envelope { from, number, uptime_millis: number, content };
        let payload = encode(Epoch::from_bytes([4; ID_BYTES]), &envelope)?;
        transport.publish(MessageId { from, number }, payload).await?;
        published += 1;
    }
    Ok(published)
}
