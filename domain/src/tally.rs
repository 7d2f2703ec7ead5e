//! The reactions to a message as a reader is sent them: the tally, and with which emoji the reader has reacted.

use serde::{Deserialize, Serialize};

use crate::{Count, Emoji, Seq, Tally, User, UserId, reaction::REACTORS_NAMED};

/// The maximum number of messages whose reactions are sent at once. A cursor with more changes after it is answered by a
/// snapshot.
pub const TALLIES_LIMIT: usize = 200;

/// The reactions to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageTally {
    /// The sequence number of the message.
    pub message: Seq,
    /// The position in the log of the newest change, which tells a newer tally from an older one.
    pub changed: Seq,
    /// The emoji in the order in which they were first used. Empty if all reactions were taken back.
    pub of: Vec<EmojiCount>,
}

/// How many users have reacted with one emoji.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmojiCount {
    /// The emoji.
    pub emoji: Emoji,
    /// How many users, at least one.
    pub count: u32,
    /// Some of them, the newest first, at most [`REACTORS_NAMED`], with their nicknames then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<User>,
    /// Whether the reader is one of them. Never set in what all readers are sent alike.
    #[serde(default, rename = "mine", skip_serializing_if = "std::ops::Not::not")]
    pub is_mine: bool,
}

impl EmojiCount {
    /// Whether a user is one of those who are named.
    pub fn names(&self, user: UserId) -> bool {
        self.people.iter().any(|person| person.id == user)
    }

    /// Whether a user who was counted before and is not named any more may be counted still, among those who are not
    /// named. Whoever was named is named until others push them out, and then all places are taken.
    fn may_count(&self, user: UserId, before: &Self) -> bool {
        let has_unnamed = self.count as usize > self.people.len();
        has_unnamed && (!before.names(user) || self.people.len() >= REACTORS_NAMED)
    }
}

impl MessageTally {
    /// Creates the tally of a message for a reader who has reacted with some emoji.
    pub fn new(message: Seq, tally: Tally, is_mine: impl Fn(&Emoji) -> bool) -> Self {
        let count = |Count { emoji, count, newest }| {
            let is_mine = is_mine(&emoji);
            EmojiCount { emoji, count, people: newest, is_mine }
        };
        Self { message, changed: tally.changed, of: tally.of.into_iter().map(count).collect() }
    }

    /// Returns the count of an emoji. `None` if nobody has reacted with it.
    pub fn count_of(&self, emoji: &Emoji) -> Option<&EmojiCount> {
        self.of.iter().find(|count| count.emoji == *emoji)
    }

    /// Fills in with which emoji a reader has reacted, who was sent what all readers are sent alike, as far as that can be
    /// told from it and from what was known before.
    #[must_use]
    pub fn for_reader(mut self, reader: UserId, known: Option<&Self>) -> Self {
        for count in &mut self.of {
            let before = known.and_then(|known| known.count_of(&count.emoji));
            count.is_mine = count.names(reader)
                || before.is_some_and(|before| before.is_mine && count.may_count(reader, before));
        }
        self
    }

    /// Records that the reader reacts with an emoji or does so no more, as of a position of the log. What is as of that
    /// position or a later one counts the reader already.
    #[must_use]
    pub fn with_own(mut self, reader: &User, emoji: Emoji, is_on: bool, at: Seq) -> Self {
        if self.count_of(&emoji).is_some_and(|count| count.is_mine) == is_on {
            return self;
        }
        let is_newer = at > self.changed;
        let place = self.of.iter().position(|count| count.emoji == emoji);
        match place.and_then(|place| self.of.get_mut(place)) {
            Some(count) => {
                count.is_mine = is_on;
                if is_newer {
                    count.people.retain(|person| person.id != reader.id);
                    count.count =
                        if is_on { count.count.saturating_add(1) } else { count.count.saturating_sub(1) };
                    if is_on {
                        count.people.insert(0, reader.clone());
                        count.people.truncate(REACTORS_NAMED);
                    }
                }
            }
            None if is_newer => {
                self.of.push(EmojiCount { emoji, count: 1, people: vec![reader.clone()], is_mine: true });
            }
            None => {}
        }
        self.of.retain(|count| count.count > 0);
        self.changed = self.changed.max(at);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{ChatId, Nickname, Reaction, frame::ServerFrame, id::ID_BYTES};

    const MESSAGE: Seq = Seq(3);

    fn user(number: u8) -> User {
        User { id: UserId::from_bytes([number; ID_BYTES]), nickname: Nickname::friendly(number.into()) }
    }

    fn emoji(place: usize) -> Emoji {
        Emoji::try_from(["👍", "❤️", "🎉"][place % 3].to_owned()).unwrap()
    }

    fn reaction(by: u8, emoji: Emoji, is_on: bool, seq: u64) -> Reaction {
        let chat = ChatId::from_bytes([7; ID_BYTES]);
        Reaction { chat, message: MESSAGE, emoji, by: user(by), is_on, seq: Seq(seq) }
    }

    #[test]
    fn a_tally_is_written_as_the_protocol_says() {
        let tally = Tally::default().after(&reaction(1, emoji(0), true, 62));
        let id = user(1).id;
        let name = user(1).nickname;
        let shared = MessageTally::new(MESSAGE, tally.clone(), |_| false);
        let json = format!(
            r#"{{"message":3,"changed":62,"of":[{{"emoji":"👍","count":1,"people":[{{"id":"{id}","nickname":"{name}"}}]}}]}}"#
        );
        assert_eq!(serde_json::to_string(&shared).unwrap(), json);
        let chat = ChatId::from_bytes([7; ID_BYTES]);
        let frame = ServerFrame::Reactions { chat, reacted: Seq(62), changes: vec![shared] };
        let json = format!(r#"{{"reactions":{{"chat":"{chat}","reacted":62,"changes":[{json}]}}}}"#);
        assert_eq!(serde_json::to_string(&frame).unwrap(), json);
        assert_eq!(serde_json::from_str::<ServerFrame>(&json).unwrap(), frame);
        let mut own = MessageTally::new(MESSAGE, tally, |_| true);
        own.of[0].people.clear();
        let json = r#"{"message":3,"changed":62,"of":[{"emoji":"👍","count":1,"mine":true}]}"#;
        assert_eq!(serde_json::to_string(&own).unwrap(), json);
        assert_eq!(serde_json::from_str::<MessageTally>(json).unwrap(), own);
    }

    #[test]
    fn an_own_reaction_counts_once_whether_its_answer_or_its_change_comes_first() {
        let before = Tally::default().after(&reaction(2, emoji(0), true, 10));
        let after = before.clone().after(&reaction(1, emoji(0), true, 11));
        let (me, id) = (user(1), user(1).id);
        let known = MessageTally::new(MESSAGE, before, |_| false);
        let answered = known.clone().with_own(&me, emoji(0), true, Seq(11));
        let told = MessageTally::new(MESSAGE, after, |_| false);
        assert_eq!(told.clone().for_reader(id, Some(&answered)), answered);
        let told_first = told.for_reader(id, Some(&known));
        assert_eq!(told_first.clone().with_own(&me, emoji(0), true, Seq(11)), told_first);
        let back = answered.with_own(&me, emoji(0), false, Seq(12));
        assert_eq!((back.of[0].count, back.of[0].is_mine, back.changed), (1, false, Seq(12)));
    }

    #[test]
    fn whoever_is_pushed_out_of_those_who_are_named_has_still_reacted() {
        let (mut tally, me) = (Tally::default(), user(1));
        let mut known = MessageTally::new(MESSAGE, tally.clone(), |_| false);
        for by in 1..=40 {
            tally = tally.after(&reaction(by, emoji(0), true, by.into()));
            known = MessageTally::new(MESSAGE, tally.clone(), |_| false).for_reader(me.id, Some(&known));
            assert!(known.of[0].is_mine, "{by}");
        }
        tally = tally.after(&reaction(1, emoji(0), false, 41));
        let taken_back = known.with_own(&me, emoji(0), false, Seq(41));
        let told = MessageTally::new(MESSAGE, tally, |_| false).for_reader(me.id, Some(&taken_back));
        assert_eq!((told.of[0].count, told.of[0].is_mine), (39, false));
    }

    proptest! {
        /// Where all are named, a reader who is sent every change knows what they have reacted with, wherever they did.
        #[test]
        fn a_reader_knows_their_own_from_what_all_are_sent(
            clicks in vec((0..8_u8, 0..3_usize, any::<bool>()), 0..80),
        ) {
            let (mut tally, mut set) = (Tally::default(), BTreeSet::new());
            let mut known = MessageTally::new(MESSAGE, tally.clone(), |_| false);
            for (number, (by, place, is_on)) in clicks.into_iter().enumerate() {
                if set.contains(&(by, place)) == is_on {
                    continue;
                }
                if is_on { set.insert((by, place)); } else { set.remove(&(by, place)); }
                tally = tally.after(&reaction(by, emoji(place), is_on, number as u64 + 1));
                let told = MessageTally::new(MESSAGE, tally.clone(), |_| false);
                known = told.for_reader(user(0).id, Some(&known));
                for place in 0..3 {
                    let is_mine = known.count_of(&emoji(place)).is_some_and(|count| count.is_mine);
                    prop_assert_eq!(is_mine, set.contains(&(0, place)));
                }
            }
        }
    }
}
