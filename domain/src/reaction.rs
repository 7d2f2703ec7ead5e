//! Reactions to messages. They are no events of a chat: of each message its tally is kept, and a reader is sent the
//! tallies that have changed.

use serde::{Deserialize, Serialize};

use crate::{ChatId, Problem, Seq, User};

/// The maximum length of an emoji, in bytes: the longest has 35.
pub const EMOJI_BYTES: usize = 48;
/// The maximum number of different emoji on one message.
pub const REACTIONS_LIMIT: usize = 20;
/// The number of users of an emoji who are named.
pub const REACTORS_NAMED: usize = 10;
/// The maximum size of a nickname in a tally, in bytes. Of 200 names that are longer than any usual one, all would be
/// sent with every change.
const NAME_BYTES: usize = 80;

/// An emoji as a reaction: a text of 1 to [`EMOJI_BYTES`] bytes. Which texts are emoji is decided where it enters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Emoji(String);

impl Emoji {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Emoji {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        if (1..=EMOJI_BYTES).contains(&text.len()) { Ok(Self(text)) } else { Err(Problem::NotAnEmoji) }
    }
}

impl From<Emoji> for String {
    fn from(emoji: Emoji) -> Self {
        emoji.0
    }
}

/// That a user reacts to a message, or does so no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The chat that the message is in.
    pub chat: ChatId,
    /// The sequence number of the message.
    pub message: Seq,
    /// The emoji.
    pub emoji: Emoji,
    /// The user, with their nickname then.
    pub by: User,
    /// Whether the user reacts with this emoji from now on.
    pub is_on: bool,
    /// The position of this change in the log.
    pub seq: Seq,
}

/// The reactions to a message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// The position in the log of the newest change. [`Seq::ZERO`] before the first.
    pub changed: Seq,
    /// The emoji in the order in which they were first used, so that their places stay: at most [`REACTIONS_LIMIT`].
    pub of: Vec<Count>,
}

/// How many users have reacted with one emoji.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The emoji.
    pub emoji: Emoji,
    /// How many users, at least one.
    pub count: u32,
    /// Some of them, the newest first, at most [`REACTORS_NAMED`], with their nicknames then. A long nickname is cut.
    pub newest: Vec<User>,
}

impl Tally {
    /// Returns how many users have reacted with an emoji.
    pub fn count_of(&self, emoji: &Emoji) -> u32 {
        self.of.iter().find(|count| count.emoji == *emoji).map_or(0, |count| count.count)
    }

    /// Returns the tally after a reaction that changes it: one that was not there before, or was there and goes.
    #[must_use]
    pub fn after(mut self, reaction: &Reaction) -> Self {
        let Reaction { emoji, by, is_on, seq, .. } = reaction;
        self.changed = *seq;
        let place = self.of.iter().position(|count| count.emoji == *emoji);
        match (place.and_then(|place| self.of.get_mut(place)), is_on) {
            (Some(count), true) => {
                count.count = count.count.saturating_add(1);
                count.add(by);
            }
            (None, true) => {
                let mut count = Count { emoji: emoji.clone(), count: 1, newest: Vec::new() };
                count.add(by);
                self.of.push(count);
            }
            (Some(count), false) => {
                count.count = count.count.saturating_sub(1);
                // the next one is not looked for: of ten thousand that would be a long search for each click
                count.newest.retain(|user| user.id != by.id);
            }
            (None, false) => {}
        }
        self.of.retain(|count| count.count > 0);
        self
    }
}

impl Count {
    fn add(&mut self, by: &User) {
        self.newest.retain(|user| user.id != by.id);
        self.newest.insert(0, User { id: by.id, nickname: by.nickname.cut(NAME_BYTES) });
        self.newest.truncate(REACTORS_NAMED);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{Nickname, UserId, id::ID_BYTES};

    fn emoji(text: &str) -> Emoji {
        Emoji::try_from(text.to_owned()).unwrap()
    }

    fn reaction(by: u8, text: &str, is_on: bool, seq: u64) -> Reaction {
        Reaction {
            chat: ChatId::from_bytes([7; ID_BYTES]),
            message: Seq(3),
            emoji: emoji(text),
            by: User { id: UserId::from_bytes([by; ID_BYTES]), nickname: Nickname::friendly(by.into()) },
            is_on,
            seq: Seq(seq),
        }
    }

    #[test]
    fn an_emoji_has_a_length() {
        assert_eq!(Emoji::try_from(String::new()), Err(Problem::NotAnEmoji));
        assert_eq!(Emoji::try_from("x".repeat(EMOJI_BYTES + 1)), Err(Problem::NotAnEmoji));
        assert_eq!(emoji("👍🏽").as_str(), "👍🏽");
    }

    #[test]
    fn a_tally_of_longest_names_stays_small() {
        let mut tally = Tally::default();
        let longest = Nickname::try_from("👨\u{200d}👩\u{200d}👧\u{200d}👦".repeat(20)).unwrap();
        for (place, number) in (0..REACTIONS_LIMIT).zip(b'a'..) {
            for by in 0..12 {
                let seq = (place as u64) << 8 | u64::from(by);
                let mut reaction = reaction(by, char::from(number).encode_utf8(&mut [0; 4]), true, seq);
                reaction.by.nickname = longest.clone();
                tally = tally.after(&reaction);
            }
        }
        assert_eq!(tally.of.len(), REACTIONS_LIMIT);
        assert!(tally.of.iter().all(|count| (count.count, count.newest.len()) == (12, REACTORS_NAMED)));
        let size = postcard::to_stdvec(&tally).unwrap().len();
        assert!(size < 20_000, "{size} bytes");
    }

    proptest! {
        /// A tally has what a set of users for each emoji has.
        #[test]
        fn a_tally_counts_as_sets_do(clicks in vec((0..14_u8, 0..3_usize, any::<bool>()), 0..120)) {
            let mut tally = Tally::default();
            let mut sets: Vec<(&str, BTreeSet<u8>)> = Vec::new();
            for (seq, (by, place, is_on)) in clicks.into_iter().enumerate() {
                let text = ["👍", "❤️", "🎉"][place];
                let at = sets.iter().position(|(of, _)| *of == text);
                let is_there = at.is_some_and(|at| sets[at].1.contains(&by));
                if is_there == is_on {
                    continue;
                }
                match at {
                    None => sets.push((text, BTreeSet::from([by]))),
                    Some(at) if is_on => {
                        sets[at].1.insert(by);
                    }
                    Some(at) => {
                        sets[at].1.remove(&by);
                    }
                }
                sets.retain(|(_, users)| !users.is_empty());
                tally = tally.after(&reaction(by, text, is_on, seq as u64 + 1));
                prop_assert_eq!(tally.changed, Seq(seq as u64 + 1));
            }
            prop_assert_eq!(tally.of.len(), sets.len());
            for (count, (text, users)) in tally.of.iter().zip(&sets) {
                prop_assert_eq!((count.emoji.as_str(), count.count as usize), (*text, users.len()));
                prop_assert_eq!(tally.count_of(&count.emoji), count.count);
                let named: BTreeSet<_> = count.newest.iter().map(|user| user.id.bytes()[0]).collect();
                prop_assert_eq!(named.len(), count.newest.len(), "nobody twice");
                prop_assert!(named.is_subset(users) && named.len() <= REACTORS_NAMED);
                if let Some(newest) = count.newest.first() {
                    prop_assert!(users.contains(&newest.id.bytes()[0]));
                }
            }
        }
    }
}
