//! Messages.

use serde::{Deserialize, Serialize};

use crate::{Body, ClientId, Nickname, UserId};

/// What somebody said. Its place and time are those of the event that carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who said it.
    pub author: UserId,
    /// What they were called when they said it.
    pub nickname: Nickname,
    /// The id their client made for it.
    pub client_id: ClientId,
    /// What they said.
    pub body: Body,
}
