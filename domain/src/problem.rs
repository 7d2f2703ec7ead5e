//! Everything that can go wrong between a user and Qchat, and the one place where it is put into words.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Span;

/// The retry delay of [`Problem::Busy`], in seconds.
const BUSY_SECONDS: u32 = 2;

/// The retry delay of [`Problem::Restarting`], in seconds: clients reconnect at random times within it.
const RESTART_SECONDS: u32 = 1;

/// The reason why something was not done. On the wire and in tests it is identified by its [`code`](Problem::code); its
/// `Display` is the sentence for users: what happened and what to do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    thiserror::Error,
    strum::EnumIter,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Problem {
    /// A nickname without anything visible in it.
    #[error("The nickname is empty. Write at least one character.")]
    NicknameEmpty,
    /// A nickname longer than [`crate::text::NICKNAME_LIMIT`].
    #[error("The nickname is too long. It can have up to 20 characters.")]
    NicknameTooLong,
    /// A nickname with characters that are not allowed in names ([`crate::unicode::is_fit_for_names`]).
    #[error("The nickname has characters that cannot be shown. Use letters, digits, signs or emoji.")]
    NicknameNotPlain,
    /// A title without anything visible in it.
    #[error("The title is empty. Write at least one character.")]
    TitleEmpty,
    /// A title longer than [`crate::text::TITLE_LIMIT`].
    #[error("The title is too long. It can have up to 100 characters.")]
    TitleTooLong,
    /// A title with characters that are not allowed in names ([`crate::unicode::is_fit_for_names`]).
    #[error("The title has characters that cannot be shown. Use letters, digits, signs or emoji.")]
    TitleNotPlain,
    /// A message without anything visible in it.
    #[error("The message is empty. Write something first.")]
    MessageEmpty,
    /// A message longer than [`crate::text::BODY_LIMIT`].
    #[error(
        "The message is too long. It can have up to 4,000 characters, fewer where they carry many marks; send it in parts."
    )]
    MessageTooLong,
    /// A message with control characters other than line breaks and tabs.
    #[error("The message has control characters that cannot be shown. Take them out and send it again.")]
    MessageNotPlain,
    /// No chat has this id, or it has ended.
    #[error(
        "This chat is not there. It may have ended, or the link is incomplete. Start a new one from the home page."
    )]
    UnknownChat,
    /// The chat on this page has ended.
    #[error(
        "This chat has ended: it was empty for a while, or those who run this server ended it. What you see of it goes with this page."
    )]
    ChatEnded,
    /// A chat was to be started under an id that is in use.
    #[error("The chat could not be started under this address. Try again.")]
    ChatExists,
    /// Only the owner of the chat may do this.
    #[error("Only the owner of this chat can do that.")]
    NotOwner,
    /// The user is neither of the two users of a direct chat.
    #[error(
        "This is a private chat of two people, and only they can enter. Start one of your own from the home page."
    )]
    NotAdmitted,
    /// A direct chat cannot be listed or locked, and nobody can be removed from it.
    #[error("That cannot be done in a private chat of two people. Start one for more from the home page.")]
    ChatOfTwo,
    /// The owner has removed the user from the chat.
    #[error("The owner has removed you from this chat. Start one of your own from the home page.")]
    Removed,
    /// The chat is locked: only its owner can write.
    #[error("This chat is locked: only its owner can write just now. Try again when it is open.")]
    ChatLocked,
    /// The message has expired or never existed.
    #[error("This message is not there any more.")]
    MessageGone,
    /// The cluster still decides by rules that do not know this, since one of its servers is older.
    #[error("Qchat is being updated: this works in a moment, when all its servers are new.")]
    NotYet,
    /// The message that is to be answered was removed, has expired or never existed.
    #[error("The message you answer is not there any more. Retry sends this without the answer.")]
    ReplyGone,
    /// A user tried to change what another one wrote.
    #[error("Only whoever wrote a message can change it.")]
    NotAuthor,
    /// The removal is longer ago than [`crate::decide::RESTORE_MILLIS`].
    #[error("That was removed a while ago, and cannot be brought back. Write it again.")]
    TooLateToUndo,
    /// The reaction is a text that is not an emoji.
    #[error("That is no emoji. Choose one from the list.")]
    NotAnEmoji,
    /// As many different emoji are on the message as allowed ([`crate::reaction::REACTIONS_LIMIT`]).
    #[error("20 different emoji are on this message already. Join one of them.")]
    TooManyReactions,
    /// The operator has switched pictures off.
    #[error("Pictures are switched off here.")]
    PicturesOff,
    /// The file is none of the kinds of pictures that are taken.
    #[error("That is no picture that Qchat knows. Send a JPEG, PNG, GIF or WebP.")]
    NotAPicture,
    /// The picture could not be decoded, or did not arrive whole.
    #[error("This picture is damaged, or did not arrive whole. Try another one.")]
    PictureDamaged,
    /// The file of the picture is larger than the server takes.
    #[error("The picture is too large. It can have up to {mebibytes} MB.")]
    PictureTooLarge {
        /// The limit in force, in MiB. 0 where a client has read the code alone.
        mebibytes: u32,
    },
    /// The picture has more pixels than the server decodes.
    #[error("The picture has too many pixels. Make it smaller, and send it again.")]
    PictureTooManyPixels,
    /// More pictures than a message can have, by the settings of the server or at all ([`crate::picture::PICTURES_LIMIT`]).
    #[error("These are more pictures than a message can have here. Send some of them in another message.")]
    TooManyPictures,
    /// The picture was uploaded longer ago than [`crate::picture::PICTURE_WAITS_MILLIS`].
    #[error("The picture waited too long to be sent. Attach it again.")]
    PictureExpired,
    /// The picture belongs to another message, or is twice in this one.
    #[error("This picture is in another message already. Attach it again.")]
    PictureUsed,
    /// A description of a picture that is longer than [`crate::text::ALT_LIMIT`].
    #[error("The description is too long. It can have up to 1,000 characters.")]
    AltTooLong,
    /// The message was first tried so long ago that the ids of that time are forgotten, so a retry may post it twice.
    #[error("This waited so long that others may have seen it already. If it is missing, send it again.")]
    WaitedTooLong,
    /// A user tried to remove or hide themselves.
    #[error("That is you. Only others can be removed or hidden.")]
    OnlyOthers,
    /// The list of users removed from the chat is full ([`crate::chat::REMOVED_LIMIT`]).
    #[error("500 people were removed from this chat already. Lock it, or let some of them return.")]
    TooManyRemoved,
    /// The user has hidden as many others as allowed ([`crate::user::HIDDEN_LIMIT`]).
    #[error("You have hidden 100 people already. Show some of them again first.")]
    TooManyHidden,
    /// A user asked for a direct chat with themselves.
    #[error("That is you. Choose somebody else to chat with privately.")]
    ChatWithOneself,
    /// The user to invite is offline, or the user to remove was never in the chat.
    #[error("They have just left. Try again when they are back.")]
    UserGone,
    /// The invite was answered or withdrawn, or has expired.
    #[error("This invite is no longer open. Whoever invited you may have left.")]
    InviteGone,
    /// The user to invite has too many open invites ([`crate::invite::INVITES_LIMIT`]) or too many direct chats.
    #[error("They have many invites to answer already. Try again in a while.")]
    TooManyInvites,
    /// The user to invite accepts no invites.
    #[error("They take no private invites just now. You can write to them in the chat that you share.")]
    InvitesNotTaken,
    /// `/nick` without a name.
    #[error("To change your nickname, write /nick and the name, for example /nick Ana.")]
    NickWithoutName,
    /// A message that begins with a slash and is not a command.
    #[error(
        "There is no such command. Write /help for those there are; to begin a message with a slash, write two of them."
    )]
    UnknownSlash,
    /// `/me` without anything after it.
    #[error("Write what you do after /me, for example /me waves.")]
    MeWithoutWords,
    /// `/help`: an answer rather than a problem.
    #[error(
        "Write /nick and a name to change your nickname, and /me and what you do to say it. To begin a message with a slash, \
         write two of them."
    )]
    SlashHelp,
    /// The page has no connection, and the action cannot wait for one.
    #[error("There is no connection just now, so this was not done. Try again when you are back.")]
    NotConnected,
    /// The connection was lost before the answer came.
    #[error(
        "The connection was lost before the answer came, so this may have been done. Look again when you are back."
    )]
    AnswerLost,
    /// The message was written before this browser became another user.
    #[error("This was written under another name, before this browser was somebody new here.")]
    WrittenAsAnother,
    /// The request has no valid session.
    #[error(
        "Qchat does not know this browser. Allow cookies for this site, then send it again or load the page again."
    )]
    NoSession,
    /// The request has two valid sessions that differ, so it is unknown which one is meant.
    #[error(
        "This browser sent two different sessions for this site, and Qchat cannot tell which one is yours. Clear the cookies of this site and of its subdomains, then load the page again."
    )]
    TwoSessions,
    /// The request came from a page of another site.
    #[error("This came from a page of another site and was not accepted. Open Qchat itself and try there.")]
    CrossOrigin,
    /// The frame is not JSON, or not a frame of the protocol.
    #[error("That was not understood: it is not a frame of the Qchat protocol.")]
    BadFrame,
    /// The frame is binary.
    #[error("That was not understood: Qchat speaks in text frames, and this one is binary.")]
    BinaryFrame,
    /// The frame is longer than [`crate::frame::FRAME_LIMIT`].
    #[error("That was too large: a frame can have up to 131,072 bytes.")]
    FrameTooLarge,
    /// The server does not support the client's protocol version.
    #[error("This page and the server speak different versions. Load the page again.")]
    UnknownVersion,
    /// A frame came before the hello.
    #[error("The first frame has to be a hello.")]
    HelloFirst,
    /// The connection watches [`crate::frame::WATCH_LIMIT`] chats already.
    #[error("This connection follows too many chats at once. Close some of them first.")]
    TooManyChats,
    /// The session has too many WebSocket connections.
    #[error(
        "Qchat is open in too many windows of this browser. Close some of them, then load this page again."
    )]
    TooManyPages,
    /// The filter is longer than [`crate::lobby::FILTER_LIMIT`].
    #[error("The filter is too long. It can have up to 100 characters, as many as a title.")]
    FilterTooLong,
    /// What is looked for in a chat is longer than [`crate::search::SEARCH_LIMIT`] or has more words than
    /// [`crate::search::WORDS_LIMIT`].
    #[error("The search is too long. It can have up to 100 characters, in 8 words at most.")]
    SearchTooLong,
    /// The session or the address has as many filtered lists open as allowed.
    #[error(
        "The list of chats is filtered in many windows already, here or by others at your address. Clear the filter in one of them first."
    )]
    TooManyFilters,
    /// The chat has as many members as allowed.
    #[error("This chat is full. Come back when somebody has left, or start one of your own.")]
    ChatFull,
    /// The user has started as many chats as allowed.
    #[error(
        "You have as many chats as one person can have here. One of them ends when nobody has been in it for a while."
    )]
    TooManyOwn,
    /// The storage quota is used up.
    #[error(
        "Qchat has no room for more just now, and this was not stored. Old messages are deleted automatically; try again later."
    )]
    StorageFull,
    /// As many messages wait to be sent as a page keeps ([`crate::timeline::PENDING_LIMIT`]).
    #[error(
        "100 messages are waiting to be sent. What you wrote stays here; send it when they have gone out."
    )]
    TooManyWaiting,
    /// A file that is no picture was dropped on a page or pasted.
    #[error("Qchat takes text and pictures. Put other files where others can get them, and send the link.")]
    TextOnly,
    /// A field of the form is missing or damaged.
    #[error("The form did not arrive whole. Go back, load the page again and send it once more.")]
    BadForm,
    /// The rate limit is exceeded.
    #[error("That was a lot in a short time, and this was not done. Try again in {}.", Span::seconds((*seconds).into()))]
    TooFast {
        /// How long to wait, in seconds.
        seconds: u32,
    },
    /// The server is overloaded.
    #[error("Qchat is very busy, and this was not done. Try again in a moment.")]
    Busy,
    /// The server could not store it, or does not know whether it did.
    #[error("Qchat could not store this. Try again in a moment; it will not be there twice.")]
    NotStored,
    /// Stored data could not be read.
    #[error("Qchat could not read its data. Try again in a moment.")]
    NotReadable,
    /// The server is about to stop.
    #[error("Qchat is restarting. The page comes back by itself in a moment.")]
    Restarting,
}

impl Problem {
    /// Returns the name of the problem for programs, as specified in the protocol.
    pub fn code(self) -> &'static str {
        self.into()
    }

    /// Returns the problem with this code, given its delay in seconds where it has one. `None` if the code is unknown.
    pub fn from_code(code: &str, seconds: Option<u32>) -> Option<Self> {
        Some(match (code.parse().ok()?, seconds) {
            (Self::TooFast { .. }, Some(seconds)) => Self::TooFast { seconds },
            (named, _) => named,
        })
    }

    /// Creates a `TooFast` with this delay, rounded up to whole seconds, at least one.
    pub fn too_fast(wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1_000).max(1);
        Self::TooFast { seconds: u32::try_from(seconds).unwrap_or(u32::MAX) }
    }

    /// Returns how long to wait before a retry, in seconds, or `None` if that is not known.
    pub const fn retry_after(self) -> Option<u32> {
        match self {
            Self::TooFast { seconds } => Some(seconds),
            Self::Busy => Some(BUSY_SECONDS),
            Self::Restarting => Some(RESTART_SECONDS),
            _ => None,
        }
    }

    /// Whether a message refused with this problem is kept and sent again automatically, after a reconnect or on a page
    /// that can connect.
    pub const fn is_of_connection(self) -> bool {
        matches!(self, Self::UnknownVersion | Self::NoSession | Self::TwoSessions | Self::TooManyPages)
            || self.is_passing()
    }

    /// Whether this is about the pictures of a message, and not about its text.
    pub const fn is_of_pictures(self) -> bool {
        matches!(
            self,
            Self::PicturesOff
                | Self::NotAPicture
                | Self::PictureDamaged
                | Self::PictureTooLarge { .. }
                | Self::PictureTooManyPixels
                | Self::TooManyPictures
                | Self::PictureExpired
                | Self::PictureUsed
        )
    }

    /// Whether the same request may succeed later without any change by the user.
    pub const fn is_passing(self) -> bool {
        matches!(
            self,
            Self::TooFast { .. }
                | Self::Busy
                | Self::StorageFull
                | Self::NotStored
                | Self::NotReadable
                | Self::Restarting
                | Self::NotConnected
                | Self::NotYet
        )
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;
    use crate::{
        chat::REMOVED_LIMIT,
        frame::FRAME_LIMIT,
        lobby::FILTER_LIMIT,
        reaction::REACTIONS_LIMIT,
        search::{SEARCH_LIMIT, WORDS_LIMIT},
        text::{ALT_LIMIT, BODY_LIMIT, NICKNAME_LIMIT, TITLE_LIMIT},
        timeline::PENDING_LIMIT,
        user::HIDDEN_LIMIT,
    };

    #[test]
    fn a_code_names_its_problem() {
        for problem in Problem::iter() {
            assert_eq!(Problem::from_code(problem.code(), problem.retry_after()), Some(problem));
        }
        assert_eq!(Problem::from_code("no_such_thing", None), None);
    }

    #[test]
    fn how_long_to_wait_is_said() {
        assert!(Problem::TooFast { seconds: 1 }.to_string().ends_with("Try again in 1 second."));
        assert_eq!(Problem::too_fast(Duration::from_millis(1_001)), Problem::TooFast { seconds: 2 });
        assert_eq!(Problem::too_fast(Duration::ZERO), Problem::TooFast { seconds: 1 });
        assert!(Problem::TooFast { seconds: 120 }.to_string().ends_with("Try again in 2 minutes."));
    }

    #[test]
    fn every_problem_is_a_sentence_for_people() {
        for problem in Problem::iter() {
            let sentence = problem.to_string();
            assert!(
                sentence.ends_with('.') && !sentence.contains('!') && !sentence.contains('_'),
                "{sentence}"
            );
        }
    }

    #[test]
    fn sentences_name_the_limits_in_force() {
        assert!(Problem::NicknameTooLong.to_string().contains(&NICKNAME_LIMIT.to_string()));
        assert!(Problem::TitleTooLong.to_string().contains(&TITLE_LIMIT.to_string()));
        assert!(Problem::MessageTooLong.to_string().replace(',', "").contains(&BODY_LIMIT.to_string()));
        assert!(Problem::FilterTooLong.to_string().contains(&FILTER_LIMIT.to_string()));
        let too_long = Problem::SearchTooLong.to_string();
        assert!(
            too_long.contains(&format!("{SEARCH_LIMIT} ")) && too_long.contains(&format!("{WORDS_LIMIT} "))
        );
        assert!(Problem::TooManyRemoved.to_string().contains(&REMOVED_LIMIT.to_string()));
        assert!(Problem::TooManyWaiting.to_string().contains(&PENDING_LIMIT.to_string()));
        assert!(Problem::TooManyHidden.to_string().contains(&HIDDEN_LIMIT.to_string()));
        assert!(Problem::TooManyReactions.to_string().contains(&REACTIONS_LIMIT.to_string()));
        assert!(Problem::AltTooLong.to_string().replace(',', "").contains(&ALT_LIMIT.to_string()));
        assert!(Problem::FrameTooLarge.to_string().replace(',', "").contains(&FRAME_LIMIT.to_string()));
    }
}
