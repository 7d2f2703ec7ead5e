//! The messages between nodes about what is not part of the log. Each begins with the version of its format.

use domain::{Epoch, Rules, Seq};
use serde::{Deserialize, Serialize};

use crate::{
    command_log::transport::Incarnation,
    presence::{Report, ReportSummary},
};

/// The version of the format that this Qchat writes.
pub const VERSION: u8 = 1;
/// The maximum size of a message in bytes.
pub const MESSAGE_BYTES: usize = 512 * 1024;
/// The maximum number of reports in one message, which are 231 kB at most.
pub const REPORTS_OF_A_MESSAGE: usize = 7_000;
/// The maximum number of parts of a whole.
pub const PARTS_LIMIT: u16 = 256;
/// The maximum length in bytes of the name and of the version of a node.
pub const NAME_BYTES: usize = 255;

/// A message between nodes.
///
/// Stored by position: new variants, and new fields of [`Beat`], are added at the end, with a new [`VERSION`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A node is there.
    Beat(Beat),
    /// What has changed on a node.
    Changes(Changes),
    /// Part of the whole of a node.
    Part(Part),
    /// A node asks another for its whole.
    Ask(Ask),
}

/// What a node says of itself, once a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The node.
    pub from: Incarnation,
    /// The number of this beat among those of the node, from 1.
    pub number: u64,
    /// Whether it is the last: the node stops in order.
    pub is_last: bool,
    /// The name that the operator gave to the node.
    pub name: String,
    /// The version of Qchat that it runs.
    pub qchat: String,
    /// The place in the stream at which it was ready for the first time. `None` if it never was.
    pub born: Option<u64>,
    /// How far it has applied the log.
    pub position: Position,
    /// What it can read.
    pub versions: Versions,
    /// The number of its newest change.
    pub told: u64,
    /// The digest of its connections after that change.
    pub digest: u64,
}

/// How far a node has applied the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// Whether the node is ready to serve.
    pub is_ready: bool,
    /// The place in the stream of the newest message that was applied.
    pub place: u64,
    /// The sequence number of the newest entry that was applied.
    pub seq: Seq,
    /// The digest of all that was decided up to some place, which is the same on all nodes that decide alike.
    pub mark: Mark,
}

/// A place in the stream, and the digest of all that was decided up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The place.
    pub place: u64,
    /// The digest.
    pub digest: u32,
}

/// The formats and rules that a node knows, each from the oldest to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The formats of messages of the log that it reads.
    pub formats: (u8, u8),
    /// The rules by which it can decide.
    pub rules: (Rules, Rules),
}

/// Changes on a node, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The node.
    pub from: Incarnation,
    /// The number of the first change. The others have the numbers after it.
    pub first: u64,
    /// The changes, [`REPORTS_OF_A_MESSAGE`] at most.
    pub reports: Vec<Report>,
}

/// Part of all connections of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The node.
    pub from: Incarnation,
    /// The number of the whole among those of the node, from 1.
    pub whole: u64,
    /// The number of the newest change that is part of the whole.
    pub upto: u64,
    /// Which part this is, from 0.
    pub part: u16,
    /// The number of parts of the whole, 1 to [`PARTS_LIMIT`].
    pub parts: u16,
    /// The beginnings of connections and subscriptions, and origins of chats, in any order.
    pub reports: Vec<Report>,
}

/// A node asks another for its whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The node that asks.
    pub from: Incarnation,
    /// The node that is asked.
    pub of: Incarnation,
}

/// Where a message is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// The beats of all nodes.
    Beat,
    /// Changes and wholes of one node.
    Told(Incarnation),
    /// What is asked of one node.
    Ask(Incarnation),
}

/// Why bytes are not a message that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAMessage {
    /// There are none.
    #[error("it is empty")]
    Empty,
    /// There are too many.
    #[error("it has {0} bytes, more than {MESSAGE_BYTES}")]
    TooLarge(usize),
    /// A newer Qchat wrote it.
    #[error("it has version {0}, and this Qchat reads version {VERSION}")]
    Newer(u8),
    /// It is no message of its version.
    #[error("it is not a message of version {0}")]
    Malformed(u8),
}

impl Beat {
    /// Returns what the node has told of its connections.
    pub const fn summary(&self) -> ReportSummary {
        ReportSummary { told: self.told, digest: self.digest }
    }
}

impl Message {
    /// Returns where the message is published.
    pub const fn topic(&self) -> Topic {
        match self {
            Self::Beat(_) => Topic::Beat,
            Self::Changes(Changes { from, .. }) | Self::Part(Part { from, .. }) => Topic::Told(*from),
            Self::Ask(Ask { of, .. }) => Topic::Ask(*of),
        }
    }

    /// Returns the node that sent it.
    pub const fn from(&self) -> Incarnation {
        match self {
            Self::Beat(Beat { from, .. })
            | Self::Changes(Changes { from, .. })
            | Self::Part(Part { from, .. })
            | Self::Ask(Ask { from, .. }) => *from,
        }
    }

    /// Encodes the message.
    ///
    /// # Errors
    /// Those of postcard, for types that it cannot serialize; a message has none.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_extend(self, vec![VERSION])
    }

    /// Decodes a message. Of a newer version only a beat can be read, as far as it is known here.
    ///
    /// # Errors
    /// [`NotAMessage`] for any bytes that are not a message of a version that can be read.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAMessage> {
        if bytes.len() > MESSAGE_BYTES {
            return Err(NotAMessage::TooLarge(bytes.len()));
        }
        let Some((&version, rest)) = bytes.split_first() else { return Err(NotAMessage::Empty) };
        let decoded = postcard::take_from_bytes(rest);
        match (version, decoded) {
            (0, _) => Err(NotAMessage::Malformed(version)),
            (VERSION, Ok((message, []))) if Self::is_valid(&message) => Ok(message),
            (VERSION, _) => Err(NotAMessage::Malformed(version)),
            (_, Ok((message @ Self::Beat(_), _))) if message.is_valid() => Ok(message),
            _ => Err(NotAMessage::Newer(version)),
        }
    }

    fn is_valid(&self) -> bool {
        match self {
            Self::Beat(beat) => beat.name.len() <= NAME_BYTES && beat.qchat.len() <= NAME_BYTES,
            Self::Changes(Changes { first, reports, .. }) => {
                *first > 0 && first.checked_add(reports.len() as u64).is_some()
            }
            Self::Part(Part { part, parts, .. }) => part < parts && *parts <= PARTS_LIMIT,
            Self::Ask(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{ChatId, UserId, id::ID_BYTES};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const ME: Incarnation = Incarnation::from_bytes([0xa1; ID_BYTES]);
    const OTHER: Incarnation = Incarnation::from_bytes([0xb2; ID_BYTES]);
    const CHAT: ChatId = ChatId::from_bytes([0xc3; ID_BYTES]);
    const USER: UserId = UserId::from_bytes([0xd4; ID_BYTES]);

    fn beat() -> Beat {
        let mark = Mark { place: 1_024, digest: 0x1234_5678 };
        let epoch = Epoch::from_bytes([0xe5; ID_BYTES]);
        Beat {
            from: ME,
            number: 300,
            is_last: false,
            name: "one".to_owned(),
            qchat: "0.1.0".to_owned(),
            born: Some(7),
            position: Position { epoch, is_ready: true, place: 2_000, seq: Seq(70_000), mark },
            versions: Versions { formats: (1, 2), rules: (Rules(1), Rules(3)) },
            told: 129,
            digest: 0x0123_4567_89ab_cdef,
        }
    }

    /// The bytes of each kind of message, as they are on the wire. A change of them is a new version.
    #[test]
    fn messages_of_this_version_keep_their_bytes() {
        let changes = Changes {
            from: ME,
            first: 200,
            reports: vec![
                Report::Opened { holder: 1, user: USER },
                Report::Closed { holder: 300, user: USER },
                Report::Joined { holder: 2, chat: CHAT, user: USER, seconds: 130 },
                Report::Left { holder: 2, chat: CHAT, user: USER },
                Report::Typing { chat: CHAT, user: USER },
                Report::ChatFrom { chat: CHAT, origin: u64::MAX },
            ],
        };
        let reports = vec![Report::Opened { holder: 1, user: USER }];
        let part = Part { from: ME, whole: 3, upto: 130, part: 1, parts: 2, reports };
        let (me, other) = ("a1".repeat(ID_BYTES), "b2".repeat(ID_BYTES));
        let (chat, user) = ("c3".repeat(ID_BYTES), "d4".repeat(ID_BYTES));
        let epoch = "e5".repeat(ID_BYTES);
        let fixtures = [
            (
                Message::Beat(beat()),
                format!(
                    "0100{me}ac0200036f6e6505302e312e300107{epoch}01d00ff0a2048008f8acd191010102010381\
                     01ef9bafcdf8acd19101"
                ),
            ),
            (
                Message::Changes(changes),
                format!(
                    "0101{me}c801060001{user}01ac02{user}0202{chat}{user}82010302{chat}{user}04{chat}{user}\
                     05{chat}ffffffffffffffffff01"
                ),
            ),
            (Message::Part(part), format!("0102{me}03820101020100 01{user}").replace(' ', "")),
            (Message::Ask(Ask { from: ME, of: OTHER }), format!("0103{me}{other}")),
        ];
        for (message, hex) in fixtures {
            let bytes = message.encode().unwrap();
            let written: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(written, hex, "{message:?}");
            assert_eq!(Message::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn a_beat_of_a_newer_version_is_read_as_far_as_it_is_known_and_no_other_message() {
        let newer = |message: &Message| {
            let mut bytes = message.encode().unwrap();
            bytes[0] = VERSION + 1;
            bytes.extend([1, 2, 3]);
            bytes
        };
        let beat = Message::Beat(beat());
        assert_eq!(Message::decode(&newer(&beat)), Ok(beat));
        let ask = Message::Ask(Ask { from: ME, of: OTHER });
        assert_eq!(Message::decode(&newer(&ask)), Err(NotAMessage::Newer(VERSION + 1)));
        let mut trailing = ask.encode().unwrap();
        trailing.push(0);
        assert_eq!(Message::decode(&trailing), Err(NotAMessage::Malformed(VERSION)));
    }

    #[test]
    fn the_largest_messages_fit() {
        let joined = Report::Joined { holder: (1 << 48) - 1, chat: CHAT, user: USER, seconds: u32::MAX };
        let reports = vec![joined; REPORTS_OF_A_MESSAGE];
        let part = Part {
            from: ME,
            whole: u64::MAX,
            upto: u64::MAX,
            part: PARTS_LIMIT - 1,
            parts: PARTS_LIMIT,
            reports,
        };
        let bytes = Message::Part(part).encode().unwrap();
        assert!(bytes.len() <= 256 * 1024, "{}", bytes.len());
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let reports = vec![Report::Typing { chat: CHAT, user: USER }];
        let part = |part, parts| {
            Message::Part(Part { from: ME, whole: 1, upto: 1, part, parts, reports: reports.clone() })
        };
        let changes = |first| Message::Changes(Changes { from: ME, first, reports: reports.clone() });
        let named = |name: String| Message::Beat(Beat { name, ..beat() });
        for message in [
            part(0, 0),
            part(2, 2),
            part(0, PARTS_LIMIT + 1),
            changes(0),
            changes(u64::MAX),
            named("x".repeat(256)),
        ] {
            let bytes = message.encode().unwrap();
            assert_eq!(Message::decode(&bytes), Err(NotAMessage::Malformed(VERSION)), "{message:?}");
        }
        assert_eq!(Message::decode(&[]), Err(NotAMessage::Empty));
        let large = vec![VERSION; MESSAGE_BYTES + 1];
        assert_eq!(Message::decode(&large), Err(NotAMessage::TooLarge(MESSAGE_BYTES + 1)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_refused(bytes in vec(any::<u8>(), 0..200), version in 0_u8..3, kind in 0_u8..6) {
            let bytes = [&[version, kind], bytes.as_slice()].concat();
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert_eq!(Message::decode(&message.encode().unwrap()), Ok(message));
            }
        }
    }
}
