//! What the servers take when nothing is decided, stored or answered: with one message for each post, as a log without
//! batches would publish them, and with many posts in each.

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

/// How posts are published.
#[derive(Clone, Copy)]
pub(crate) struct Publishing {
    /// The number of nodes that do.
    pub(crate) nodes: usize,
    /// The number of messages that each has in flight.
    pub(crate) in_flight: usize,
    /// The number of posts in each message.
    pub(crate) posts: u32,
    pub(crate) duration: Duration,
}

/// Publishes posts. Returns how many were acknowledged in a second.
pub(crate) async fn rate(
    servers: &Servers,
    log: &str,
    Publishing { nodes, in_flight, posts, duration }: Publishing,
) -> Result<f64, Box<dyn Error>> {
    let mut publishers = Vec::new();
    for _ in 0..nodes {
        // A new one each time, or the servers would take the messages for those of before, and not store them.
        let from = Incarnation::from_bytes(rand::random());
        for first in (0..in_flight).step_by(A_CONNECTION) {
            let stream = LogStream::new(servers.connect(log).await?, &servers.settings(log)?);
            stream.open().await?;
            let transport = NatsTransport::new(stream);
            publishers.push((from, transport, A_CONNECTION.min(in_flight - first)));
        }
    }
    let (until, number) = (Instant::now() + duration, Cell::new(0));
    let began = Instant::now();
    let publishing = publishers.iter().flat_map(|(from, transport, at_once)| {
        (0..*at_once).map(|_| publish(*from, transport, posts, &number, until))
    });
    let published: u32 = try_join_all(publishing).await?.iter().sum();
    Ok(f64::from(published) / began.elapsed().as_secs_f64())
}

/// Publishes one message after the other. Returns the number of posts in them.
async fn publish(
    from: Incarnation,
    transport: &NatsTransport,
    posts: u32,
    next: &Cell<u32>,
    until: Instant,
) -> Result<u32, Box<dyn Error>> {
    let mut published = 0;
    while Instant::now() < until {
        next.set(next.get() + 1);
        let number = u64::from(next.get());
        let proposals = (0..posts).map(post).collect::<Result<_, _>>()?;
        let content = Content::Proposals(proposals);
        let envelope = Envelope { from, number, uptime_millis: number, content };
        let payload = encode(Epoch::from_bytes([4; ID_BYTES]), &envelope)?;
        transport.publish(MessageId { from, number }, payload).await?;
        published += posts;
    }
    Ok(published)
}

fn post(number: u32) -> io::Result<Proposal> {
    let command = Command::Post {
        chat: ChatId::from_bytes([1; ID_BYTES]),
        client_id: ClientId::from_bytes([2; ID_BYTES]),
        body: Body::parse(&body(number)).map_err(|problem| io::Error::other(format!("{problem:?}")))?,
        waited_millis: 0,
    };
    Ok(Proposal::Command { by: UserId::from_bytes([3; ID_BYTES]), command })
}
