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
    /// The newest rules by which this Qchat can decide.
    pub const NEWEST: Self = Self(1);
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
