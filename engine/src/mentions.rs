//! Mentions: finds whom a text means by `@` and a nickname.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    ops::Range,
};

use domain::{MarkKind, Message, UserId, text::NICKNAME_LIMIT, unicode};

use crate::folding::fold_onto;

/// The maximum number of `@` in one text that are looked at.
const SIGNS_LIMIT: usize = 100;
/// How much behind an `@` is compared with nicknames, in bytes: more than any of them has.
const NAME_BYTES: usize = 704;
/// How much of one text is compared with nicknames, in bytes, exceeded by at most the last one. It is enough for as many
/// mentions of the longest as a message can have.
const COMPARED_BYTES: usize = 16 * 1024;
/// The size in bytes over which a nickname is long: 20 Chinese characters are not, those with many marks and families of emoji
/// are.
const LONG_NAME_BYTES: usize = 64;
/// How much of long nicknames is looked at for one text, in bytes: 20 of the longest, or some hundred. Others are not found.
const LONG_NAMES_BYTES: usize = 20 * 640;

/// A user whom a text means, and where: a range in bytes of the text, which begins with `@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) range: Range<usize>,
    pub(crate) user: UserId,
}

/// The users whom a text may mean, by their nicknames. Case and the composition of characters do not matter.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The users, by their nicknames as they are compared.
    users: HashMap<String, UserId>,
    /// The nicknames that were added.
    added: HashSet<String>,
    /// The lengths in bytes of nicknames as they are compared.
    lengths: HashSet<usize>,
    /// The greatest of these lengths.
    longest: usize,
    /// The size in bytes of the long nicknames that were added.
    long_names_bytes: usize,
}

impl Names {
    /// Adds a user. Of several users with one nickname, the one who was added first is meant.
    pub(crate) fn add(&mut self, user: UserId, nickname: &str) {
        if self.added.contains(nickname) {
            return;
        }
        if nickname.len() > LONG_NAME_BYTES {
            self.long_names_bytes += nickname.len();
            if self.long_names_bytes > LONG_NAMES_BYTES {
                return;
            }
        }
        self.added.insert(nickname.to_owned());
        let mut folded = String::new();
        if nickname.is_ascii() {
            fold_onto(nickname, &mut folded);
        } else {
            unicode::each(nickname).for_each(|character| fold_onto(character, &mut folded));
        }
        let length = folded.len();
        if let Entry::Vacant(free) = self.users.entry(folded) {
            free.insert(user);
            self.lengths.insert(length);
            self.longest = self.longest.max(length);
        }
    }

    /// Adds those whom a message mentions, by the names that it has for them.
    pub(crate) fn add_mentioned(&mut self, message: &Message) {
        let marks = message.marks.iter().filter(|mark| mark.0 == MarkKind::Mention);
        for (mark, user) in marks.zip(&message.mentions) {
            let name = message.body.as_str().get(usize::from(mark.1)..usize::from(mark.2));
            if let Some(name) = name.and_then(|name| name.strip_prefix('@')) {
                self.add(*user, name);
            }
        }
    }

    /// Returns the mentions in a text, in order: each `@` at the beginning of a word that is followed by the whole of a
    /// nickname, the longest one that fits. A `\` before it makes it an ordinary sign.
    pub(crate) fn mentions(&self, text: &str) -> Vec<Mention> {
        if self.users.is_empty() {
            return Vec::new();
        }
        let (mut mentions, mut compared): (Vec<Mention>, _) = (Vec::new(), 0);
        for (at, _) in text.match_indices('@').take(SIGNS_LIMIT) {
            let is_free = mentions.last().is_none_or(|before| before.range.end <= at);
            if is_free && begins_word(text, at) && compared < COMPARED_BYTES {
                mentions.extend(self.mention_at(text, at, &mut compared));
            }
        }
        mentions
    }

    /// Returns the mention that the `@` at a place begins. `None` if it begins none. Adds to `compared` how many bytes were
    /// compared.
    fn mention_at(&self, text: &str, at: usize, compared: &mut usize) -> Option<Mention> {
        let after = text.get(at + 1..)?;
        let start = after.get(..after.floor_char_boundary(NAME_BYTES))?;
        let is_cut = start.len() < after.len();
        let (mut characters, mut length) = (unicode::each(start).peekable(), 0);
        // Folded character by character, as names are, so that each is folded once.
        let (mut folded, mut found) = (String::new(), None);
        for _ in 0..NICKNAME_LIMIT {
            let Some(character) = characters.next() else { break };
            length += character.len();
            fold_onto(character, &mut folded);
            let may_go_on = is_cut && characters.peek().is_none();
            if may_go_on || folded.len() > self.longest {
                break;
            }
            if self.lengths.contains(&folded.len())
                && ends_word(character, characters.peek())
                && let Some(user) = self.users.get(&folded)
            {
                found = Some(Mention { range: at..at + 1 + length, user: *user });
            }
        }
        *compared += length;
        found
    }
}

/// Whether a sign at a place is the first of a word: `ana@example.org` mentions nobody.
fn begins_word(text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|before| before.chars().next_back());
    before.is_none_or(|before| !before.is_alphanumeric() && !matches!(before, '\\' | '@' | '/' | '_'))
}

/// Whether a word can end between two characters: "@Ana" in "@Anastasia" does not mean Ana.
fn ends_word(last: &str, next: Option<&&str>) -> bool {
    !is_in_word(last) || !next.is_some_and(|next| is_in_word(next))
}

/// Whether a word goes on until it meets something other than such characters.
fn is_in_word(character: &str) -> bool {
    character.chars().next().is_some_and(|c| c.is_alphanumeric() && !is_without_spaces(c))
}

/// Whether a letter is of a script that is written without spaces between words.
fn is_without_spaces(c: char) -> bool {
    // Thai and Lao, Tibetan and Burmese, Khmer, Chinese and Japanese
    matches!(
        c,
        '\u{e00}'..='\u{eff}'
            | '\u{f00}'..='\u{109f}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{2e80}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use domain::{Body, ClientId, Mark, Marks, Nickname, id::ID_BYTES};
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn user(number: u8) -> UserId {
        UserId::from_bytes([number; ID_BYTES])
    }

    fn names(names: &[&str]) -> Names {
        let mut known = Names::default();
        for (number, name) in (1..).zip(names) {
            known.add(user(number), name);
        }
        known
    }

    /// What is mentioned in a text, and the number of the user.
    fn found(known: &[&str], text: &str) -> Vec<(String, u8)> {
        let mentions = names(known).mentions(text);
        mentions.into_iter().map(|found| (text[found.range].to_owned(), found.user.bytes()[0])).collect()
    }

    fn mentioned(expected: &[(&str, u8)]) -> Vec<(String, u8)> {
        expected.iter().map(|(text, number)| ((*text).to_owned(), *number)).collect()
    }

    #[test]
    fn whoever_is_named_after_an_at_sign_is_meant() {
        let known = ["Ana", "Bea Maria", "Bea", "Cy 2"];
        for (text, expected) in [
            ("@Ana yes", vec![("@Ana", 1)]),
            ("yes, @Ana!", vec![("@Ana", 1)]),
            ("(@Ana) **@Ana**", vec![("@Ana", 1), ("@Ana", 1)]),
            ("@Bea Maria and @Bea", vec![("@Bea Maria", 2), ("@Bea", 3)]),
            ("@Bea Mariachi", vec![("@Bea", 3)]),
            ("@ana @BEA", vec![("@ana", 1), ("@BEA", 3)]),
            ("@Ana's and @Cy 2.", vec![("@Ana", 1), ("@Cy 2", 4)]),
            ("first\n@Ana", vec![("@Ana", 1)]),
        ] {
            assert_eq!(found(&known, text), mentioned(&expected), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_it_means_nobody() {
        for text in [
            "Ana",
            "@",
            "@ Ana",
            "@Anastasia",
            "mail ana@Ana",
            "ana.b@Ana",
            r"\@Ana",
            "@Nobody",
            "@everyone",
            "@Ana2",
            "https://a.example/@Ana",
        ] {
            assert_eq!(found(&["Ana"], text), [], "{text}");
        }
    }

    #[test]
    fn names_of_any_script_are_found_however_they_are_composed() {
        for (name, text, expected) in [
            ("Zoe\u{308}", "@Zo\u{eb} hi", "@Zo\u{eb}"),
            ("小明", "@小明你好", "@小明"),
            ("ЯНА", "@яна, да", "@яна"),
            ("👩‍🔬 Ada", "@👩‍🔬 Ada?", "@👩‍🔬 Ada"),
            ("*star*", "@*star* hi", "@*star*"),
        ] {
            assert_eq!(found(&[name], text), mentioned(&[(expected, 1)]), "{text}");
        }
    }

    #[test]
    fn of_several_with_one_name_the_first_is_meant() {
        assert_eq!(found(&["Ana", "ana"], "@ana"), mentioned(&[("@ana", 1)]));
    }

    #[test]
    fn those_whom_a_message_means_are_known_by_the_names_in_it() {
        let body = Body::parse("@Old Name hi @Bea").unwrap();
        let marks = [Mark(MarkKind::Mention, 0, 9), Mark(MarkKind::Mention, 13, 17)];
        let nickname = Nickname::parse("Ana").unwrap();
        let plain = Message::plain(user(9), nickname, ClientId::from_bytes([0; ID_BYTES]), body.clone());
        let marks = Marks::checked(&body, marks.into()).unwrap();
        let message = Message { marks, mentions: vec![user(7), user(8)], ..plain };
        let mut known = Names::default();
        known.add_mentioned(&message);
        known.add(user(1), "Bea");
        let users: Vec<_> = known.mentions("@Bea, @Old Name").into_iter().map(|found| found.user).collect();
        assert_eq!(users, [user(8), user(7)]);
    }

    /// Returns a nickname of so many bytes, about: twenty characters with marks.
    fn long_name(number: u32, bytes: usize) -> String {
        let first = char::from_u32(0x4e00 + number).unwrap();
        format!("{first}{}", "\u{301}".repeat(bytes / 40))
            + &format!("字{}", "\u{301}".repeat(bytes / 40)).repeat(19)
    }

    #[test]
    fn as_many_of_the_longest_names_are_found_as_a_message_can_mention() {
        let long: Vec<String> = (0..20).map(|number| long_name(number, 580)).collect();
        assert!(long.iter().all(|name| name.len() > 600 && Nickname::parse(name).is_ok()));
        let known: Vec<&str> = long.iter().map(String::as_str).chain(["Ana"]).collect();
        let text: String = long.iter().map(|name| format!(" @{name}")).collect();
        assert_eq!(found(&known, &(text.clone() + " @Ana")).len(), 21);
        // What a name could begin with is compared only so far.
        assert_eq!(found(&known, &(text.repeat(4) + " @Ana")).last().map(|(_, number)| *number), Some(7));
    }

    #[test]
    fn of_a_great_many_long_names_the_first_are_found_and_of_short_ones_all() {
        let long: Vec<String> = (0..100).map(|number| long_name(number, 580)).collect();
        let short: Vec<String> = (0..100).map(|number| format!("字名{number}")).collect();
        let known: Vec<&str> = long.iter().chain(&short).map(String::as_str).collect();
        let is_found = |name: &String| !found(&known, &format!("@{name}")).is_empty();
        assert_eq!(long.iter().filter(|name| is_found(name)).count(), 20);
        assert!(short.iter().all(is_found));
    }

    #[test]
    fn a_text_of_at_signs_costs_little() {
        let known = names(&["Ana", "é"]);
        for text in [" @".repeat(2_000), "@ana".repeat(1_000), " @ééééééééééééééééééééé".repeat(180)]
        {
            let began = Instant::now();
            known.mentions(&text);
            assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        }
    }

    proptest! {
        #[test]
        fn mentions_are_in_order_and_begin_with_their_sign(text in "[@ aAé字\n.]{0,40}") {
            let known = names(&["a", "A a", "é", "字字"]);
            let mut end = 0;
            for Mention { range, .. } in known.mentions(&text) {
                prop_assert!(range.start >= end);
                end = range.end;
                prop_assert_eq!(text.get(range).and_then(|found| found.chars().next()), Some('@'));
            }
        }
    }
}
