//! The caller of a command.

use std::net::IpAddr;

use domain::UserId;

/// A session at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user of the session.
    pub user: UserId,
    /// The IP address of the client.
    pub address: IpAddr,
}
