//! Messages.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeStruct};

use crate::{Body, ClientId, Marks, Nickname, Picture, Seq, Timestamp, UserId, marks::MarkKind, text::Line};

/// The maximum number of mentions in one message.
pub const MENTIONS_LIMIT: usize = 20;

/// A message with everything that belongs to it. Its sequence number and time are those of the event that carries it.
///
/// JSON leaves out what is empty or false, so that a plain message is as short as it can be. Binary formats store every
/// field but [`Message::quote`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The author.
    pub author: UserId,
    /// The author's nickname when it was posted.
    pub nickname: Nickname,
    /// The id that the client made for it.
    pub client_id: ClientId,
    /// The text as typed. Empty only where there are pictures.
    pub body: Body,
    /// How the parts of the text are shown.
    pub marks: Marks,
    /// The users who are meant: the first [`MarkKind::Mention`] means the first of them, and so on. At most
    /// [`MENTIONS_LIMIT`].
    pub mentions: Vec<UserId>,
    /// The message that this one answers, by its sequence number in the same chat. `None` if it answers none.
    pub reply_to: Option<Seq>,
    /// The author of the message that this one answers. `None` if it answers none, or one that was gone when this one was
    /// restored.
    pub reply_author: Option<UserId>,
    /// The pictures, at most [`crate::picture::PICTURES_LIMIT`].
    pub pictures: Vec<Picture>,
    /// Whether it says what its author does (`/me`).
    pub is_action: bool,
    /// When it was last edited, or restored after a removal. `None` if it was neither.
    pub edited_at: Option<Timestamp>,
    /// What it answers. `None` if that is gone, or if it answers nothing. It is not stored: whoever reads the message looks
    /// for it, so that it is never the text of a message that was removed or edited.
    pub quote: Option<Quote>,
}

/// A message as Qchat 0.1 stored it: a text alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainMessage {
    /// The author.
    pub author: UserId,
    /// The author's nickname when it was posted.
    pub nickname: Nickname,
    /// The id that the client made for it.
    pub client_id: ClientId,
    /// The text.
    pub body: Body,
}

/// The beginning of a message that another one answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The author of the quoted message.
    pub author: UserId,
    /// The author's nickname when it was posted.
    pub nickname: Nickname,
    /// The beginning of its text, as it is now. Empty if it has pictures alone.
    pub line: Line,
    /// When it was posted.
    pub at: Timestamp,
}

/// The words of a message: what its author can edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wording {
    /// The text as typed.
    pub body: Body,
    /// How the parts of the text are shown.
    pub marks: Marks,
    /// The users who are meant, as in [`Message::mentions`].
    pub mentions: Vec<UserId>,
}

impl Message {
    /// Creates a message that is a text alone.
    pub fn plain(author: UserId, nickname: Nickname, client_id: ClientId, body: Body) -> Self {
        PlainMessage { author, nickname, client_id, body }.into()
    }

    /// Returns the words.
    pub fn wording(&self) -> Wording {
        Wording { body: self.body.clone(), marks: self.marks.clone(), mentions: self.mentions.clone() }
    }

    /// Replaces the words, at this time.
    pub fn edit(&mut self, wording: Wording, at: Timestamp) {
        let Wording { body, marks, mentions } = wording;
        (self.body, self.marks, self.mentions) = (body, marks, mentions);
        self.edited_at = Some(at);
    }

    /// Returns whom this message is meant for: those it mentions and the author of what it answers, each once, without
    /// its own author.
    pub fn meant(&self) -> BTreeSet<UserId> {
        let mut meant: BTreeSet<_> = self.mentions.iter().copied().chain(self.reply_author).collect();
        meant.remove(&self.author);
        meant
    }

    /// Returns whether this message is meant for a user, as by [`Message::meant`].
    pub fn is_meant_for(&self, user: UserId) -> bool {
        user != self.author && (self.mentions.contains(&user) || self.reply_author == Some(user))
    }

    /// Returns the beginning of this message, which was posted at this time, for messages that answer it.
    pub fn quote(&self, at: Timestamp) -> Quote {
        let line = self.marks.first_line(self.body.as_str());
        Quote { author: self.author, nickname: self.nickname.clone(), line, at }
    }
}

impl Wording {
    /// Creates words without marks.
    pub fn plain(body: Body) -> Self {
        Self { body, marks: Marks::default(), mentions: Vec::new() }
    }

    /// Returns the words as they are stored: without marks and mentions where these do not fit the text or each other.
    pub fn checked(self) -> Self {
        let Self { body, marks, mentions } = self;
        let mentioned = marks.iter().filter(|mark| mark.0 == MarkKind::Mention).count();
        let fits = mentioned == mentions.len() && mentioned <= MENTIONS_LIMIT;
        match Marks::checked(&body, marks.iter().collect()).filter(|_| fits) {
            Some(marks) => Self { body, marks, mentions },
            None => Self::plain(body),
        }
    }
}

impl From<PlainMessage> for Message {
    fn from(message: PlainMessage) -> Self {
        let PlainMessage { author, nickname, client_id, body } = message;
        Self {
            author,
            nickname,
            client_id,
            body,
            marks: Marks::default(),
            mentions: Vec::new(),
            reply_to: None,
            reply_author: None,
            pictures: Vec::new(),
            is_action: false,
            edited_at: None,
            quote: None,
        }
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const FIELDS: usize = 12;
        let is_text = serializer.is_human_readable();
        let mut fields = serializer.serialize_struct("Message", FIELDS)?;
        fields.serialize_field("author", &self.author)?;
        fields.serialize_field("nickname", &self.nickname)?;
        fields.serialize_field("client_id", &self.client_id)?;
        fields.serialize_field("body", &self.body)?;
        // what binary formats leave out could not be found again: fields have no names there
        let is_written = |is_empty: bool| !is_text || !is_empty;
        if is_written(self.marks.is_empty()) {
            fields.serialize_field("marks", &self.marks)?;
        }
        if is_written(self.mentions.is_empty()) {
            fields.serialize_field("mentions", &self.mentions)?;
        }
        if is_written(self.reply_to.is_none()) {
            fields.serialize_field("reply_to", &self.reply_to)?;
        }
        if is_written(self.reply_author.is_none()) {
            fields.serialize_field("reply_author", &self.reply_author)?;
        }
        if is_written(self.pictures.is_empty()) {
            fields.serialize_field("pictures", &self.pictures)?;
        }
        if is_written(!self.is_action) {
            fields.serialize_field("action", &self.is_action)?;
        }
        if is_written(self.edited_at.is_none()) {
            fields.serialize_field("edited_at", &self.edited_at)?;
        }
        if is_text && self.quote.is_some() {
            fields.serialize_field("quote", &self.quote)?;
        }
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            MessageText::deserialize(deserializer).map(Self::from)
        } else {
            MessageRecord::deserialize(deserializer).map(Self::from)
        }
    }
}

/// A message in JSON.
#[derive(Deserialize)]
#[serde(rename = "Message")]
struct MessageText {
    author: UserId,
    nickname: Nickname,
    client_id: ClientId,
    body: Body,
    #[serde(default)]
    marks: Marks,
    #[serde(default)]
    mentions: Vec<UserId>,
    #[serde(default)]
    reply_to: Option<Seq>,
    #[serde(default)]
    reply_author: Option<UserId>,
    #[serde(default)]
    pictures: Vec<Picture>,
    #[serde(default)]
    action: bool,
    #[serde(default)]
    edited_at: Option<Timestamp>,
    #[serde(default)]
    quote: Option<Quote>,
}

/// A message in a binary format.
#[derive(Deserialize)]
#[serde(rename = "Message")]
struct MessageRecord {
    author: UserId,
    nickname: Nickname,
    client_id: ClientId,
    body: Body,
    marks: Marks,
    mentions: Vec<UserId>,
    reply_to: Option<Seq>,
    reply_author: Option<UserId>,
    pictures: Vec<Picture>,
    action: bool,
    edited_at: Option<Timestamp>,
}

impl From<MessageText> for Message {
    fn from(message: MessageText) -> Self {
        let MessageText { author, nickname, client_id, body, marks, mentions, .. } = message;
        let MessageText { reply_to, reply_author, pictures, action: is_action, edited_at, quote, .. } =
            message;
        Self {
            author,
            nickname,
            client_id,
            body,
            marks,
            mentions,
            reply_to,
            reply_author,
            pictures,
            is_action,
            edited_at,
            quote,
        }
    }
}

impl From<MessageRecord> for Message {
    fn from(message: MessageRecord) -> Self {
        let MessageRecord { author, nickname, client_id, body, marks, mentions, .. } = message;
        let MessageRecord { reply_to, reply_author, pictures, action: is_action, edited_at, .. } = message;
        Self {
            author,
            nickname,
            client_id,
            body,
            marks,
            mentions,
            reply_to,
            reply_author,
            pictures,
            is_action,
            edited_at,
            quote: None,
        }
    }
}

/// What remains of a message that was removed. Its id is kept, so that a late retry does not post it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The author of the message.
    pub author: UserId,
    /// The author's nickname when it was posted.
    pub nickname: Nickname,
    /// The id that the client made for it.
    pub client_id: ClientId,
    /// Who removed it.
    pub by: RemovedBy,
}

/// A message as its event holds it: with its text, or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRef<'a> {
    /// The author.
    pub author: UserId,
    /// The author's nickname when it was posted.
    pub nickname: &'a Nickname,
    /// The id that the client made for it.
    pub client_id: ClientId,
    /// The text, unless it was removed.
    pub content: MessageContent<'a>,
}

/// What is left of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageContent<'a> {
    /// The text, and how it is shown. `None` if that is not known yet.
    Text(&'a Body, Option<&'a Marks>),
    /// It was removed.
    Removed(RemovedBy),
}

impl MessageContent<'_> {
    /// Whether the message was removed.
    pub fn is_removed(self) -> bool {
        self.removed_by().is_some()
    }

    /// Returns who removed the message, or `None` if it was not removed.
    pub fn removed_by(self) -> Option<RemovedBy> {
        match self {
            Self::Text(..) => None,
            Self::Removed(by) => Some(by),
        }
    }
}

/// Who removed a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovedBy {
    /// The author of the message.
    Author,
    /// The owner of the chat.
    Owner,
}

impl Tombstone {
    pub(crate) fn of(message: &Message, by: RemovedBy) -> Self {
        let Message { author, nickname, client_id, .. } = message;
        Self { author: *author, nickname: nickname.clone(), client_id: *client_id, by }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Mark, PictureId,
        id::ID_BYTES,
        text::{Alt, BODY_BYTES},
    };

    fn user(number: u8) -> UserId {
        UserId::from_bytes([number; ID_BYTES])
    }

    fn plain() -> Message {
        let (nickname, client_id) = (Nickname::parse("Ana").unwrap(), ClientId::from_bytes([0; ID_BYTES]));
        Message::plain(user(1), nickname, client_id, Body::parse("**a** @Bo").unwrap())
    }

    fn marks() -> Marks {
        let marks = vec![
            Mark(MarkKind::Strong, 0, 5),
            Mark(MarkKind::Hidden, 0, 2),
            Mark(MarkKind::Hidden, 3, 5),
            Mark(MarkKind::Mention, 6, 9),
        ];
        Marks::checked(&plain().body, marks).unwrap()
    }

    fn full() -> Message {
        let picture = Picture {
            id: PictureId::from_bytes([4; ID_BYTES]),
            width: 2_048,
            height: 1_536,
            small: (480, 360),
            bytes: 300,
            alt: Alt::parse("A cat").unwrap(),
        };
        Message {
            marks: marks(),
            mentions: vec![user(2)],
            reply_to: Some(Seq(7)),
            reply_author: Some(user(3)),
            pictures: vec![picture],
            is_action: true,
            edited_at: Some(Timestamp(9)),
            quote: Some(plain().quote(Timestamp(5))),
            ..plain()
        }
    }

    #[test]
    fn json_leaves_out_what_is_empty() {
        let ana = r#""author":"040g2081040g2081","nickname":"Ana","client_id":"0000000000000000","body":"**a** @Bo""#;
        let json = serde_json::to_string(&plain()).unwrap();
        assert_eq!(json, format!("{{{ana}}}"));
        assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), plain());
        let json = serde_json::to_string(&full()).unwrap();
        let rest = [
            r#""marks":[["strong",0,5],["hidden",0,2],["hidden",3,5],["mention",6,9]]"#,
            r#""mentions":["081040g2081040g2"],"reply_to":7,"reply_author":"0c1g60r30c1g60r3""#,
            r#""pictures":[{"id":"0g2081040g208104","width":2048,"height":1536,"small":[480,360],"bytes":300,"alt":"A cat"}]"#,
            r#""action":true,"edited_at":9"#,
            r#""quote":{"author":"040g2081040g2081","nickname":"Ana","line":"**a** @Bo","at":5}"#,
        ];
        assert_eq!(json, format!("{{{ana},{}}}", rest.join(",")));
        assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), full());
    }

    #[test]
    fn a_record_has_every_field_but_the_quote() {
        for (message, expected) in [
            (plain(), [vec![0; 7]].concat()),
            (full(), {
                let mut rest = vec![4, 1, 0, 5, 0, 0, 2, 0, 3, 5, 14, 6, 9, 1];
                rest.extend([2; ID_BYTES]);
                rest.extend([1, 7, 1]);
                rest.extend([3; ID_BYTES]);
                rest.push(1);
                rest.extend([4; ID_BYTES]);
                rest.extend([0x80, 16, 0x80, 12, 0xe0, 3, 0xe8, 2, 0xac, 2, 5]);
                rest.extend(b"A cat");
                rest.extend([1, 1, 9]);
                rest
            }),
        ] {
            let mut bytes = vec![1; ID_BYTES];
            bytes.extend(b"\x03Ana");
            bytes.extend([0; ID_BYTES]);
            bytes.extend(b"\x09**a** @Bo");
            bytes.extend(expected);
            assert_eq!(postcard::to_stdvec(&message).unwrap(), bytes);
            let read: Message = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(read, Message { quote: None, ..message });
        }
    }

    #[test]
    fn a_message_is_meant_for_whom_it_mentions_and_answers() {
        assert_eq!(plain().meant(), BTreeSet::new());
        assert_eq!(full().meant(), BTreeSet::from([user(2), user(3)]));
        let own =
            Message { mentions: vec![user(1), user(2), user(2)], reply_author: Some(user(1)), ..plain() };
        assert_eq!(own.meant(), BTreeSet::from([user(2)]));
        for message in [plain(), full(), own] {
            let users = (0..5).map(user).filter(|user| message.is_meant_for(*user));
            assert_eq!(users.collect::<BTreeSet<_>>(), message.meant());
        }
    }

    #[test]
    fn words_that_contradict_each_other_are_stored_without_marks() {
        let body = || plain().body;
        let right = Wording { body: body(), marks: marks(), mentions: vec![user(2)] };
        assert_eq!(right.clone().checked(), right);
        let none = Wording::plain(body());
        assert_eq!(Wording { mentions: vec![], ..right.clone() }.checked(), none);
        assert_eq!(Wording { mentions: vec![user(2), user(3)], ..right.clone() }.checked(), none);
        let other = Body::parse("a").unwrap();
        assert_eq!(Wording { body: other.clone(), ..right.clone() }.checked(), Wording::plain(other));
        let long = Body::parse(&"@Bo ".repeat(30)).unwrap();
        let places = (0..).step_by(4).take(MENTIONS_LIMIT + 1);
        let marks = places.map(|at| Mark(MarkKind::Mention, at, at + 3)).collect();
        let marks = Marks::checked(&long, marks).unwrap();
        let mentions = vec![user(2); MENTIONS_LIMIT + 1];
        let too_many = Wording { body: long.clone(), marks, mentions };
        assert_eq!(too_many.checked(), Wording::plain(long));
        assert!(BODY_BYTES <= usize::from(u16::MAX), "marks reach to the end of every text");
    }
}
