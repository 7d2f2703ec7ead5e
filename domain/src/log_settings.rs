//! The settings of the log: what decides beside the state and the entry. They are the same wherever the log is read.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Lifetimes;

/// A version of the rules by which [`decide`](fn@crate::decide) decides. It rises when the same state and entry would be
/// decided otherwise than before, be it by another limit or another list of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rules(pub u16);

impl Rules {
    /// The oldest rules by which this Qchat can decide.
    pub const OLDEST: Self = Self(1);
    /// The oldest rules that know messages with marks, and what can be done with messages.
    pub const OF_MESSAGES: Self = Self(2);
    /// The newest rules by which this Qchat can decide.
    pub const NEWEST: Self = Self(2);
}

/// The newest rules.
impl Default for Rules {
    fn default() -> Self {
        Self::NEWEST
    }
}

/// Formats as the number alone.
impl fmt::Display for Rules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What decides beside the state and the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// How long users, chats and messages are kept.
    pub lifetimes: Lifetimes,
    /// The rules in force.
    pub rules: Rules,
}

impl Default for LogSettings {
    fn default() -> Self {
        Lifetimes::default().into()
    }
}

/// The settings of a log that begins with this Qchat: these lifetimes and the newest rules.
impl From<Lifetimes> for LogSettings {
    fn from(lifetimes: Lifetimes) -> Self {
        Self { lifetimes, rules: Rules::NEWEST }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        Alt, Nickname, Span, Title, User, UserId,
        chat::REMOVED_LIMIT,
        decide::{RESTORE_EVENTS, RESTORE_MILLIS},
        id::ID_BYTES,
        invite::{
            DECLINE_COOLDOWN_MILLIS, DIRECT_CHATS_LIMIT, DIRECT_CHATS_WITH_ONE_LIMIT,
            INVITES_FROM_AFAR_LIMIT, INVITES_LIMIT,
        },
        log_clock::TOLERANCE_MILLIS,
        marks::{MARKS_DEPTH, MARKS_LIMIT},
        message::MENTIONS_LIMIT,
        picture::{PICTURE_WAITS_MILLIS, PICTURES_LIMIT},
        reaction::{EMOJI_BYTES, REACTIONS_LIMIT, REACTORS_NAMED},
        text::BODY_BYTES,
        user::HIDDEN_LIMIT,
    };

    /// The hash of what decides, for each version of the rules that was released.
    const HASHES: [(Rules, u64); 2] = [(Rules(1), 0xa621_c08a_52f3_9648), (Rules(2), 0x75f2_52cd_c88f_38e8)];

    /// Returns a hash that never changes (FNV-1a).
    fn hash(text: &str) -> u64 {
        text.bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// Returns the length in bytes of the longest text that is taken.
    fn longest<T: TryFrom<String>>() -> usize {
        (1..).take_while(|length| T::try_from("x".repeat(*length)).is_ok()).last().unwrap_or_default()
    }

    /// Returns all that decides beside the code of the rules: word lists, limits and other constants.
    fn constants() -> String {
        let limits = BTreeMap::from([
            ("removed", REMOVED_LIMIT),
            ("hidden", HIDDEN_LIMIT),
            ("invites", INVITES_LIMIT),
            ("invites from afar", INVITES_FROM_AFAR_LIMIT),
            ("direct chats", DIRECT_CHATS_LIMIT),
            ("direct chats with one", DIRECT_CHATS_WITH_ONE_LIMIT),
            // Shorter ones would make proposals unreadable that are in a log.
            ("bytes of a nickname", longest::<Nickname>()),
            ("bytes of a title", longest::<Title>()),
            ("bytes of a message", BODY_BYTES),
            ("marks", MARKS_LIMIT),
            ("depth of marks", MARKS_DEPTH),
            ("mentions", MENTIONS_LIMIT),
            ("pictures", PICTURES_LIMIT),
            ("events since a removal", RESTORE_EVENTS),
            ("bytes of a description", longest::<Alt>()),
            ("reactions", REACTIONS_LIMIT),
            ("reactors named", REACTORS_NAMED),
            ("bytes of an emoji", EMOJI_BYTES),
        ]);
        let spans = [DECLINE_COOLDOWN_MILLIS, TOLERANCE_MILLIS, PICTURE_WAITS_MILLIS, RESTORE_MILLIS];
        let names: Vec<_> = (0..1_600).map(Nickname::friendly).collect();
        let users: Vec<_> =
            (0..=u8::MAX).map(|byte| User::new(UserId::from_bytes([byte; ID_BYTES]))).collect();
        let titles =
            names.windows(2).map(|pair| (Title::for_chat_of(&pair[0]), Title::for_two(&pair[0], &pair[1])));
        let titles: Vec<_> = titles.collect();
        let silences: Vec<_> = [1, 10, 100, 1_000]
            .map(|seconds| {
                let lifetimes = Lifetimes { user: Span::seconds(seconds), ..Lifetimes::default() };
                lifetimes.longest_silence()
            })
            .into();
        format!("{limits:?}{spans:?}{names:?}{users:?}{titles:?}{silences:?}")
    }

    #[test]
    fn what_decides_is_changed_only_with_a_new_version_of_the_rules() {
        let hash = hash(&constants());
        let (newest, known) = HASHES[HASHES.len() - 1];
        assert_eq!(newest, Rules::NEWEST, "the newest rules need a hash: {hash:#x}");
        assert_eq!(
            hash, known,
            "a list of words, a limit or another constant was changed by which entries of the log are decided. Nodes of \
             the version before would decide otherwise: raise `Rules::NEWEST`, keep the old value for older rules, and add \
             {hash:#x}"
        );
    }
}
