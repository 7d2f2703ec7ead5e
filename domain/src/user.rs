//! People.

use serde::{Deserialize, Serialize};

use crate::{Nickname, UserId};

/// So many people one user can hide.
pub const HIDDEN_LIMIT: usize = 100;

/// A person with a nickname instead of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who, in public.
    pub id: UserId,
    /// What they are called now.
    pub nickname: Nickname,
}

impl User {
    /// Someone who has not chosen a nickname: called by a friendly one that follows from their id, so that nothing
    /// needs to be stored for those who only look.
    pub fn new(id: UserId) -> Self {
        let number = id
            .bytes()
            .iter()
            .fold(0_u64, |number, byte| number.wrapping_mul(257).wrapping_add(u64::from(*byte)));
        Self { id, nickname: Nickname::friendly(number) }
    }

    /// Whether this is what somebody is called of whom nothing is known.
    pub fn is_new(&self) -> bool {
        *self == Self::new(self.id)
    }
}
