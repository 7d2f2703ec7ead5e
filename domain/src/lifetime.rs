//! How long data is kept, and what has expired at a moment.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A length of time in milliseconds. Parses from `90s`, `30m`, `24h` or `7d`, and is displayed in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(u64);

/// The error for text that is not a length of time: a whole number above 0 with a unit is expected, a year at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a length of time such as 90s, 30m, 24h or 7d, from 1s to 365d")]
pub struct NotASpan;

/// The units of a [`Span`], largest first, with their milliseconds.
const UNITS: [(char, &str, u64); 4] =
    [('d', "day", 86_400_000), ('h', "hour", 3_600_000), ('m', "minute", 60_000), ('s', "second", 1_000)];
const LONGEST: u64 = 365 * 86_400_000;

impl Span {
    /// Returns a span of `seconds` seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds * 1_000)
    }

    /// Returns the span in milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }
}

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let unit = text.chars().next_back().ok_or(NotASpan)?;
        let (_, _, millis) = UNITS.iter().find(|(letter, ..)| *letter == unit).ok_or(NotASpan)?;
        let number = &text[..text.len() - unit.len_utf8()];
        if !number.chars().all(|digit| digit.is_ascii_digit()) {
            return Err(NotASpan);
        }
        let number: u64 = number.parse().map_err(|_| NotASpan)?;
        let span = number.checked_mul(*millis).ok_or(NotASpan)?;
        if span == 0 || span > LONGEST { Err(NotASpan) } else { Ok(Self(span)) }
    }
}

/// Formats in words, by the largest unit that expresses it exactly: `30 minutes`, `90 seconds`. One day is `24 hours`.
impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().find(|(.., millis)| self.0.is_multiple_of(*millis) && self.0 >= *millis);
        let (_, name, millis) = exact.unwrap_or(&UNITS[3]);
        let number = self.0 / millis;
        // "1 day" reads as a calendar day; what is set is 24 hours
        match (number, *name) {
            (1, "day") => formatter.write_str("24 hours"),
            (1, name) => write!(formatter, "1 {name}"),
            (number, name) => write!(formatter, "{number} {name}s"),
        }
    }
}

/// How long data is kept after its last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetimes {
    /// How long an empty chat is kept.
    pub chat: Span,
    /// How long an offline user's nickname and invites are kept.
    pub user: Span,
    /// How long a message is kept, whether or not anyone is in the chat.
    pub message: Span,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            chat: Span::seconds(30 * 60),
            user: Span::seconds(5 * 60),
            message: Span::seconds(24 * 60 * 60),
        }
    }
}

/// The maximum of [`Lifetimes::longest_silence`].
const LONGEST_SILENCE: Span = Span::seconds(60);
/// The minimum number of times that what is in use is noted within its lifetime, so that it never seems to have expired.
pub const NOTES_IN_A_LIFETIME: u32 = 4;

impl Lifetimes {
    /// Returns the longest time without a message that is taken to pass for what is in use, in a log that several nodes
    /// share: as long as that is noted less often anyway, 60 seconds at most. While nodes can write, there is a message more
    /// often than that. After a longer silence nobody could note what was in use, so nothing of that has expired meanwhile.
    pub fn longest_silence(&self) -> Span {
        Span(self.chat.min(self.user).0 / u64::from(NOTES_IN_A_LIFETIME)).min(LONGEST_SILENCE)
    }

    /// Returns by how many milliseconds the [longest silence](Self::longest_silence) was exceeded from one message of a log to
    /// the next: for so long it was interrupted. `None` if it was not.
    pub fn interruption(&self, from: Timestamp, to: Timestamp) -> Option<i64> {
        let over = to.millis_since(from).checked_sub(self.longest_silence().0)?;
        i64::try_from(over).ok().filter(|over| *over > 0)
    }
}

/// Decides what has expired at a moment: everything whose last use was at least its lifetime ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// The moment.
    pub now: Timestamp,
    /// How long data is kept.
    pub lifetimes: Lifetimes,
}

impl Expiry {
    /// Whether a chat that was last active at `active_at` has expired.
    pub const fn of_chat(&self, active_at: Timestamp) -> bool {
        self.now.millis_since(active_at) >= self.lifetimes.chat.0
    }

    /// Whether a user who was last active at `active_at` has expired.
    pub const fn of_user(&self, active_at: Timestamp) -> bool {
        self.now.millis_since(active_at) >= self.lifetimes.user.0
    }

    /// Whether an event of the time `at` has expired.
    pub const fn of_event(&self, at: Timestamp) -> bool {
        self.now.millis_since(at) >= self.lifetimes.message.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_said() {
        for (text, millis, words) in [
            ("90s", 90_000, "90 seconds"),
            ("60s", 60_000, "1 minute"),
            ("30m", 1_800_000, "30 minutes"),
            ("24h", 86_400_000, "24 hours"),
            ("1h", 3_600_000, "1 hour"),
            ("7d", 604_800_000, "7 days"),
            ("36h", 129_600_000, "36 hours"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.millis(), span.to_string().as_str()), (millis, words), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "s",
            "30",
            "30 m",
            "-1s",
            "+1s",
            "0s",
            "1.5h",
            "m30",
            "30min",
            "é",
            "366d",
            "99999999999999999999s",
        ] {
            assert_eq!(text.parse::<Span>(), Err(NotASpan), "{text}");
        }
    }

    #[test]
    fn a_log_is_interrupted_when_it_is_silent_for_longer_than_what_is_in_use_is_noted() {
        let lifetimes = Lifetimes::default();
        let interruption = |millis: u64| lifetimes.interruption(Timestamp(5_000), Timestamp(5_000 + millis));
        assert_eq!([0, 60_000, 60_001].map(interruption), [None, None, Some(1)]);
        assert_eq!(lifetimes.interruption(Timestamp(5_000), Timestamp(1)), None);
        assert_eq!(lifetimes.interruption(Timestamp(0), Timestamp(u64::MAX)), None, "that is no time at all");
        let short = Lifetimes { user: Span::seconds(2), ..lifetimes };
        assert_eq!(short.longest_silence(), Span(500));
    }

    #[test]
    fn things_expire_when_their_whole_lifetime_is_over_and_not_before() {
        let lifetimes = Lifetimes { user: Span::seconds(1), ..Lifetimes::default() };
        let at = |now| Expiry { now: Timestamp(now), lifetimes };
        assert!(!at(1_999).of_user(Timestamp(1_000)));
        assert!(at(2_000).of_user(Timestamp(1_000)));
        assert!(!at(500).of_user(Timestamp(1_000)), "a clock that went back takes nothing");
    }
}
