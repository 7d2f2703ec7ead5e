//! Events encoded as WebSocket frames, alone and in batches: the same bytes are written to all subscribers.

use bytes::Bytes;
use domain::{Event, Seq, frame::ServerFrame};

use crate::websocket_frame;

/// An event encoded as a WebSocket frame.
#[derive(Debug, Clone)]
pub struct EncodedEvent {
    /// The sequence number of the event.
    pub seq: Seq,
    /// The sequence number of the event before it in the same chat.
    pub prev: Seq,
    /// The encoded frame.
    pub frame: Bytes,
}

impl EncodedEvent {
    /// Encodes an event. Returns `None` if it cannot be written as JSON, which is not known to happen for any event.
    pub fn new(event: &Event) -> Option<Self> {
        let frame = websocket_frame::encode(&ServerFrame::Event(event.clone()))?;
        Some(Self { seq: event.seq, prev: event.prev, frame })
    }
}

/// Consecutive events of a chat, without a gap, as bytes.
#[derive(Debug, Clone)]
pub struct EventBatch {
    /// The sequence number of the event before the first one.
    pub(super) prev: Seq,
    /// The sequence number of each event, and the offset in `frames` at which its frame ends.
    pub(super) ends: Vec<(Seq, usize)>,
    frames: Bytes,
}

impl EventBatch {
    /// Joins consecutive events. Returns `None` if there are none.
    pub fn of(events: &[EncodedEvent]) -> Option<Self> {
        let prev = events.first()?.prev;
        let mut end = 0;
        let ends = events.iter().map(|event| {
            end += event.frame.len();
            (event.seq, end)
        });
        let ends = ends.collect();
        let frames = match events {
            [only] => only.frame.clone(),
            several => {
                let mut frames = Vec::with_capacity(end);
                several.iter().for_each(|event| frames.extend_from_slice(&event.frame));
                frames.into()
            }
        };
        Some(Self { prev, ends, frames })
    }

    /// Returns the sequence number of the newest event.
    pub fn last(&self) -> Seq {
        self.ends.last().map_or(self.prev, |(seq, _)| *seq)
    }

    /// Returns the number of events after `cursor`.
    pub(super) fn count_after(&self, cursor: Seq) -> usize {
        self.ends.len() - self.ends.partition_point(|(seq, _)| *seq <= cursor)
    }

    /// Returns the frames of all events.
    pub fn frames(&self) -> &Bytes {
        &self.frames
    }

    /// Returns the frames of the events after `cursor`. Returns `None` if the cursor is not at an event of this batch
    /// or at the one before it, in which case events between them may be missing, or if there are no newer events.
    pub fn after(&self, cursor: Seq) -> Option<Bytes> {
        if cursor == self.prev {
            return Some(self.frames.clone());
        }
        let place = self.ends.binary_search_by_key(&cursor, |(seq, _)| *seq).ok()?;
        let (_, start) = *self.ends.get(place)?;
        Some(self.frames.slice(start..)).filter(|frames| !frames.is_empty())
    }
}
