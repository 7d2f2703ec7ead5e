//! The messages of a replicated log, as bytes.
//!
//! ```text
//! 0..4    magic    "QCLG"
//! 4       format   1, or 2 if it contains a proposal that format 1 does not know
//! 5..9    CRC-32 (little endian) of the format and of everything from 9 on
//! 9..19   epoch of the log
//! 19..    Envelope, in postcard
//! ```
//!
//! The first 19 bytes are the same in all versions for ever: whether a message is skipped depends on them alone, so that
//! nodes of different versions skip the same messages.

use bytes::Bytes;
use domain::{Command, Epoch, LogSettings, Proposal, Rules, Seq, Timestamp, id::ID_BYTES};
use serde::{Deserialize, Serialize};

use super::transport::Incarnation;
use crate::storage::codec::RecordError;

/// The first bytes of every message.
const MAGIC: &[u8; 4] = b"QCLG";
/// The size in bytes of what precedes the envelope.
const HEAD: usize = 9 + ID_BYTES;

/// The newest format of messages that this Qchat writes and reads.
pub const FORMAT: u8 = 2;
/// The oldest format that this Qchat reads.
pub const OLDEST_FORMAT: u8 = 1;

/// The size in bytes of the proposals of a message, exceeded by at most its last proposal. The largest, a removal of
/// 20,000 people, has 200 kB.
pub const MESSAGE_BYTES: usize = 256 * 1024;

/// A message of a replicated log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The sender.
    pub from: Incarnation,
    /// The number of the message among those of the sender, from 1.
    pub number: u64,
    /// How long the sender had been running, in milliseconds: a clock that nobody sets.
    pub uptime_millis: u64,
    /// What it says.
    pub content: Content,
}

/// What a message says. Stored by position: new kinds are added at the end, with a new format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// These proposals are to be decided, in this order.
    Proposals(Vec<Proposal>),
    /// The log begins. The first message of an epoch.
    Founded(Founding),
    /// These rules hold from the next message on.
    Rules(Rules),
}

/// How a log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// The settings by which the first entry is decided.
    pub settings: LogSettings,
    /// The sequence number after which the log goes on. [`Seq::ZERO`] if it begins with nothing.
    pub seq: Seq,
    /// The time after which the log goes on.
    pub at: Timestamp,
    /// The place of the snapshot with which the log begins, which is the place before this message. `None` if it begins
    /// with nothing.
    pub base: Option<u64>,
    /// By how many milliseconds the time of the log is ahead of the time of the stream, or behind it if negative.
    pub clock_offset: i64,
}

/// What was read of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// The message.
    Envelope(Envelope),
    /// A message that all nodes skip, whatever their version.
    Skipped(Skipped),
}

/// Why a message is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// It does not begin as a message of a log.
    #[error("it is not a message of Qchat")]
    NotOurs,
    /// Its checksum does not match.
    #[error("it is damaged")]
    Damaged,
    /// It is of another epoch.
    #[error("it belongs to another log")]
    OtherEpoch,
}

/// Why a message that cannot be skipped cannot be read either. A node in doubt stops, and does not guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDecodable {
    /// A newer version of Qchat wrote it.
    #[error("it has format {format}, and this Qchat reads up to {FORMAT}")]
    Newer {
        /// Its format.
        format: u8,
    },
    /// It is intact, but not what a Qchat that writes this format writes.
    #[error("it is intact, but cannot be read")]
    Malformed,
}

/// Encodes a message.
///
/// # Errors
/// [`RecordError::Malformed`] for types that postcard cannot serialize; Qchat has none.
pub fn encode(epoch: Epoch, envelope: &Envelope) -> Result<Bytes, RecordError> {
    let format = format_of(&envelope.content);
    let mut message = Vec::with_capacity(HEAD);
    message.extend_from_slice(MAGIC);
    message.push(format);
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&epoch.bytes());
    let mut message = postcard::to_extend(envelope, message).map_err(RecordError::Malformed)?;
    let checksum = checksum(format, &message[9..]);
    message[5..9].copy_from_slice(&checksum.to_le_bytes());
    Ok(message.into())
}

/// Returns the format of a message: the oldest that has all of it, so that older versions of Qchat read what they can.
fn format_of(content: &Content) -> u8 {
    match content {
        Content::Proposals(proposals) => {
            proposals.iter().map(format_of_proposal).max().unwrap_or(OLDEST_FORMAT)
        }
        Content::Founded(_) | Content::Rules(_) => 1,
    }
}

fn format_of_proposal(proposal: &Proposal) -> u8 {
    match proposal {
        Proposal::Command { command, .. } => match command {
            Command::SetNickname { .. }
            | Command::StartChat { .. }
            | Command::EditTitle { .. }
            | Command::SetVisibility { .. }
            | Command::Post { .. }
            | Command::ChatPrivately { .. }
            | Command::AnswerInvite { .. }
            | Command::SetInvites { .. }
            | Command::RemoveMessage { .. }
            | Command::SetRemoved { .. }
            | Command::RemovePerson { .. }
            | Command::RemoveNewcomers { .. }
            | Command::RemoveOwn { .. }
            | Command::SetLock { .. }
            | Command::SetHidden { .. } => 1,
            Command::Say { .. }
            | Command::EditMessage { .. }
            | Command::RestoreMessage { .. }
            | Command::React { .. } => 2,
        },
        Proposal::Touch { .. }
        | Proposal::Expire { .. }
        | Proposal::UserLeft(_)
        | Proposal::End { .. }
        | Proposal::ClockSet(_) => 1,
    }
}

/// Decodes a message of the log of this epoch.
///
/// # Errors
/// [`NotDecodable`] if it is a message of this log that this Qchat cannot read.
pub fn decode(epoch: Epoch, message: &[u8]) -> Result<Decoded, NotDecodable> {
    let Some(head) = Head::of(message) else { return Ok(Decoded::Skipped(Skipped::NotOurs)) };
    if head.checksum != checksum(head.format, head.rest) {
        return Ok(Decoded::Skipped(Skipped::Damaged));
    }
    let Some((of, envelope)) = head.rest.split_first_chunk() else {
        return Ok(Decoded::Skipped(Skipped::Damaged));
    };
    if *of != epoch.bytes() {
        return Ok(Decoded::Skipped(Skipped::OtherEpoch));
    }
    match head.format {
        OLDEST_FORMAT..=FORMAT => match postcard::take_from_bytes(envelope) {
            Ok((envelope, [])) => Ok(Decoded::Envelope(envelope)),
            _ => Err(NotDecodable::Malformed),
        },
        0 => Err(NotDecodable::Malformed),
        format => Err(NotDecodable::Newer { format }),
    }
}

/// Returns the epoch of the log that a message belongs to. `None` if it is damaged, or no message of a log.
pub fn epoch(message: &[u8]) -> Option<Epoch> {
    let head = Head::of(message)?;
    let is_intact = head.checksum == checksum(head.format, head.rest);
    head.rest.first_chunk().filter(|_| is_intact).map(|bytes| Epoch::from_bytes(*bytes))
}

/// The part of a message that is the same in all versions.
struct Head<'a> {
    format: u8,
    checksum: u32,
    /// The epoch and the envelope.
    rest: &'a [u8],
}

impl<'a> Head<'a> {
    /// Returns `None` for bytes that do not begin with the magic, or end before the epoch.
    fn of(message: &'a [u8]) -> Option<Self> {
        let (format, rest) = message.strip_prefix(MAGIC)?.split_first()?;
        let (checksum, rest) = rest.split_first_chunk()?;
        Some(Self { format: *format, checksum: u32::from_le_bytes(*checksum), rest })
    }
}

fn checksum(format: u8, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[format]);
    hasher.update(rest);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use domain::{Body, ChatId, ClientId, Emoji, Lifetimes, UserId, Wording};
    use proptest::prelude::*;

    use super::*;

    const EPOCH: Epoch = Epoch::from_bytes([9; ID_BYTES]);
    const FROM: Incarnation = Incarnation::from_bytes([5; ID_BYTES]);

    fn envelope(content: Content) -> Envelope {
        Envelope { from: FROM, number: 300, uptime_millis: 1_000, content }
    }

    fn proposals() -> Content {
        let command = Command::Post {
            chat: ChatId::from_bytes([2; ID_BYTES]),
            client_id: ClientId::from_bytes([4; ID_BYTES]),
            body: Body::parse("hello").unwrap(),
            waited_millis: 7,
        };
        let by = UserId::from_bytes([1; ID_BYTES]);
        Content::Proposals(vec![
            Proposal::Command { by, command },
            Proposal::UserLeft(by),
            Proposal::ClockSet(-2),
        ])
    }

    fn founded() -> Content {
        Content::Founded(Founding {
            settings: LogSettings { lifetimes: Lifetimes::default(), rules: Rules(1) },
            seq: Seq(8),
            at: Timestamp(9),
            base: Some(300),
            clock_offset: -1,
        })
    }

    /// The bytes of each kind of message. They must not change within a format: nodes read what others wrote.
    #[test]
    fn messages_are_laid_out_as_format_1_is() {
        let mut posted = vec![0, 3, 0];
        posted.extend([1; ID_BYTES]);
        posted.push(4);
        posted.extend([2; ID_BYTES]);
        posted.extend([4; ID_BYTES]);
        posted.extend([5, b'h', b'e', b'l', b'l', b'o', 7, 3]);
        posted.extend([1; ID_BYTES]);
        posted.extend([5, 3]);
        let mut founded_bytes = vec![1];
        // 1,800,000, 300,000 and 86,400,000 milliseconds, and rules 1.
        founded_bytes
            .extend([0xc0, 0xee, 0x6d, 0xe0, 0xa7, 0x12, 0x80, 0xb8, 0x99, 0x29, 1, 8, 9, 1, 0xac, 2, 1]);
        let cases = [
            (proposals(), 0xe3eb_f38b_u32, posted),
            (founded(), 0xd4e2_edfa_u32, founded_bytes),
            (Content::Rules(Rules(1)), 0xe4c2_70f0_u32, vec![2, 1]),
        ];
        for (content, checksum, bytes) in cases {
            let written = encode(EPOCH, &envelope(content)).unwrap();
            let mut expected = b"QCLG\x01".to_vec();
            expected.extend(checksum.to_le_bytes());
            expected.extend([9; ID_BYTES]);
            expected.extend([5; ID_BYTES]);
            expected.extend([0xac, 2, 0xe8, 7]);
            expected.extend(bytes);
            assert_eq!(written, expected);
        }
    }

    #[test]
    fn a_message_has_format_2_only_if_format_1_does_not_know_what_it_says() {
        let by = UserId::from_bytes([1; ID_BYTES]);
        let command = |command| Proposal::Command { by, command };
        let emoji = Emoji::try_from("\u{1f44d}".to_owned()).unwrap();
        let chat = ChatId::from_bytes([2; ID_BYTES]);
        let react = command(Command::React { chat, message: Seq(300), emoji, is_on: true });
        let words = Wording::plain(Body::parse("a").unwrap());
        let edit = command(Command::EditMessage { chat, message: Seq(300), words });
        let mut react_bytes = vec![0, 1, 0];
        react_bytes.extend([1; ID_BYTES]);
        react_bytes.push(18);
        react_bytes.extend([2; ID_BYTES]);
        react_bytes.extend([0xac, 2, 4, 0xf0, 0x9f, 0x91, 0x8d, 1]);
        let mut edit_bytes = vec![0, 2, 5, 3, 0];
        edit_bytes.extend([1; ID_BYTES]);
        edit_bytes.push(16);
        edit_bytes.extend([2; ID_BYTES]);
        edit_bytes.extend([0xac, 2, 1, b'a', 0, 0]);
        for (proposals, bytes) in
            [(vec![react], react_bytes), (vec![Proposal::ClockSet(-2), edit], edit_bytes)]
        {
            let content = Content::Proposals(proposals);
            let written = encode(EPOCH, &envelope(content.clone())).unwrap();
            assert_eq!((written[4], &written[HEAD + ID_BYTES + 4..]), (2, &bytes[..]));
            assert_eq!(decode(EPOCH, &written), Ok(Decoded::Envelope(envelope(content))));
        }
        for content in [proposals(), founded(), Content::Rules(Rules(2)), Content::Proposals(Vec::new())] {
            assert_eq!(encode(EPOCH, &envelope(content)).unwrap()[4], 1);
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for content in [proposals(), founded(), Content::Rules(Rules(7)), Content::Proposals(Vec::new())] {
            let written = encode(EPOCH, &envelope(content.clone())).unwrap();
            assert_eq!(decode(EPOCH, &written), Ok(Decoded::Envelope(envelope(content))));
            assert_eq!(epoch(&written), Some(EPOCH));
        }
    }

    #[test]
    fn a_message_with_any_bit_flipped_is_skipped() {
        let written = encode(EPOCH, &envelope(proposals())).unwrap();
        for bit in 0..written.len() * 8 {
            let mut flipped = written.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 32 { Skipped::NotOurs } else { Skipped::Damaged };
            assert_eq!(decode(EPOCH, &flipped), Ok(Decoded::Skipped(expected)), "bit {bit} flipped");
            assert_eq!(epoch(&flipped), None);
        }
        for length in 0..written.len() {
            assert!(matches!(decode(EPOCH, &written[..length]), Ok(Decoded::Skipped(_))), "cut at {length}");
        }
    }

    #[test]
    fn a_message_of_another_log_is_skipped_whatever_its_format() {
        for format in 0..=u8::MAX {
            let other = of_format(format, Epoch::from_bytes([8; ID_BYTES]), b"anything");
            assert_eq!(decode(EPOCH, &other), Ok(Decoded::Skipped(Skipped::OtherEpoch)));
        }
    }

    #[test]
    fn a_message_of_a_newer_format_or_one_that_cannot_be_read_stops_a_node() {
        assert_eq!(decode(EPOCH, &of_format(3, EPOCH, b"")), Err(NotDecodable::Newer { format: 3 }));
        assert_eq!(decode(EPOCH, &of_format(0, EPOCH, b"")), Err(NotDecodable::Malformed));
        assert_eq!(decode(EPOCH, &of_format(1, EPOCH, b"not an envelope")), Err(NotDecodable::Malformed));
        let mut longer = postcard::to_stdvec(&envelope(proposals())).unwrap();
        longer.push(0);
        assert_eq!(decode(EPOCH, &of_format(1, EPOCH, &longer)), Err(NotDecodable::Malformed));
    }

    /// Returns an intact message with any content.
    fn of_format(format: u8, epoch: Epoch, content: &[u8]) -> Vec<u8> {
        let rest = [&epoch.bytes(), content].concat();
        [MAGIC.as_slice(), &[format], &checksum(format, &rest).to_le_bytes(), &rest].concat()
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), format: u8) {
            let _ = decode(EPOCH, &bytes);
            let _ = decode(EPOCH, &of_format(format, EPOCH, &bytes));
            let _ = epoch(&bytes);
        }
    }
}
