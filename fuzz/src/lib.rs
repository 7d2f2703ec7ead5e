//! The fuzz targets: the code that reads untrusted input, with the properties that have to hold for any input. A target
//! fails by panicking.
//!
//! `make fuzz` searches for failing inputs with libFuzzer, using the same Rust that builds Qchat; the flags for
//! coverage are in the Makefile. Interesting inputs are kept in `corpus`, and every run of the tests tries these and
//! variations of them.

mod decide;

use domain::{
    Body, Chat, Command, Draft, Epoch, Event, MarkKind, Marks, Nickname, Title, User,
    frame::{ClientCommand, ClientFrame, ServerFrame},
    id::ID_BYTES,
    link::{self, Segment},
    marks::Piece,
    message::MENTIONS_LIMIT,
    slash::{self, ComposerInput},
    text::{BODY_LIMIT, NICKNAME_LIMIT, TITLE_LIMIT},
    unicode::characters,
};
use engine::{
    command_log::envelope::{self, Decoded, NotDecodable},
    formatting,
    storage::codec,
};
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned, ser::SerializeTuple};

pub use decide::decide;

/// Frames of both directions: a frame that can be read is the same after it is written and read again.
pub fn frame(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    read_again::<ClientFrame>(text);
    read_again::<ServerFrame>(text);
}

fn read_again<T: Serialize + DeserializeOwned + PartialEq>(text: &str) {
    let Ok(read) = serde_json::from_str::<T>(text) else { return };
    let again = serde_json::to_string(&read).map(|written| serde_json::from_str::<T>(&written));
    assert!(matches!(again, Ok(Ok(again)) if again == read), "{text}");
}

/// Commands and typed text: what is accepted keeps to the limits, is accepted again, and is shown unchanged.
pub fn command(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(ask) = serde_json::from_str::<ClientCommand>(text)
        && let Ok(draft) = ask.check()
    {
        match draft {
            Draft::Say { text, pictures, .. } if text.body.is_empty() => assert!(!pictures.is_empty()),
            Draft::RestoreMessage { text, alts, .. } if text.body.is_empty() => assert!(!alts.is_empty()),
            Draft::EditMessage { text, .. } if text.body.is_empty() => {}
            Draft::Say { text, .. }
            | Draft::EditMessage { text, .. }
            | Draft::RestoreMessage { text, .. } => {
                keeps_to_the_limits(&text.body);
                assert!(text.mentions.is_none_or(|mentions| mentions.len() <= MENTIONS_LIMIT));
            }
            Draft::Command(Command::SetNickname { nickname, .. }) => {
                assert!(characters(nickname.as_str()) <= NICKNAME_LIMIT);
            }
            Draft::Command(Command::EditTitle { title, .. }) => {
                assert!(characters(title.as_str()) <= TITLE_LIMIT);
            }
            _ => {}
        }
    }
    if let Ok(nickname) = Nickname::parse(text) {
        assert_eq!(
            Nickname::parse(nickname.as_str()).as_ref(),
            Ok(&nickname),
            "what was let in is let in again"
        );
    }
    if let Ok(title) = Title::parse(text) {
        assert_eq!(Title::parse(title.as_str()).as_ref(), Ok(&title), "what was let in is let in again");
    }
    if let Ok(ComposerInput::Post(body)) = slash::parse(text) {
        keeps_to_the_limits(&body);
    }
}

fn keeps_to_the_limits(body: &Body) {
    assert!(characters(body.as_str()) <= BODY_LIMIT);
    assert_eq!(Body::parse(body.as_str()).as_ref(), Ok(body), "what was let in is let in again");
    let segments = link::linkify(body.as_str());
    let text = |segment: &Segment<'_>| match *segment {
        Segment::Text(text) | Segment::Link(text) => text.to_owned(),
    };
    assert_eq!(
        segments.iter().map(text).collect::<String>(),
        body.as_str(),
        "nothing is lost between the links"
    );
}

/// Formatted texts: the marks that are found are those of the text, what they hide are signs and white space, the rest
/// is shown in its order, and links lead to addresses of web pages that are in the text.
pub fn marks(bytes: &[u8]) {
    let Ok(Ok(body)) = std::str::from_utf8(bytes).map(Body::parse) else { return };
    let text = body.as_str();
    let marks = formatting::marks(&body);
    let again = Marks::checked(&body, marks.iter().collect());
    assert_eq!(again.as_ref(), Some(&marks), "the marks fit the text");
    let mut shown = String::with_capacity(text.len());
    for piece in marks.pieces(text) {
        match piece {
            Piece::Text(part) => shown.push_str(part),
            Piece::Open(MarkKind::Link, address) => {
                assert!(link::is_address(address) && text.contains(address), "{address}");
            }
            Piece::Open(..) | Piece::Close => {}
        }
    }
    let mut rest = shown.as_str();
    for c in text.chars() {
        if let Some(after) = rest.strip_prefix(c) {
            rest = after;
        } else {
            assert!(" \t\n*_~`>|[]()<\\-+.".contains(c) || c.is_ascii_digit(), "{c:?} is hidden in {text:?}");
        }
    }
    assert!(rest.is_empty(), "{text:?} is shown as {shown:?}");
}

/// Stored records: invalid bytes are an error, and a record that can be read is the same after it is written and read
/// again.
pub fn record(bytes: &[u8]) {
    stored::<Event>(bytes);
    stored::<Chat>(bytes);
    stored::<User>(bytes);
}

fn stored<T: Serialize + for<'de> Deserialize<'de> + PartialEq>(bytes: &[u8]) {
    let _ = codec::decode::<T>(bytes);
    // Random bytes have no valid checksum, so they are wrapped in a record with one.
    let Ok(record) = codec::encode(&AsTheyAre(bytes)) else { return };
    if let Ok(read) = codec::decode::<T>(&record) {
        let again = codec::encode(&read).map(|written| codec::decode::<T>(&written));
        assert!(matches!(again, Ok(Ok(again)) if again == read), "{bytes:?}");
    }
}

/// Messages of a replicated log: any bytes are skipped, refused or read, and a message that can be read is the same after
/// it is written and read again. Whether a message is skipped does not depend on its format, so that nodes of different
/// versions skip the same.
pub fn envelope(bytes: &[u8]) {
    const EPOCH: Epoch = Epoch::from_bytes([1; ID_BYTES]);
    let _ = envelope::decode(EPOCH, bytes);
    // Random bytes have no valid checksum, so they are put after a head with one. The first chooses the format.
    let Some((format, rest)) = bytes.split_first() else { return };
    let message = |format: u8| {
        let mut checked = vec![format];
        checked.extend(EPOCH.bytes());
        checked.extend(rest);
        let checksum = crc32fast::hash(&checked).to_le_bytes();
        [b"QCLG".as_slice(), &[format], &checksum, &checked[1..]].concat()
    };
    match envelope::decode(EPOCH, &message(*format % 4)) {
        Ok(Decoded::Skipped(reason)) => assert!(bytes.is_empty(), "{reason}"),
        Ok(Decoded::Envelope(read)) => {
            let again = envelope::encode(EPOCH, &read).map(|written| envelope::decode(EPOCH, &written));
            assert!(matches!(again, Ok(Ok(Decoded::Envelope(again))) if again == read), "{bytes:?}");
        }
        Err(NotDecodable::Newer { format }) => assert!(format > envelope::FORMAT),
        Err(NotDecodable::Malformed) => {}
    }
    for format in [0, 1, u8::MAX] {
        let elsewhere = envelope::decode(Epoch::from_bytes([2; ID_BYTES]), &message(format));
        assert!(matches!(elsewhere, Ok(Decoded::Skipped(_))), "{bytes:?}");
    }
}

/// Bytes that are written without their length.
struct AsTheyAre<'a>(&'a [u8]);

impl Serialize for AsTheyAre<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}
