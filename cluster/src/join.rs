//! The first thing that a node does: it finds the log, or founds it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use domain::{Epoch, id::ID_BYTES};
use engine::{
    command_log::{
        envelope::{self, Content, Decoded, Envelope, Founding, encode},
        transport::{Incarnation, MessageId},
    },
    nodes::message::{Beat, Message},
};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use crate::{
    connection::Connection,
    settings::NatsSettings,
    snapshots::Snapshots,
    stream::{Founded, LogStream, StreamState},
    trouble::Trouble,
};

/// How long a node listens to others, each of which beats once a second, before it founds a log.
const LISTENING: Duration = Duration::from_secs(2);
/// The number of messages at either end of the stream that are looked at to know which log it is. Those of others are
/// skipped.
const RECOGNISED_BY: u64 = 16;

/// A log that a node founds if there is none.
#[derive(Debug, Clone, Copy)]
pub struct Founder {
    /// The node.
    pub me: Incarnation,
    /// How long it has been running, in milliseconds.
    pub uptime_millis: u64,
    /// The epoch of the log.
    pub epoch: Epoch,
    /// How it begins.
    pub founding: Founding,
}

/// The log of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// Its epoch.
    pub epoch: Epoch,
    /// How it began. `None` if that is not in the stream any more: a snapshot has what came of it.
    pub founding: Option<Founding>,
    /// Whether this node founded it, with its message number 1.
    pub is_founder: bool,
    /// What was in the stream just now.
    pub stream: StreamState,
}

/// Finds the log, or founds it.
///
/// # Errors
/// What keeps it from it: [`Trouble::Emptied`] if the founder has nothing, and there are snapshots of a log. It may be called
/// again, with the same founder.
pub async fn try_join(
    stream: &LogStream,
    snapshots: &Snapshots,
    founder: &Founder,
) -> Result<Joined, Trouble> {
    if founder.founding.base.is_none() {
        refuse_if_emptied(stream, snapshots).await?;
    }
    let mut state = stream.open().await?;
    let mut is_founder = false;
    if state.is_unfounded() {
        let id = MessageId { from: founder.me, number: 1 };
        is_founder = stream.found(&state, id, first_message(founder)?).await? == Founded::Here;
        state = stream.look().await?.ok_or(Trouble::NoAnswer)?;
    }
    let epoch = match newest_epoch(stream, &state).await? {
        Some(epoch) => epoch,
        // All of it was purged, which is only done after a snapshot of its end.
        None => {
            let mut listed = snapshots.list().await?.into_iter();
            let newest = listed.find(|snapshot| snapshot.about.place == state.last);
            newest.map(|snapshot| snapshot.about.epoch).ok_or_else(|| Trouble::Hole {
                stream: stream.name().to_owned(),
                first: state.first,
                reached: 0,
            })?
        }
    };
    let founding = founding(stream, &state, epoch).await?;
    Ok(Joined { epoch, founding, is_founder, stream: state })
}

/// Makes sure that no node beats that has a log, before one is founded that has nothing of it: the stream has been lost
/// then. Takes two seconds if there is none.
///
/// # Errors
/// [`Trouble::Lost`] if there is one, or [`Trouble`] if NATS cannot be reached.
pub async fn check_that_nobody_has_a_log(stream: &LogStream, settings: &NatsSettings) -> Result<(), Trouble> {
    // Of several the same is named each time, since it is told anew whenever it changes.
    let first = Mutex::new(None);
    let note = |beat: &Beat| {
        if beat.position.epoch != Epoch::from_bytes([0; ID_BYTES]) {
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            let name =
                first.take().map_or_else(|| beat.name.clone(), |name: String| name.min(beat.name.clone()));
            *first = Some(name);
        }
        false
    };
    first_beat(stream.connection(), settings, LISTENING, note).await?;
    if stream.look().await?.is_some_and(|state| !state.is_unfounded()) {
        // It has been founded meanwhile, maybe by the node that beats.
        return Ok(());
    }
    match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(name) => Err(Trouble::Lost { stream: stream.name().to_owned(), name }),
        None => Ok(()),
    }
}

/// Refuses to found a log with nothing where there are snapshots of one: the stream was lost, and other nodes have what was
/// in it.
async fn refuse_if_emptied(stream: &LogStream, snapshots: &Snapshots) -> Result<(), Trouble> {
    if stream.look().await?.is_some_and(|state| !state.is_unfounded()) {
        return Ok(());
    }
    match snapshots.list().await?.first() {
        Some(newest) => Err(Trouble::Emptied { stream: stream.name().to_owned(), place: newest.about.place }),
        None => Ok(()),
    }
}

/// Listens to the nodes that beat, and returns the first beat that is wanted. `None` if none comes in that time.
pub(crate) async fn first_beat(
    connection: &Connection,
    settings: &NatsSettings,
    listening: Duration,
    is_wanted: impl Fn(&Beat) -> bool,
) -> Result<Option<Beat>, Trouble> {
    let subscribed = connection.client().subscribe(settings.name.ephemeral("beat")).await;
    let mut beats = subscribed.map_err(|_| connection.silence())?;
    let deadline = Instant::now() + listening;
    while let Ok(Some(message)) = timeout_at(deadline, beats.next()).await {
        match Message::decode(&message.payload) {
            Ok(Message::Beat(beat)) if is_wanted(&beat) => return Ok(Some(beat)),
            _ => {}
        }
    }
    Ok(None)
}

fn first_message(founder: &Founder) -> Result<Bytes, Trouble> {
    let Founder { me, uptime_millis, epoch, founding } = *founder;
    let envelope = Envelope { from: me, number: 1, uptime_millis, content: Content::Founded(founding) };
    encode(epoch, &envelope).map_err(|error| Trouble::Refused(error.to_string()))
}

/// Returns the epoch of the log that a stream was made for, or else of its newest message. `None` if there is none near the
/// end.
pub(crate) async fn newest_epoch(stream: &LogStream, state: &StreamState) -> Result<Option<Epoch>, Trouble> {
    if state.epoch.is_some() {
        return Ok(state.epoch);
    }
    let oldest = state.first.max(state.last.saturating_sub(RECOGNISED_BY - 1));
    for place in (oldest..=state.last).rev() {
        let message = stream.message(place).await?;
        if let Some(epoch) = message.and_then(|message| envelope::epoch(&message)) {
            return Ok(Some(epoch));
        }
    }
    Ok(None)
}

/// Returns how the log of an epoch began. `None` if that was purged.
async fn founding(
    stream: &LogStream,
    state: &StreamState,
    epoch: Epoch,
) -> Result<Option<Founding>, Trouble> {
    for place in state.begins..state.begins + RECOGNISED_BY {
        if !(state.first..=state.last).contains(&place) {
            break;
        }
        let Some(message) = stream.message(place).await? else { break };
        // A founding of a format that this node does not know is not found: the log halts before it, and says why.
        if let Ok(Decoded::Envelope(Envelope { content: Content::Founded(founding), .. })) =
            envelope::decode(epoch, &message)
        {
            return Ok(Some(founding));
        }
    }
    Ok(None)
}
