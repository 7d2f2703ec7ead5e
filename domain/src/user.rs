//! Users.

use serde::{Deserialize, Serialize};

use crate::{Nickname, UserId};

/// The maximum number of people that one user can hide.
pub const HIDDEN_LIMIT: usize = 100;

/// A person with a nickname instead of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The public id.
    pub id: UserId,
    /// The current nickname.
    pub nickname: Nickname,
}

impl User {
    /// Creates a user who has not chosen a nickname. The friendly one they get is derived from their id, so that
    /// nothing has to be stored for users who only read.
    pub fn new(id: UserId) -> Self {
        let number = id
            .bytes()
            .iter()
            .fold(0_u64, |number, byte| number.wrapping_mul(257).wrapping_add(u64::from(*byte)));
        Self { id, nickname: Nickname::friendly(number) }
    }

    /// Whether the nickname is the default one, as that of a user who is not stored.
    pub fn is_new(&self) -> bool {
        *self == Self::new(self.id)
    }
}
