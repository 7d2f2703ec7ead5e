//! Identifiers: random 80-bit ids written as 16 characters, and sequence numbers of the log.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The number of bytes in an id: 80 bits. At a thousand guesses a second against a million chats, hitting one takes
/// some 38 million years on average, and 80 bits are exactly 16 characters of five bits each.
pub const ID_BYTES: usize = 10;
const ID_LETTERS: usize = 16;

/// Crockford's base 32 in lower case: digits and letters without i, l, o and u, which are easily mistaken for others.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The error for text that is not an id: 16 characters of `0-9a-z` without i, l, o and u are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 16 characters of 0-9 and a-z without i, l, o and u are expected")]
pub struct NotAnId;

fn encode(bytes: [u8; ID_BYTES]) -> [u8; ID_LETTERS] {
    let mut letters = [0; ID_LETTERS];
    for (eight, five) in letters.chunks_exact_mut(8).zip(bytes.chunks_exact(5)) {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for (place, letter) in eight.iter_mut().rev().enumerate() {
            *letter = ALPHABET[(bits >> (5 * place) & 31) as usize];
        }
    }
    letters
}

fn decode(text: &str) -> Result<[u8; ID_BYTES], NotAnId> {
    if text.len() != ID_LETTERS {
        return Err(NotAnId);
    }
    let mut bytes = [0; ID_BYTES];
    for (five, eight) in bytes.chunks_exact_mut(5).zip(text.as_bytes().chunks_exact(8)) {
        let mut bits = 0_u64;
        for letter in eight {
            let value = ALPHABET.iter().position(|known| known == letter).ok_or(NotAnId)?;
            bits = bits << 5 | value as u64;
        }
        five.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Ok(bytes)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; ID_BYTES]);

        impl $name {
            /// Creates an id from 80 bits that the caller drew at random, or derived from random bits.
            pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
                Self(bytes)
            }

            /// Returns the 80 bits.
            pub const fn bytes(self) -> [u8; ID_BYTES] {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                encode(self.0).iter().try_for_each(|letter| fmt::Write::write_char(formatter, char::from(*letter)))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                decode(text).map(Self)
            }
        }

        /// Sixteen characters in human-readable formats (JSON), ten bytes in binary ones (the database).
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
                } else {
                    <[u8; ID_BYTES]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

id! {
    /// The public id of a user. It is part of every page and reveals nothing about the session it belongs to.
    UserId
}
id! {
    /// The id of a chat, and the last part of its address. Anyone who knows it can find the chat.
    ChatId
}
id! {
    /// The id that a client makes for each message it posts, so that retries are deduplicated and a local echo is replaced.
    ClientId
}
id! {
    /// The id of a picture, and the last part of its address.
    PictureId
}
id! {
    /// Identifies one incarnation of the log. Made with the database; a cursor of another epoch is not valid in this one.
    Epoch
}

/// A sequence number: the position of an entry in the log, counted from 1. 0 is before the first entry.
/// Stays below 2^53, so that JSON numbers carry it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The position before the first entry.
    pub const ZERO: Self = Self(0);

    /// Returns the position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in any::<[u8; ID_BYTES]>()) {
            let id = ChatId::from_bytes(bytes);
            assert_eq!(id.to_string().len(), ID_LETTERS);
            assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn any_text_is_an_id_or_refused(text in ".{0,24}") {
            if let Ok(id) = text.parse::<UserId>() {
                assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn an_id_is_letters_in_json() {
        let id = UserId::from_bytes([0xff; ID_BYTES]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"zzzzzzzzzzzzzzzz\"");
        assert_eq!(serde_json::from_str::<UserId>(&json).unwrap(), id);
    }

    #[test]
    fn look_alikes_and_other_lengths_are_refused() {
        for text in ["", "0", "00000000000000000", "000000000000000I", "000000000000000l", "00000000000000é"]
        {
            assert_eq!(text.parse::<ChatId>(), Err(NotAnId), "{text}");
        }
    }
}
