//! Who asks for something.

use std::net::IpAddr;

use domain::UserId;

/// Whoever asks for something: a session, somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Whose session.
    pub user: UserId,
    /// From where.
    pub address: IpAddr,
}
