//! The head of a message of the log, as far as it is the same in all versions.

use domain::{Epoch, id::ID_BYTES};

/// The first bytes of a message of the log.
const MAGIC: &[u8] = b"QCLG";
/// Where the epoch is in it: after the magic, the format and the checksum.
const EPOCH_AT: usize = 9;

/// Returns the epoch of the log that a message is of. `None` if it is not a message of a log.
pub(crate) fn epoch(message: &[u8]) -> Option<Epoch> {
    let bytes = message.strip_prefix(MAGIC)?.get(EPOCH_AT - MAGIC.len()..)?.first_chunk::<ID_BYTES>()?;
    Some(Epoch::from_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_is_read_and_other_messages_are_told() {
        let message = [b"QCLG\x01".as_slice(), &[0; 4], &[7; ID_BYTES], b"..."].concat();
        assert_eq!(epoch(&message), Some(Epoch::from_bytes([7; ID_BYTES])));
        assert_eq!(epoch(&message[..18]), None);
        assert_eq!(epoch(b"hello"), None);
    }
}
