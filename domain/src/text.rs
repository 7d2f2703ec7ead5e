//! What people write: nicknames, titles and messages, checked once at the border and right ever after.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Problem, unicode::characters};

/// A nickname has at most this many characters, as people count them.
pub const NICKNAME_LIMIT: usize = 20;
/// A title has at most this many characters, as people count them.
pub const TITLE_LIMIT: usize = 100;
/// A message has at most this many characters, as people count them.
pub const BODY_LIMIT: usize = 4_000;

/// One character as people count them can be many code points: the family emoji has 25 bytes, and combining marks can
/// be stacked without end. Names get this many bytes for each character of their limit.
const NAME_BYTES_PER_CHARACTER: usize = 32;
/// Escaped as JSON, which makes two bytes of some that have one, and with what stands around it, a message of this many
/// bytes still fits into a frame ([`crate::frame::FRAME_LIMIT`]).
pub const BODY_BYTES: usize = 60_000;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Problem;

            fn try_from(text: String) -> Result<Self, Problem> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }
    };
}

text! {
    /// What a person is called: 1 to [`NICKNAME_LIMIT`] characters on one line, at least one of them visible.
    Nickname
}
text! {
    /// What a chat is called: 1 to [`TITLE_LIMIT`] characters on one line, at least one of them visible.
    Title
}
text! {
    /// What a person says: 1 to [`BODY_LIMIT`] characters, line breaks and tabs included, at least one visible.
    Body
}

impl Nickname {
    /// Takes a nickname as typed: outer white space is dropped, inner runs of it become one space.
    ///
    /// # Errors
    /// [`Problem::NicknameEmpty`], [`Problem::NicknameTooLong`] or [`Problem::NicknameNotPlain`].
    pub fn parse(typed: &str) -> Result<Self, Problem> {
        let name = one_line(typed).ok_or(Problem::NicknameNotPlain)?;
        if !name.chars().any(is_visible) {
            return Err(Problem::NicknameEmpty);
        }
        if too_long(&name, NICKNAME_LIMIT, NICKNAME_LIMIT * NAME_BYTES_PER_CHARACTER) {
            return Err(Problem::NicknameTooLong);
        }
        Ok(Self(name))
    }

    /// One of 1,600 friendly names, the same one for the same number: what people are called until they say
    /// otherwise.
    pub fn friendly(number: u64) -> Self {
        const MOODS: [&str; 40] = [
            "Amber", "Brave", "Bright", "Calm", "Clever", "Cosy", "Curious", "Dapper", "Early", "Easy",
            "Fair", "Fond", "Gentle", "Glad", "Golden", "Happy", "Honest", "Idle", "Jolly", "Keen", "Kind",
            "Late", "Light", "Lucky", "Mellow", "Merry", "Mild", "Neat", "Nimble", "Patient", "Plucky",
            "Quick", "Quiet", "Silver", "Sunny", "Swift", "Tidy", "Warm", "Wise", "Witty",
        ];
        const ANIMALS: [&str; 40] = [
            "Badger", "Bear", "Beaver", "Bee", "Bison", "Crane", "Cricket", "Deer", "Dolphin", "Dove",
            "Falcon", "Ferret", "Finch", "Firefly", "Fox", "Gecko", "Hare", "Hedgehog", "Heron", "Ibis",
            "Jay", "Koala", "Lark", "Lynx", "Magpie", "Marten", "Mole", "Moth", "Newt", "Otter", "Owl",
            "Panda", "Puffin", "Raven", "Robin", "Seal", "Sparrow", "Swan", "Tortoise", "Wren",
        ];
        let (mood, animal) = (number % 40, number / 40 % 40);
        Self(format!("{} {}", MOODS[mood as usize], ANIMALS[animal as usize]))
    }
}

impl Title {
    /// Takes a title as typed: outer white space is dropped, inner runs of it become one space.
    ///
    /// # Errors
    /// [`Problem::TitleEmpty`], [`Problem::TitleTooLong`] or [`Problem::TitleNotPlain`].
    pub fn parse(typed: &str) -> Result<Self, Problem> {
        let title = one_line(typed).ok_or(Problem::TitleNotPlain)?;
        if !title.chars().any(is_visible) {
            return Err(Problem::TitleEmpty);
        }
        if too_long(&title, TITLE_LIMIT, TITLE_LIMIT * NAME_BYTES_PER_CHARACTER) {
            return Err(Problem::TitleTooLong);
        }
        Ok(Self(title))
    }

    /// The title of a chat that was started without one.
    pub fn for_chat_of(owner: &Nickname) -> Self {
        Self(format!("{owner}’s chat"))
    }

    /// The title of a chat of two, as they are called when it starts.
    pub fn for_two(owner: &Nickname, guest: &Nickname) -> Self {
        Self(format!("{owner} & {guest}"))
    }
}

impl Body {
    /// Takes a message as typed: white space inside is kept, trailing white space dropped, and the line breaks of
    /// every system become `\n`.
    ///
    /// # Errors
    /// [`Problem::MessageEmpty`], [`Problem::MessageTooLong`] or [`Problem::MessageNotPlain`].
    pub fn parse(typed: &str) -> Result<Self, Problem> {
        let body = typed.replace("\r\n", "\n").replace('\r', "\n").trim_end().to_owned();
        if body.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err(Problem::MessageNotPlain);
        }
        if !body.chars().any(is_visible) {
            return Err(Problem::MessageEmpty);
        }
        if too_long(&body, BODY_LIMIT, BODY_BYTES) {
            return Err(Problem::MessageTooLong);
        }
        Ok(Self(body))
    }
}

/// Bytes are looked at first: counting characters of a text of unknown length costs as much as it is long. Code points are
/// counted next, of which there are as many or more.
fn too_long(text: &str, character_limit: usize, byte_limit: usize) -> bool {
    text.len() > byte_limit
        || (text.len() > character_limit
            && text.chars().count() > character_limit
            && characters(text) > character_limit)
}

/// White space folded into single spaces; nothing where the text has characters that no name may have.
fn one_line(typed: &str) -> Option<String> {
    let name = typed
        .split([' ', '\u{a0}', '\u{3000}'])
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    (!name.chars().any(is_unfit_for_names)).then_some(name)
}

/// Controls, line and paragraph separators, and what reorders or hides the text around a name. The joiners U+200C
/// and U+200D stay: Persian and family emoji are written with them.
pub(crate) fn is_unfit_for_names(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Whether a reader would see anything: not white space, a format character, a filler or a lone selector.
fn is_visible(c: char) -> bool {
    !(c.is_whitespace()
        || is_unfit_for_names(c)
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200c}' | '\u{200d}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    #[test]
    fn characters_are_counted_as_people_do() {
        let family = "👨‍👩‍👧‍👦";
        assert_eq!(characters(family), 1);
        assert!(Nickname::parse(&family.repeat(NICKNAME_LIMIT)).is_ok());
        assert_eq!(Nickname::parse(&family.repeat(NICKNAME_LIMIT + 1)), Err(Problem::NicknameTooLong));
        assert!(Nickname::parse(&"W".repeat(NICKNAME_LIMIT)).is_ok());
        assert_eq!(Nickname::parse(&"W".repeat(NICKNAME_LIMIT + 1)), Err(Problem::NicknameTooLong));
        assert!(Title::parse(&"é".repeat(TITLE_LIMIT)).is_ok());
        assert_eq!(Title::parse(&"é".repeat(TITLE_LIMIT + 1)), Err(Problem::TitleTooLong));
        assert!(Body::parse(&"字".repeat(BODY_LIMIT)).is_ok());
        assert_eq!(Body::parse(&"字".repeat(BODY_LIMIT + 1)), Err(Problem::MessageTooLong));
    }

    #[test]
    fn marks_cannot_be_stacked_without_end() {
        let tower = format!("a{}", "\u{301}".repeat(BODY_BYTES));
        assert_eq!(characters(&tower), 1);
        assert_eq!(Nickname::parse(&tower), Err(Problem::NicknameTooLong));
        assert_eq!(Title::parse(&tower), Err(Problem::TitleTooLong));
        assert_eq!(Body::parse(&tower), Err(Problem::MessageTooLong));
    }

    #[test]
    fn what_cannot_be_seen_is_empty() {
        for blank in ["", " ", "\u{200d}", "\u{3164}\u{2800}", "\u{a0}\u{3000}"] {
            assert_eq!(Nickname::parse(blank), Err(Problem::NicknameEmpty), "{blank:?}");
            assert_eq!(Title::parse(blank), Err(Problem::TitleEmpty), "{blank:?}");
            assert_eq!(Body::parse(blank), Err(Problem::MessageEmpty), "{blank:?}");
        }
        assert_eq!(Body::parse("\n\t\n"), Err(Problem::MessageEmpty));
    }

    #[test]
    fn controls_are_refused_where_they_do_harm() {
        for bad in ["a\0b", "a\nb", "a\u{202e}b", "a\u{200b}b", "\u{1b}[31m"] {
            assert_eq!(Nickname::parse(bad), Err(Problem::NicknameNotPlain), "{bad:?}");
            assert_eq!(Title::parse(bad), Err(Problem::TitleNotPlain), "{bad:?}");
        }
        assert_eq!(Body::parse("a\0b"), Err(Problem::MessageNotPlain));
        assert_eq!(Body::parse("a\u{1b}[31m"), Err(Problem::MessageNotPlain));
    }

    #[test]
    fn white_space_is_folded_in_names_and_kept_in_messages() {
        assert_eq!(Nickname::parse("  Ana \u{a0} Maria ").unwrap().as_str(), "Ana Maria");
        assert_eq!(Body::parse("  a\r\n\tb\r\rc \n").unwrap().as_str(), "  a\n\tb\n\nc");
    }

    #[test]
    fn text_stands_as_typed() {
        assert_eq!(Title::parse("Tom & Jerry <script>").unwrap().as_str(), "Tom & Jerry <script>");
        assert_eq!(Nickname::parse("آنا‌ماریا").unwrap().as_str(), "آنا‌ماریا");
    }

    proptest! {
        #[test]
        fn parsing_twice_changes_nothing(typed in any::<String>()) {
            if let Ok(name) = Nickname::parse(&typed) {
                prop_assert!(Nickname::parse(name.as_str()).unwrap() == name);
            }
            if let Ok(title) = Title::parse(&typed) {
                prop_assert!(Title::parse(title.as_str()).unwrap() == title);
            }
            if let Ok(body) = Body::parse(&typed) {
                prop_assert!(Body::parse(body.as_str()).unwrap() == body);
            }
        }

        #[test]
        fn every_friendly_name_is_a_nickname(number in any::<u64>()) {
            let name = Nickname::friendly(number);
            prop_assert!(Nickname::parse(name.as_str()).unwrap() == name);
            prop_assert!(Title::parse(Title::for_chat_of(&name).as_str()).is_ok());
            prop_assert!(Title::parse(Title::for_two(&name, &name).as_str()).is_ok());
        }
    }
}
