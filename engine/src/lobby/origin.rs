//! Where a chat was started, without the address.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

/// The network from which a chat was started, as a keyed hash: it tells networks apart and does not reveal them, so that
/// other nodes may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin(pub u64);

/// The key of [`Origin`]s. Nodes with the same key give a network the same origin.
#[derive(Clone)]
pub struct OriginKey(Sha256);

impl OriginKey {
    /// Creates a key from a secret of the server.
    pub fn new(secret: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(b"qchat origin\0").chain_update(secret))
    }

    /// Returns the origin of a network.
    pub fn origin(&self, network: IpAddr) -> Origin {
        let hash = self.0.clone();
        let hash = match network {
            IpAddr::V4(network) => hash.chain_update(network.octets()),
            IpAddr::V6(network) => hash.chain_update(network.octets()),
        };
        let mut first = [0; size_of::<u64>()];
        first.iter_mut().zip(hash.finalize()).for_each(|(byte, hashed)| *byte = hashed);
        Origin(u64::from_be_bytes(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_told_apart_and_a_network_is_known_only_by_the_same_key() {
        let (key, other) = (OriginKey::new(b"secret"), OriginKey::new(b"another"));
        let networks: [IpAddr; 3] =
            ["192.0.2.1", "192.0.2.2", "2001:db8::"].map(|network| network.parse().unwrap());
        let origins = networks.map(|network| key.origin(network));
        assert!(origins[0] != origins[1] && origins[1] != origins[2]);
        assert_eq!(networks.map(|network| OriginKey::new(b"secret").origin(network)), origins);
        assert!(networks.iter().zip(origins).all(|(network, origin)| other.origin(*network) != origin));
    }
}
