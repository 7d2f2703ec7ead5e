//! The frames of the live connection: JSON text over a WebSocket at `/live`, specified in docs/protocol.md.

use serde::{Deserialize, Serialize};

use crate::{
    Alt, Answer, Body, Chat, ChatId, ClientId, Command, Draft, Epoch, Event, Invite, Lifetimes, Lobby,
    MessageTally, Nickname, PictureId, Problem, Roster, Seq, Timestamp, Title, User, UserId, Visibility,
    draft::DraftText,
    lobby::{LobbyChange, LobbyQuery},
    page::History,
    picture::PictureTicket,
    place::{Around, News},
    roster::RosterChange,
};

/// The protocol version that this code speaks.
pub const VERSION: u32 = 5;
/// The maximum size of a frame from a client, in bytes: that of the longest message with as many pictures as it can have, each
/// with the longest description that is taken.
pub const FRAME_LIMIT: usize = 131_072;
/// The maximum number of chats that one connection watches.
pub const WATCH_LIMIT: usize = 32;
/// The maximum number of unanswered commands of one connection; further frames stay unread in the socket.
pub const COMMANDS_IN_FLIGHT: usize = 32;
/// The interval between two heartbeats of the server, in seconds.
pub const BEAT_SECONDS: u64 = 20;
/// The timeout after which a silent peer counts as gone, in seconds: two heartbeats and some slack.
pub const SILENCE_SECONDS: u64 = 50;
/// The maximum number of missed events that a resume replays. A cursor further behind is answered by a snapshot.
pub const RESUME_EVENTS: usize = 1_000;
/// The WebSocket close code after a protocol error that makes it pointless to go on.
pub const CLOSE_PROTOCOL: u16 = 4400;
/// The WebSocket close code for a client without a valid session.
pub const CLOSE_NO_SESSION: u16 = 4401;

/// The WebSocket close code for a session that already has too many connections.
pub const CLOSE_TOO_MANY: u16 = 4429;

/// A frame that a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientFrame {
    /// Opens the conversation. Has to come first.
    Hello {
        /// The client's protocol version.
        version: u32,
    },
    /// Subscribes to a chat, as one of its members.
    Watch {
        /// The chat to subscribe to.
        chat: ChatId,
        /// The last event that the client has. `None` starts with a snapshot.
        #[serde(default)]
        after: Option<Cursor>,
    },
    /// Unsubscribes from a chat.
    Unwatch {
        /// The chat to unsubscribe from.
        chat: ChatId,
    },
    /// The user is typing in a watched chat. More than one a second is ignored.
    Typing {
        /// The chat in which the user is typing.
        chat: ChatId,
    },
    /// Subscribes to the lobby: the totals, and the public chats that match the query. A further frame replaces the query.
    Lobby(LobbyQuery),
    /// Requests the page of history before an event.
    Earlier {
        /// The chat whose history is requested.
        chat: ChatId,
        /// The oldest event that the client has.
        before: Seq,
    },
    /// Requests a heartbeat at once, to learn whether the connection is alive.
    Ping {},
    /// Requests the page of history after an event.
    Later {
        /// The chat whose history is requested.
        chat: ChatId,
        /// The newest event that the client still has.
        after: Seq,
    },
    /// Requests the part of the history around a place: an event, or the first event since a point in time.
    Around {
        /// The chat whose history is requested.
        chat: ChatId,
        /// The event. `None` if a point in time is meant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Seq>,
        /// The point in time. Ignored if there is an event.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
    /// Requests what is new in a chat.
    News {
        /// The chat.
        chat: ChatId,
        /// The last event that the user has seen.
        after: Seq,
    },
    /// Requests a durable action.
    Do {
        /// Any number. The answer carries it.
        request: u64,
        /// What the user asks for.
        command: ClientCommand,
    },
}

/// The last event that a client has of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The position in that log.
    pub seq: Seq,
    /// The position of the newest change of reactions that the client has. `None` if the client does not keep them: then
    /// those that have changed before are not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reacted: Option<Seq>,
}

impl Cursor {
    /// Creates the cursor of a client that does not keep reactions.
    pub const fn new(epoch: Epoch, seq: Seq) -> Self {
        Self { epoch, seq, reacted: None }
    }
}

/// A picture of a message that is to be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureAlt {
    /// The picture.
    pub id: PictureId,
    /// What can be seen, in words. Empty if there are none.
    #[serde(default)]
    pub alt: String,
}

/// A command as received, with text not yet validated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCommand {
    /// Changes the user's nickname.
    SetNickname {
        /// The nickname as typed.
        nickname: String,
    },
    /// Changes the title of a chat. Owner only.
    EditTitle {
        /// The chat to rename.
        chat: ChatId,
        /// The title as typed.
        title: String,
    },
    /// Lists a chat publicly, or makes it reachable by its link only. Owner only.
    SetVisibility {
        /// The chat to list, or to list no longer.
        chat: ChatId,
        /// Whether the chat is listed publicly from now on.
        visibility: Visibility,
    },
    /// Posts a message.
    Post {
        /// The chat to post to.
        chat: ChatId,
        /// An id made by the client, the same for every retry of this message.
        client_id: ClientId,
        /// The text as typed.
        body: String,
        /// How many milliseconds ago the client first tried to post it; 0 on the first attempt.
        #[serde(default, skip_serializing_if = "is_zero")]
        waited_millis: u64,
        /// The message that this one answers. `None` if it answers none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<Seq>,
        /// The users who are mentioned, at most [`crate::message::MENTIONS_LIMIT`]. `None` if the server is to find them by
        /// their nicknames.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mentions: Option<Vec<UserId>>,
        /// The pictures.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pictures: Vec<PictureTicket>,
        /// Whether it says what its author does (`/me`).
        #[serde(default, rename = "action", skip_serializing_if = "is_false")]
        is_action: bool,
    },
    /// Answers an invite.
    AnswerInvite {
        /// The chat it leads to.
        chat: ChatId,
        /// Whether the invite is accepted.
        answer: Answer,
    },
    /// Removes a message: the user's own, or, as the owner of a group chat, anyone's.
    RemoveMessage {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
    },
    /// Removes a user from a chat, or lets them return. Owner only.
    SetRemoved {
        /// The chat from which the user is removed, or to which they may return.
        chat: ChatId,
        /// The user to remove or readmit.
        person: UserId,
        /// Whether the user is removed.
        is_removed: bool,
    },
    /// Removes a user from a chat, with all their messages in it. Owner only.
    RemovePerson {
        /// The chat to remove the user from.
        chat: ChatId,
        /// The user to remove.
        person: UserId,
    },
    /// Removes everyone who joined a chat recently, with all their messages in it. Owner only.
    RemoveNewcomers {
        /// The chat to remove them from.
        chat: ChatId,
        /// How far back to look, in seconds.
        seconds: u64,
    },
    /// Removes all of the user's own messages in a chat.
    RemoveOwn {
        /// The chat to remove the messages from.
        chat: ChatId,
    },
    /// Locks a chat, so that only its owner can write, or unlocks it. Owner only.
    SetLock {
        /// The chat to lock or unlock.
        chat: ChatId,
        /// Whether the chat is locked.
        is_locked: bool,
    },
    /// Hides another user's messages from the user, or shows them again.
    SetHidden {
        /// The user to hide or show.
        person: UserId,
        /// Whether they are hidden.
        is_hidden: bool,
    },
    /// Gives a message of the user's own another text.
    EditMessage {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
        /// The new text as typed.
        body: String,
        /// The users who are mentioned, as when posting.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mentions: Option<Vec<UserId>>,
    },
    /// Takes back the removal of a message of the user's own, within [`crate::decide::RESTORE_MILLIS`]. The server has
    /// not kept what it said, so the client says it again.
    RestoreMessage {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
        /// The sequence number of its removal.
        removal: Seq,
        /// The text that it had.
        body: String,
        /// The message that it answers. `None` if it answers none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<Seq>,
        /// The users who are mentioned, as when posting.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mentions: Option<Vec<UserId>>,
        /// The pictures that it had.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pictures: Vec<PictureAlt>,
        /// Whether it says what its author does (`/me`).
        #[serde(default, rename = "action", skip_serializing_if = "is_false")]
        is_action: bool,
    },
    /// Reacts to a message with an emoji, or does so no more.
    React {
        /// The chat that the message is in.
        chat: ChatId,
        /// The sequence number of the message.
        message: Seq,
        /// The emoji.
        emoji: String,
        /// Whether the user reacts with this emoji from now on.
        is_on: bool,
    },
}

impl ClientCommand {
    /// Creates the command that posts a text alone, first tried this long ago in milliseconds.
    pub fn post(chat: ChatId, client_id: ClientId, body: String, waited_millis: u64) -> Self {
        Self::Post {
            chat,
            client_id,
            body,
            waited_millis,
            reply_to: None,
            mentions: None,
            pictures: Vec::new(),
            is_action: false,
        }
    }

    /// Validates the text and returns the draft of the command. Values that the server alone can fill in are left empty.
    ///
    /// # Errors
    /// The [`Problem`] of the text if it is not valid.
    pub fn check(self) -> Result<Draft, Problem> {
        Ok(Draft::Command(match self {
            Self::Post { chat, client_id, body, waited_millis, reply_to, mentions, pictures, is_action } => {
                let body = body_with(&body, !pictures.is_empty())?;
                for picture in &pictures {
                    Alt::parse(&picture.alt)?;
                }
                let text = DraftText::new(body, mentions);
                return Ok(Draft::Say {
                    chat,
                    client_id,
                    text,
                    reply_to,
                    pictures,
                    is_action,
                    waited_millis,
                });
            }
            Self::EditMessage { chat, message, body, mentions } => {
                // Whether the message has pictures is known when this is decided.
                let text = DraftText::new(body_with(&body, true)?, mentions);
                return Ok(Draft::EditMessage { chat, message, text });
            }
            Self::RestoreMessage {
                chat,
                message,
                removal,
                body,
                reply_to,
                mentions,
                pictures,
                is_action,
            } => {
                let text = DraftText::new(body_with(&body, !pictures.is_empty())?, mentions);
                let alt = |PictureAlt { id, alt }| Ok((id, Alt::parse(&alt)?));
                let alts = pictures.into_iter().map(alt).collect::<Result<_, Problem>>()?;
                return Ok(Draft::RestoreMessage { chat, message, removal, text, reply_to, is_action, alts });
            }
            Self::React { chat, message, emoji, is_on } => {
                return Ok(Draft::React { chat, message, emoji, is_on });
            }
            Self::SetNickname { nickname } => {
                Command::SetNickname { nickname: Nickname::parse(&nickname)?, chats: Vec::new() }
            }
            Self::EditTitle { chat, title } => Command::EditTitle { chat, title: Title::parse(&title)? },
            Self::SetVisibility { chat, visibility } => Command::SetVisibility { chat, visibility },
            Self::AnswerInvite { chat, answer } => Command::AnswerInvite { chat, answer },
            Self::RemoveMessage { chat, message } => Command::RemoveMessage { chat, message },
            Self::SetRemoved { chat, person, is_removed } => Command::SetRemoved { chat, person, is_removed },
            Self::RemovePerson { chat, person } => Command::RemovePerson { chat, person },
            Self::RemoveNewcomers { chat, seconds } => {
                Command::RemoveNewcomers { chat, seconds, people: Vec::new() }
            }
            Self::RemoveOwn { chat } => Command::RemoveOwn { chat },
            Self::SetLock { chat, is_locked } => Command::SetLock { chat, is_locked },
            Self::SetHidden { person, is_hidden } => Command::SetHidden { person, is_hidden },
        }))
    }
}

/// Parses the text of a message, which may be empty where it can have pictures.
fn body_with(typed: &str, can_be_empty: bool) -> Result<Body, Problem> {
    if can_be_empty && typed.trim().is_empty() { Ok(Body::empty()) } else { Body::parse(typed) }
}

const fn is_false(truth: &bool) -> bool {
    !*truth
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A frame that the server sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerFrame {
    /// Answers a hello. Sent again when the clock of the server was set.
    Welcome {
        /// The server's protocol version.
        version: u32,
        /// The client's user.
        me: User,
        /// The heartbeat interval, in seconds.
        beat_seconds: u64,
        /// The time on the server.
        now: Timestamp,
        /// How long data is kept.
        lifetimes: Lifetimes,
    },
    /// All open invites to the client's user: sent after the welcome, and whenever they change.
    Invites(Vec<Invite>),
    /// All users hidden by the client's user: sent after the welcome, and whenever they change.
    Hidden(Vec<UserId>),
    /// The lobby as requested: answers each request for it.
    Lobby(Lobby),
    /// The changes of the lobby since it was last sent, at most four times a second.
    LobbyChange(LobbyChange),
    /// Answers a watch without a cursor, or with one that cannot be resumed: the client drops what it has of the chat.
    Snapshot {
        /// The chat as it is now.
        chat: Chat,
        /// The newest events.
        history: History,
    },
    /// Answers a watch whose cursor is valid: every event after it follows.
    Resumed {
        /// The chat whose events follow.
        chat: ChatId,
        /// The position of the cursor.
        seq: Seq,
    },
    /// Answers a request for earlier events.
    Earlier {
        /// The chat of the events.
        chat: ChatId,
        /// The event they precede.
        before: Seq,
        /// The events, oldest first, without a gap up to `before`.
        events: Vec<Event>,
        /// Whether there are still earlier ones.
        earlier: bool,
        /// The reactions to these messages.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reactions: Vec<MessageTally>,
    },
    /// Answers a request for later events.
    Later {
        /// The chat of the events.
        chat: ChatId,
        /// The event they follow.
        after: Seq,
        /// The events, oldest first, without a gap from `after` on.
        events: Vec<Event>,
        /// The reactions to these messages.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reactions: Vec<MessageTally>,
    },
    /// Answers a request for the events around a place.
    Around(Around),
    /// Answers a request for what is new.
    News(News),
    /// An event of a watched chat.
    Event(Event),
    /// All members of a watched chat.
    Roster {
        /// The watched chat.
        chat: ChatId,
        /// The members.
        roster: Roster,
    },
    /// The members who joined, left or changed since the last roster or change.
    RosterChange {
        /// The watched chat.
        chat: ChatId,
        /// The difference.
        change: RosterChange,
    },
    /// The reactions to messages of a watched chat that have changed since they were last sent: of each message once, as
    /// they are now.
    Reactions {
        /// The watched chat.
        chat: ChatId,
        /// The position of the newest change, up to which all are known now.
        reacted: Seq,
        /// The messages, at most [`TALLIES_LIMIT`](crate::tally::TALLIES_LIMIT), in the order of their changes. It is not
        /// said which reactions are the reader's own.
        changes: Vec<MessageTally>,
    },
    /// A command has been carried out and is on disk.
    Done {
        /// The client's number of the command.
        request: u64,
        /// Its position in the log.
        seq: Seq,
    },
    /// A refusal. Without a request or a chat it concerns the last frame or the connection.
    #[serde(with = "refusal")]
    Refused {
        /// The client's number of the command, or `None` if it was not one.
        request: Option<u64>,
        /// The chat, or `None` if it was not about one.
        chat: Option<ChatId>,
        /// The reason.
        problem: Problem,
    },
    /// A heartbeat: the connection is alive, and this is what was sent of each watched chat.
    Beat(Vec<Reached>),
}

/// The position of a client in a watched chat, if nothing was lost on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The watched chat.
    pub chat: ChatId,
    /// The newest event that was sent.
    pub seq: Seq,
}

impl ServerFrame {
    /// Creates a refusal that concerns the connection or the last frame.
    pub fn refused(problem: Problem) -> Self {
        Self::Refused { request: None, chat: None, problem }
    }

    /// Creates the refusal of a command.
    pub fn refused_request(request: u64, problem: Problem) -> Self {
        Self::Refused { request: Some(request), chat: None, problem }
    }

    /// Creates the refusal of a watch.
    pub fn refused_chat(chat: ChatId, problem: Problem) -> Self {
        Self::Refused { request: None, chat: Some(chat), problem }
    }
}

/// Serializes a refusal with its problem as three fields: `code` for programs, `message` for people, and, where it is
/// known, `retry_after` in seconds.
mod refusal {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::{ChatId, Problem};

    #[derive(Serialize, Deserialize)]
    struct Refusal<Text> {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chat: Option<ChatId>,
        code: Text,
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u32>,
    }

    type Fields = (Option<u64>, Option<ChatId>, Problem);

    pub(super) fn serialize<S: Serializer>(
        request: &Option<u64>,
        chat: &Option<ChatId>,
        problem: &Problem,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let (code, message) = (problem.code(), problem.to_string());
        let (request, chat, retry_after) = (*request, *chat, problem.retry_after());
        Refusal { request, chat, code, message, retry_after }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        let Refusal::<String> { request, chat, code, retry_after, .. } = Refusal::deserialize(deserializer)?;
        let problem =
            Problem::from_code(&code, retry_after).ok_or_else(|| D::Error::custom("an unknown code"))?;
        Ok((request, chat, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::ID_BYTES,
        message::MENTIONS_LIMIT,
        picture::PICTURES_LIMIT,
        text::{ALT_BYTES, ALT_LIMIT, BODY_BYTES, BODY_LIMIT},
    };

    /// The number of characters of a ticket for a picture, with room for more: it is what the server wrote.
    const TICKET_CHARACTERS: usize = 512;

    /// Returns a text of so many characters and about as many bytes, with as many as possible that JSON escapes.
    fn longest(characters: usize, bytes: usize) -> String {
        // A character can have as many marks as there is room for.
        "\"".repeat(characters - 1) + "x" + &"\u{301}".repeat((bytes - characters) / 2)
    }

    #[test]
    fn the_longest_message_with_all_that_belongs_to_it_fits_into_a_frame() {
        let (chat, user) = (ChatId::from_bytes([255; ID_BYTES]), UserId::from_bytes([255; ID_BYTES]));
        let (body, alt) = (longest(BODY_LIMIT, BODY_BYTES), longest(ALT_LIMIT, ALT_BYTES));
        assert!(Body::parse(&body).is_ok_and(|parsed| parsed.as_str().len() >= BODY_BYTES - 1));
        assert!(Alt::parse(&alt).is_ok_and(|parsed| parsed.as_str().len() >= ALT_BYTES - 1));
        let picture = PictureTicket { ticket: "x".repeat(TICKET_CHARACTERS), alt: alt.clone() };
        let id = PictureId::from_bytes([255; ID_BYTES]);
        let (message, removal, reply_to) = (Seq(u64::MAX), Seq(u64::MAX), Some(Seq(u64::MAX)));
        let mentions = Some(vec![user; MENTIONS_LIMIT]);
        let commands = [
            ClientCommand::Post {
                chat,
                client_id: ClientId::from_bytes([255; ID_BYTES]),
                body: body.clone(),
                waited_millis: u64::MAX,
                reply_to,
                mentions: mentions.clone(),
                pictures: vec![picture; PICTURES_LIMIT],
                is_action: true,
            },
            ClientCommand::RestoreMessage {
                chat,
                message,
                removal,
                body,
                reply_to,
                mentions,
                pictures: vec![PictureAlt { id, alt }; PICTURES_LIMIT],
                is_action: true,
            },
        ];
        for command in commands {
            let frame = ClientFrame::Do { request: u64::MAX, command };
            let length = serde_json::to_string(&frame).unwrap().len();
            assert!((100_000..=FRAME_LIMIT).contains(&length), "{length}");
        }
    }

    #[test]
    fn frames_are_written_as_the_protocol_says() {
        let hello: ClientFrame = serde_json::from_str(r#"{"hello":{"version":1}}"#).unwrap();
        assert_eq!(hello, ClientFrame::Hello { version: 1 });
        let watch: ClientFrame = serde_json::from_str(r#"{"watch":{"chat":"0123456789abcdef"}}"#).unwrap();
        assert!(matches!(watch, ClientFrame::Watch { after: None, .. }));
        let post = r#"{"do":{"request":7,"command":{"post":{"chat":"0123456789abcdef","client_id":"000000000000000z","body":"hi"}}}}"#;
        let frame: ClientFrame = serde_json::from_str(post).unwrap();
        assert_eq!(serde_json::to_string(&frame).unwrap(), post);
        for command in [
            r#"{"post":{"chat":"0123456789abcdef","client_id":"000000000000000z","body":"hi","reply_to":58,"mentions":["0123456789abcdef"],"pictures":[{"ticket":"AQ","alt":"A cat"}],"action":true}}"#,
            r#"{"edit_message":{"chat":"0123456789abcdef","message":60,"body":"no"}}"#,
            r#"{"restore_message":{"chat":"0123456789abcdef","message":60,"removal":64,"body":"no"}}"#,
            r#"{"react":{"chat":"0123456789abcdef","message":58,"emoji":"👍","is_on":true}}"#,
        ] {
            let read: ClientCommand = serde_json::from_str(command).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), command);
        }
        let watch = r#"{"watch":{"chat":"0123456789abcdef","after":{"epoch":"0123456789abcdef","seq":41,"reacted":39}}}"#;
        let frame: ClientFrame = serde_json::from_str(watch).unwrap();
        assert_eq!(serde_json::to_string(&frame).unwrap(), watch);
        for request in [
            r#"{"around":{"chat":"0123456789abcdef","at":58}}"#,
            r#"{"around":{"chat":"0123456789abcdef","since":1763900000000}}"#,
            r#"{"news":{"chat":"0123456789abcdef","after":41}}"#,
        ] {
            let frame: ClientFrame = serde_json::from_str(request).unwrap();
            assert_eq!(serde_json::to_string(&frame).unwrap(), request);
        }
        let chat = "0123456789abcdef".parse().unwrap();
        let beat = ServerFrame::Beat(vec![Reached { chat, seq: Seq(58) }]);
        let json = r#"{"beat":[{"chat":"0123456789abcdef","seq":58}]}"#;
        assert_eq!(serde_json::to_string(&beat).unwrap(), json);
        assert_eq!(
            serde_json::to_string(&ServerFrame::refused(Problem::BadFrame)).unwrap(),
            format!(r#"{{"refused":{{"code":"bad_frame","message":"{}"}}}}"#, Problem::BadFrame)
        );
        let too_fast = ServerFrame::refused_request(7, Problem::TooFast { seconds: 12 });
        let json = serde_json::to_string(&too_fast).unwrap();
        assert!(json.starts_with(r#"{"refused":{"request":7,"code":"too_fast","message":""#), "{json}");
        assert!(json.ends_with(r#"","retry_after":12}}"#), "{json}");
        assert_eq!(serde_json::from_str::<ServerFrame>(&json).unwrap(), too_fast);
    }

    #[test]
    fn what_is_asked_is_checked() {
        let ask = ClientCommand::SetNickname { nickname: " ".into() };
        assert_eq!(ask.check(), Err(Problem::NicknameEmpty));
        let (chat, client_id) = (ChatId::from_bytes([1; ID_BYTES]), ClientId::from_bytes([2; ID_BYTES]));
        let post = |body: &str, alts: &[&str]| {
            let mut post = ClientCommand::post(chat, client_id, body.to_owned(), 0);
            if let ClientCommand::Post { pictures, .. } = &mut post {
                pictures
                    .extend(alts.iter().map(|alt| PictureTicket { ticket: "t".into(), alt: (*alt).into() }));
            }
            post.check()
        };
        assert_eq!(post(" ", &[]), Err(Problem::MessageEmpty));
        assert!(matches!(post(" ", &["a cat"]), Ok(Draft::Say { text, .. }) if text.body.is_empty()));
        assert_eq!(post("a", &[&"x".repeat(ALT_LIMIT + 1)]), Err(Problem::AltTooLong));
        assert_eq!(post("a", &[]), Ok(Draft::post(chat, client_id, Body::parse("a").unwrap())));
        let person = UserId::from_bytes([3; ID_BYTES]);
        let everybody = Some(vec![person; 100]);
        let edit =
            ClientCommand::EditMessage { chat, message: Seq(1), body: "a".into(), mentions: everybody };
        let Ok(Draft::EditMessage { text, .. }) = edit.check() else { panic!("not accepted") };
        assert_eq!(text.mentions, Some(vec![person; MENTIONS_LIMIT]));
    }
}
