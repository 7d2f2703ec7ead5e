//! The frames of the live connection: JSON text over one WebSocket at `/live`, described in docs/protocol.md.

use serde::{Deserialize, Serialize};

use crate::{
    Answer, Body, Chat, ChatId, ClientId, Command, Epoch, Event, Invite, Lifetimes, Lobby, Nickname, Problem,
    Roster, Seq, Timestamp, Title, User, UserId, Visibility,
    lobby::{LobbyChange, LobbyQuery},
    page::History,
    roster::RosterChange,
};

/// The version of the protocol that this code speaks.
pub const VERSION: u32 = 4;
/// A frame has at most this many bytes.
pub const FRAME_LIMIT: usize = 65_536;
/// One connection watches at most this many chats.
pub const WATCH_LIMIT: usize = 32;
/// One connection has at most this many commands on their way; further frames wait in the network.
pub const COMMANDS_IN_FLIGHT: usize = 32;
/// Seconds between two beats of the server.
pub const BEAT_SECONDS: u64 = 20;
/// A side that has heard nothing for this many seconds takes the connection for dead: two beats and some patience.
pub const SILENCE_SECONDS: u64 = 50;
/// A cursor further behind than this many events is answered by a snapshot.
pub const RESUME_EVENTS: usize = 1_000;
/// The WebSocket close code after a breach of this protocol that makes going on senseless.
pub const CLOSE_PROTOCOL: u16 = 4400;
/// The WebSocket close code for a client without a session, or with one that does not hold.
pub const CLOSE_NO_SESSION: u16 = 4401;

/// The WebSocket close code for a session that has too many connections already.
pub const CLOSE_TOO_MANY: u16 = 4429;

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientFrame {
    /// Has to come first.
    Hello {
        /// The version of the protocol that the client speaks.
        version: u32,
    },
    /// Follow a chat, as one of its members: from a cursor, or from a snapshot.
    Watch {
        /// Which.
        chat: ChatId,
        /// What the client has; nothing to start with a snapshot.
        #[serde(default)]
        after: Option<Cursor>,
    },
    /// Stop following a chat.
    Unwatch {
        /// Which.
        chat: ChatId,
    },
    /// The user is writing something in a watched chat. Worth sending once a second at most.
    Typing {
        /// Where.
        chat: ChatId,
    },
    /// Follow the lobby: how many there are in all, and the public chats that are wanted. Asking again changes what is
    /// wanted.
    Lobby(LobbyQuery),
    /// Give the page of history before an event.
    Earlier {
        /// Of which chat.
        chat: ChatId,
        /// The oldest event the client has.
        before: Seq,
    },
    /// Answer with a beat at once: asked by a client that wants to know whether the connection lives.
    Ping {},
    /// Give the page of history after an event.
    Later {
        /// Of which chat.
        chat: ChatId,
        /// The newest event the client still has.
        after: Seq,
    },
    /// Ask for something durable.
    Do {
        /// Any number; the answer carries it.
        request: u64,
        /// What.
        command: Ask,
    },
}

/// The last event a client has of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// In the log of this epoch,
    pub epoch: Epoch,
    /// at this place.
    pub seq: Seq,
}

/// A command as it comes from outside: text not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Be called this from now on.
    SetNickname {
        /// As typed.
        nickname: String,
    },
    /// Call a chat something else. For its owner alone.
    EditTitle {
        /// Which.
        chat: ChatId,
        /// As typed.
        title: String,
    },
    /// Let a chat be found by everybody, or by its link alone. For its owner alone.
    SetVisibility {
        /// Which.
        chat: ChatId,
        /// Who can find it.
        visibility: Visibility,
    },
    /// Say something.
    Post {
        /// Where.
        chat: ChatId,
        /// Made by the client, the same for every retry of this message.
        client_id: ClientId,
        /// As typed.
        body: String,
        /// How many milliseconds ago the client tried for the first time; 0 where this is that time.
        #[serde(default, skip_serializing_if = "is_zero")]
        waited_millis: u64,
    },
    /// Say yes or no to an invite.
    AnswerInvite {
        /// To which chat.
        chat: ChatId,
        /// What.
        answer: Answer,
    },
    /// Take away a message: one's own, or anybody's for the owner of a chat of many.
    RemoveMessage {
        /// Where.
        chat: ChatId,
        /// Its place.
        message: Seq,
    },
    /// Remove somebody from a chat, or let them return. For its owner alone.
    SetRemoved {
        /// Which.
        chat: ChatId,
        /// Whom.
        person: UserId,
        /// Whether they may not be there.
        is_removed: bool,
    },
    /// Remove somebody from a chat with all they said in it. For its owner alone.
    RemovePerson {
        /// Which.
        chat: ChatId,
        /// Whom.
        person: UserId,
    },
    /// Remove everybody from a chat who came lately, with all they said in it. For its owner alone.
    RemoveNewcomers {
        /// Which.
        chat: ChatId,
        /// How many seconds ago they came at most.
        seconds: u64,
    },
    /// Take away all one said in a chat.
    RemoveOwn {
        /// Which.
        chat: ChatId,
    },
    /// Let nobody else write in a chat, or everybody again. For its owner alone.
    SetLock {
        /// Which.
        chat: ChatId,
        /// Whether the owner alone can write.
        is_locked: bool,
    },
    /// Hide what somebody says from oneself, or show it again.
    SetHidden {
        /// Whose.
        person: UserId,
        /// Whether it is hidden.
        is_hidden: bool,
    },
}

impl Ask {
    /// Checks what was asked for, once; behind this border only right values exist.
    ///
    /// # Errors
    /// The [`Problem`] with the first text that is wrong.
    pub fn check(self) -> Result<Command, Problem> {
        Ok(match self {
            Self::SetNickname { nickname } => {
                Command::SetNickname { nickname: Nickname::parse(&nickname)?, chats: Vec::new() }
            }
            Self::EditTitle { chat, title } => Command::EditTitle { chat, title: Title::parse(&title)? },
            Self::SetVisibility { chat, visibility } => Command::SetVisibility { chat, visibility },
            Self::Post { chat, client_id, body, waited_millis } => {
                Command::Post { chat, client_id, body: Body::parse(&body)?, waited_millis }
            }
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
        })
    }
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What the server sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerFrame {
    /// The answer to a hello, and again when the clock of the server was set.
    Welcome {
        /// The version of the protocol that the server speaks.
        version: u32,
        /// Who the client is.
        me: User,
        /// Seconds between two beats.
        beat_seconds: u64,
        /// What time it is on the server.
        now: Timestamp,
        /// How long things are kept.
        lifetimes: Lifetimes,
    },
    /// Everybody who wants to talk to the client's user and waits for an answer: after the welcome, and whenever that
    /// changes.
    Invites(Vec<Invite>),
    /// Everybody whom the client's user has hidden: after the welcome, and whenever that changes.
    Hidden(Vec<UserId>),
    /// The lobby as it is wanted: the answer to each request for it.
    Lobby(Lobby),
    /// What changed in the lobby since it was last sent, four times a second at most.
    LobbyChange(LobbyChange),
    /// The answer to a watch without a cursor, or with one that cannot be continued: forget what you had.
    Snapshot {
        /// The chat as it is now.
        chat: Chat,
        /// Its newest events.
        history: History,
    },
    /// The answer to a watch whose cursor holds: every event after it follows.
    Resumed {
        /// Which chat.
        chat: ChatId,
        /// The cursor's place.
        seq: Seq,
    },
    /// The answer to a request for earlier events.
    Earlier {
        /// Of which chat.
        chat: ChatId,
        /// Before which event they are.
        before: Seq,
        /// They, oldest first, without a hole up to that event.
        events: Vec<Event>,
        /// Whether there are even earlier ones.
        earlier: bool,
    },
    /// The answer to a request for later events.
    Later {
        /// Of which chat.
        chat: ChatId,
        /// After which event they are.
        after: Seq,
        /// They, oldest first, without a hole from that event on.
        events: Vec<Event>,
    },
    /// Something happened.
    Event(Event),
    /// Everybody who is there.
    Roster {
        /// Which chat.
        chat: ChatId,
        /// Who.
        roster: Roster,
    },
    /// Who came and who left since the last roster or change.
    RosterChange {
        /// Which chat.
        chat: ChatId,
        /// Who.
        change: RosterChange,
    },
    /// A command is done and on disk.
    Done {
        /// The client's number for it.
        request: u64,
        /// Its place in the log.
        seq: Seq,
    },
    /// Something was not done. Without a request or a chat it concerns the last frame or the connection.
    #[serde(with = "refusal")]
    Refused {
        /// The client's number for it, if it was a command.
        request: Option<u64>,
        /// The chat, if it was a watch.
        chat: Option<ChatId>,
        /// Why.
        problem: Problem,
    },
    /// The connection is alive, and this is what was sent of the chats that are watched on it.
    Beat(Vec<Reached>),
}

/// How far a client is in a chat it watches, if nothing was lost on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Which chat.
    pub chat: ChatId,
    /// The newest event that was sent.
    pub seq: Seq,
}

impl ServerFrame {
    /// A refusal that concerns the connection or the last frame.
    pub fn refused(problem: Problem) -> Self {
        Self::Refused { request: None, chat: None, problem }
    }

    /// The refusal of a command.
    pub fn refused_request(request: u64, problem: Problem) -> Self {
        Self::Refused { request: Some(request), chat: None, problem }
    }

    /// The refusal of a watch.
    pub fn refused_chat(chat: ChatId, problem: Problem) -> Self {
        Self::Refused { request: None, chat: Some(chat), problem }
    }
}

/// A refusal with its problem as three fields: `code` for programs, `message` for people, and `retry_after` in seconds
/// where that is known.
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

    #[test]
    fn frames_are_written_as_the_protocol_says() {
        let hello: ClientFrame = serde_json::from_str(r#"{"hello":{"version":1}}"#).unwrap();
        assert_eq!(hello, ClientFrame::Hello { version: 1 });
        let watch: ClientFrame = serde_json::from_str(r#"{"watch":{"chat":"0123456789abcdef"}}"#).unwrap();
        assert!(matches!(watch, ClientFrame::Watch { after: None, .. }));
        let post = r#"{"do":{"request":7,"command":{"post":{"chat":"0123456789abcdef","client_id":"000000000000000z","body":"hi"}}}}"#;
        let frame: ClientFrame = serde_json::from_str(post).unwrap();
        assert_eq!(serde_json::to_string(&frame).unwrap(), post);
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
        let ask = Ask::SetNickname { nickname: " ".into() };
        assert_eq!(ask.check(), Err(Problem::NicknameEmpty));
    }
}
