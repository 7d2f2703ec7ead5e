//! Searches in a chat: what is looked for, and what was found.

use serde::{Deserialize, Serialize};

use crate::{Chat, Event, Line, Nickname, Problem, Seq, Timestamp, UserId, unicode};

/// The maximum length of what is looked for, in grapheme clusters.
pub const SEARCH_LIMIT: usize = 100;
/// The maximum length of what is looked for, in bytes. Grapheme clusters have no limit of their own.
const SEARCH_BYTES: usize = 1_024;
/// The maximum number of words that are looked for.
pub const WORDS_LIMIT: usize = 8;
/// The maximum number of messages in one answer.
pub const HITS_LIMIT: usize = 20;

/// What is looked for in a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sought {
    /// Messages in which all of these words occur, as they were typed. Nothing if there are no words.
    Words(String),
    /// Messages that are meant for the reader: those that mention them or answer a message of theirs.
    Mentions,
}

/// What was found in a part of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Found {
    /// The messages that were found, newest first, at most [`HITS_LIMIT`].
    pub hits: Vec<Hit>,
    /// The position before which the search goes on. `None` if everything was looked at.
    pub next: Option<Seq>,
    /// The time of the oldest event that was looked at. `None` if there was none.
    pub looked_to: Option<Timestamp>,
}

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The message, as it is in the history of the chat.
    pub event: Event,
    /// What is shown of it, on one line: around the first of the words, or else from its beginning.
    pub excerpt: Vec<Part>,
    /// The message before it. `None` if there is none close to it.
    pub before: Option<Neighbor>,
    /// The message after it. `None` if there is none close to it.
    pub after: Option<Neighbor>,
}

/// A part of an excerpt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The text.
    pub text: String,
    /// Whether it is one of the words that were looked for.
    pub is_found: bool,
}

/// A message beside one that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbor {
    /// The position in the log.
    pub seq: Seq,
    /// The author.
    pub author: UserId,
    /// The author's nickname when it was posted.
    pub nickname: Nickname,
    /// When it was posted.
    pub at: Timestamp,
    /// The beginning of what is shown of it.
    pub line: Line,
}

/// The page with a search in a chat. It is static.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPage {
    /// The chat.
    pub chat: Chat,
    /// The time of rendering, by the server's clock.
    pub now: Timestamp,
    /// What is looked for.
    pub sought: Sought,
    /// What was found, or why nothing was looked for.
    pub found: Result<Found, Problem>,
}

impl Sought {
    /// Splits what was typed into words.
    ///
    /// # Errors
    /// [`Problem::SearchTooLong`] if it has more than [`SEARCH_LIMIT`] characters or [`WORDS_LIMIT`] words.
    pub fn words(typed: &str) -> Result<Vec<&str>, Problem> {
        let typed = typed.trim();
        // Bytes are checked first, since counting characters takes time proportional to the length.
        if typed.len() > SEARCH_BYTES || unicode::characters(typed) > SEARCH_LIMIT {
            return Err(Problem::SearchTooLong);
        }
        let words: Vec<_> = typed.split_whitespace().collect();
        if words.len() > WORDS_LIMIT { Err(Problem::SearchTooLong) } else { Ok(words) }
    }

    /// Whether there is anything to look for.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Words(typed) if typed.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_white_space_and_bounded() {
        assert_eq!(Sought::words(" tea\u{3000}at\n five "), Ok(vec!["tea", "at", "five"]));
        assert_eq!(Sought::words("\u{a0}"), Ok(Vec::new()));
        assert!(Sought::words(&"é".repeat(SEARCH_LIMIT)).is_ok());
        let stacked = format!("e{}", "\u{301}".repeat(SEARCH_BYTES));
        for long in ["é".repeat(SEARCH_LIMIT + 1), stacked, "x ".repeat(WORDS_LIMIT + 1)] {
            assert_eq!(Sought::words(&long), Err(Problem::SearchTooLong));
        }
    }

    #[test]
    fn a_search_without_words_is_nothing() {
        assert!(Sought::Words(" \n".to_owned()).is_nothing());
        assert!(!Sought::Words("x".to_owned()).is_nothing() && !Sought::Mentions.is_nothing());
    }
}
