//! Text that users write: nicknames, titles and messages. It is validated once, where it enters.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Problem,
    unicode::{beginning, characters, is_fit_for_names, is_visible},
};

/// The maximum length of a nickname, in grapheme clusters.
pub const NICKNAME_LIMIT: usize = 20;
/// The maximum length of a title, in grapheme clusters.
pub const TITLE_LIMIT: usize = 100;
/// The maximum length of a message, in grapheme clusters.
pub const BODY_LIMIT: usize = 4_000;

/// The maximum bytes of a name, for each character of its limit. One grapheme cluster can be many code points: the
/// family emoji has 25 bytes, and combining marks can be stacked without end.
const NAME_BYTES_PER_CHARACTER: usize = 32;
const NICKNAME_BYTES: usize = NICKNAME_LIMIT * NAME_BYTES_PER_CHARACTER;
const TITLE_BYTES: usize = TITLE_LIMIT * NAME_BYTES_PER_CHARACTER;
/// A message with more lines than this, of [`LINE_LETTERS`] letters each, is collapsed at first.
const LONG_LINES: usize = 40;
const LINE_LETTERS: usize = 60;
/// From this code point on most letters are twice as wide: Chinese, Japanese and Korean.
const FIRST_WIDE: char = '\u{2e80}';
/// The maximum length of a message, in bytes. Escaped as JSON, which takes two bytes for some characters of one, and
/// with all that belongs to it around it, a message of this size still fits into [`crate::frame::FRAME_LIMIT`].
pub const BODY_BYTES: usize = 60_000;
/// The maximum length of the description of a picture, in grapheme clusters.
pub const ALT_LIMIT: usize = 1_000;
/// The maximum length of the description of a picture, in bytes.
pub const ALT_BYTES: usize = 4_000;
/// The maximum length of a line, in grapheme clusters.
pub const LINE_LIMIT: usize = 120;
/// The maximum length of a line, in bytes.
pub const LINE_BYTES: usize = 480;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $bytes:expr, $too_long:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        /// Accepts any text within the byte limit, so that stored text stays readable when the rules change.
        impl TryFrom<String> for $name {
            type Error = Problem;

            fn try_from(text: String) -> Result<Self, Problem> {
                if text.len() <= $bytes { Ok(Self(text)) } else { Err($too_long) }
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
    /// The name of a user: 1 to [`NICKNAME_LIMIT`] characters on one line, at least one of them visible.
    Nickname, NICKNAME_BYTES, Problem::NicknameTooLong
}
text! {
    /// The name of a chat: 1 to [`TITLE_LIMIT`] characters on one line, at least one of them visible.
    Title, TITLE_BYTES, Problem::TitleTooLong
}
text! {
    /// The text of a message: 1 to [`BODY_LIMIT`] characters, line breaks and tabs included, at least one visible. Empty
    /// only where a message has pictures.
    Body, BODY_BYTES, Problem::MessageTooLong
}

text! {
    /// The description of a picture: at most [`ALT_LIMIT`] characters on one line. Empty if there is none.
    Alt, ALT_BYTES, Problem::AltTooLong
}

text! {
    /// The beginning of a text on one line, at most [`LINE_LIMIT`] characters of it, which ends with "…" if the text is
    /// longer. Empty if the text is.
    Line, LINE_BYTES, Problem::MessageTooLong
}

impl Line {
    /// Returns the beginning of a text: outer white space is dropped, inner runs of it become one space.
    pub fn beginning(text: &str) -> Self {
        const CUT: &str = "…";
        // what is certainly too long is not looked at: a character more than fits is enough to see that
        let mut words = text.split_whitespace();
        let mut line = words.next().unwrap_or_default().to_owned();
        for word in words {
            if line.len() > LINE_BYTES {
                break;
            }
            line.push(' ');
            line.push_str(word);
        }
        if too_long(&line, LINE_LIMIT, LINE_BYTES) {
            let fits = beginning(&line, LINE_LIMIT - 1, LINE_BYTES - CUT.len()).len();
            line.truncate(fits);
            line.push_str(CUT);
        }
        Self(line)
    }
}

impl Nickname {
    /// Parses a nickname as typed: outer white space is dropped, inner runs of it become one space.
    ///
    /// # Errors
    /// [`Problem::NicknameEmpty`], [`Problem::NicknameTooLong`] or [`Problem::NicknameNotPlain`] if the text breaks that rule.
    pub fn parse(typed: &str) -> Result<Self, Problem> {
        let name = one_line(typed);
        if too_long(&name, NICKNAME_LIMIT, NICKNAME_BYTES) {
            return Err(Problem::NicknameTooLong);
        }
        if !is_visible(&name) {
            return Err(Problem::NicknameEmpty);
        }
        if !is_fit_for_names(&name) {
            return Err(Problem::NicknameNotPlain);
        }
        Ok(Self(name))
    }

    /// Returns one of 1,600 friendly names, always the same for the same number: the nickname of a user until they choose one.
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

impl Nickname {
    /// Returns the beginning of the nickname, at most so many bytes of it. Which characters belong together is not looked
    /// at: that differs between versions of Unicode, and what is stored must not.
    pub(crate) fn cut(&self, most_bytes: usize) -> Self {
        let end = self.0.floor_char_boundary(most_bytes);
        Self(self.0[..end].trim_end_matches('\u{200d}').to_owned())
    }
}

impl Title {
    /// Parses a title as typed: outer white space is dropped, inner runs of it become one space.
    ///
    /// # Errors
    /// [`Problem::TitleEmpty`], [`Problem::TitleTooLong`] or [`Problem::TitleNotPlain`] if the text breaks that rule.
    pub fn parse(typed: &str) -> Result<Self, Problem> {
        let title = one_line(typed);
        if too_long(&title, TITLE_LIMIT, TITLE_BYTES) {
            return Err(Problem::TitleTooLong);
        }
        if !is_visible(&title) {
            return Err(Problem::TitleEmpty);
        }
        if !is_fit_for_names(&title) {
            return Err(Problem::TitleNotPlain);
        }
        Ok(Self(title))
    }

    /// Returns the title of a chat that was started without one.
    pub fn for_chat_of(owner: &Nickname) -> Self {
        Self(format!("{owner}’s chat"))
    }

    /// Returns the title of a direct chat, from the nicknames of its two users when it starts.
    pub fn for_two(owner: &Nickname, guest: &Nickname) -> Self {
        Self(format!("{owner} & {guest}"))
    }
}

impl Alt {
    /// Returns the description of a picture that has none.
    pub const fn empty() -> Self {
        Self(String::new())
    }

    /// Parses a description as typed: outer white space is dropped, inner runs of it become one space, and control
    /// characters are dropped.
    ///
    /// # Errors
    /// [`Problem::AltTooLong`] if it is longer than [`ALT_LIMIT`].
    pub fn parse(typed: &str) -> Result<Self, Problem> {
        let words = typed.split_whitespace().collect::<Vec<_>>().join(" ");
        let alt: String = words.chars().filter(|c| !c.is_control()).collect();
        if too_long(&alt, ALT_LIMIT, ALT_BYTES) { Err(Problem::AltTooLong) } else { Ok(Self(alt)) }
    }
}

impl Body {
    /// Returns the text of a message that has pictures alone.
    pub const fn empty() -> Self {
        Self(String::new())
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses a message as typed: inner white space is kept, trailing white space is dropped, and the line breaks of
    /// every system become `\n`.
    ///
    /// # Errors
    /// [`Problem::MessageEmpty`], [`Problem::MessageTooLong`] or [`Problem::MessageNotPlain`] if the text breaks that rule.
    pub fn parse(typed: &str) -> Result<Self, Problem> {
        let body = Self::as_posted(typed);
        if body.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err(Problem::MessageNotPlain);
        }
        if too_long(&body, BODY_LIMIT, BODY_BYTES) {
            return Err(Problem::MessageTooLong);
        }
        if !is_visible(&body) {
            return Err(Problem::MessageEmpty);
        }
        Ok(Self(body))
    }

    /// Returns how many more characters the message may have, or as `Err` how many it has too many.
    pub fn characters_left(typed: &str) -> Result<usize, usize> {
        characters_left(&Self::as_posted(typed), BODY_LIMIT, BODY_BYTES)
    }

    /// Whether the message would fill more than a screen, at 60 letters a line, and is collapsed at first.
    pub fn is_long(&self) -> bool {
        let width = |c| if c < FIRST_WIDE { 1 } else { 2 };
        let lines = |line: &str| 1 + line.chars().map(width).sum::<usize>() / LINE_LETTERS;
        self.0.split('\n').map(lines).sum::<usize>() > LONG_LINES
    }

    fn as_posted(typed: &str) -> String {
        typed.replace("\r\n", "\n").replace('\r', "\n").trim_end().to_owned()
    }
}

/// Whether a text exceeds a limit, as [`characters_left`] tells. Bytes are compared first, since counting the characters
/// of a text of unknown length costs time linear in its length; then code points, of which there are never fewer than
/// characters.
fn too_long(text: &str, character_limit: usize, byte_limit: usize) -> bool {
    text.len() > byte_limit
        || (text.len() > character_limit
            && text.chars().count() > character_limit
            && characters_left(text, character_limit, byte_limit).is_err())
}

/// Returns how many more characters a text may have, or as `Err` how many it has too many. Where the byte limit is what
/// binds, the number assumes characters of the same average size as those in the text.
fn characters_left(text: &str, character_limit: usize, byte_limit: usize) -> Result<usize, usize> {
    let (count, length) = (characters(text), text.len());
    let of_bytes = |bytes: usize| bytes as f64 * count as f64 / length.max(1) as f64;
    let too_many = count.saturating_sub(character_limit);
    if length > byte_limit {
        return Err(too_many.max(of_bytes(length - byte_limit).ceil() as usize));
    }
    if too_many > 0 {
        return Err(too_many);
    }
    let left = character_limit - count;
    Ok(if text.is_empty() { left } else { left.min(of_bytes(byte_limit - length) as usize) })
}

/// Collapses white space into single spaces, and drops it at both ends.
fn one_line(typed: &str) -> String {
    let words = typed.split([' ', '\u{a0}', '\u{3000}']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

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
    fn a_description_is_one_line_or_none() {
        assert_eq!(Alt::parse(" a\n\tcat\u{7} ").unwrap().as_str(), "a cat");
        assert_eq!(Alt::parse(" \n").unwrap().as_str(), "");
        assert!(Alt::parse(&"字".repeat(ALT_LIMIT)).is_ok());
        assert_eq!(Alt::parse(&"x".repeat(ALT_LIMIT + 1)), Err(Problem::AltTooLong));
    }

    #[test]
    fn a_line_is_the_beginning_of_a_text() {
        let family = "👨‍👩‍👧‍👦";
        for (text, expected) in [
            (String::new(), String::new()),
            (" a\n\tb\u{3000}c ".to_owned(), "a b c".to_owned()),
            ("x".repeat(120), "x".repeat(120)),
            ("x".repeat(121), "x".repeat(119) + "…"),
            ("字".repeat(121), "字".repeat(119) + "…"),
            (family.repeat(20), family.repeat(19) + "…"),
            (format!("a{}", "\u{301}".repeat(300)), "…".to_owned()),
        ] {
            assert_eq!(Line::beginning(&text).as_str(), expected);
            assert!(expected.len() <= LINE_BYTES && characters(&expected) <= LINE_LIMIT);
        }
        assert_eq!(Line::beginning(&"word ".repeat(12_000)).as_str().len(), 119 + "…".len());
    }

    #[test]
    fn what_fills_more_than_a_screen_is_long() {
        for (text, expected) in [
            ("word ".repeat(400), false),
            ("word ".repeat(600), true),
            ("字".repeat(1_000), false),
            ("字".repeat(1_500), true),
            ("\nx".repeat(39), false),
            ("\nx".repeat(40), true),
        ] {
            assert_eq!(Body::parse(&text).unwrap().is_long(), expected, "{text:.9}");
        }
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
        for blank in
            ["\u{fffc}", "\u{2800}\u{3164}", "\u{ad}", "\u{301}", "\u{fff0}", "\u{1d159}", "\u{e0001}"]
        {
            assert_eq!(Nickname::parse(blank), Err(Problem::NicknameEmpty), "{blank:?}");
            assert_eq!(Body::parse(blank), Err(Problem::MessageEmpty), "{blank:?}");
        }
        assert_eq!(Body::parse("\n\t\n"), Err(Problem::MessageEmpty));
    }

    #[test]
    fn controls_are_refused_where_they_do_harm() {
        for bad in [
            "a\0b",
            "a\nb",
            "a\u{2028}b",
            "a\u{202e}b",
            "a\u{200b}b",
            "\u{1b}[31m",
            "a\u{fff0}",
            "a\u{fffc}",
            "a\u{378}",
            "a\u{ad}b",
            "a\u{3164}",
            "a\u{e0001}",
            "a\u{fdd0}",
        ] {
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
        for name in ["آنا‌ماریا", "❤️", "👨‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "葛󠄀", "ᠮᠣᠩᠭᠣᠯ\u{180e}ᠠ", "e\u{301}", "؀1", "\u{f8ff}"]
        {
            assert_eq!(Nickname::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_earlier_rules_took_is_read() {
        for name in ["\u{fffc}", "a\u{ad}b"] {
            assert_eq!(serde_json::from_value::<Nickname>(name.into()).unwrap().as_str(), name);
        }
        assert!(serde_json::from_value::<Nickname>("x".repeat(NICKNAME_BYTES + 1).into()).is_err());
    }

    proptest! {
        #[test]
        fn characters_are_left_unless_a_text_is_too_long(text in "(x|é|字|👨‍👩‍👧‍👦){0,12}", (characters, bytes) in (1..12_usize, 1..80_usize)) {
            prop_assert_eq!(characters_left(&text, characters, bytes).is_err(), too_long(&text, characters, bytes));
        }

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
