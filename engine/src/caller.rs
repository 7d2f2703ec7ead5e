//! The caller of the engine: who makes a request, for the rules and the rate limits.

use std::net::IpAddr;

use domain::UserId;

/// The caller of the engine: the user of a session, at the address that the request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user of the session.
    pub user: UserId,
    /// The IP address of the client.
    pub address: IpAddr,
}
