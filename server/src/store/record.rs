//! How a record is written: one byte for the version, then postcard.

use serde::{Deserialize, Serialize};

/// The version of everything stored. Another one means another reader, never a guess.
const VERSION: u8 = 4;

/// Why bytes are not the record that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Written by another version of Qchat.
    #[error(
        "it has version {0}, and this Qchat reads version {VERSION}: move the data folder away to start anew"
    )]
    Version(u8),
    /// Damaged.
    #[error("it is damaged ({0})")]
    Damaged(#[from] postcard::Error),
}

/// The bytes to store.
///
/// # Errors
/// [`RecordError::Damaged`], for types that postcard cannot write; Qchat has none.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RecordError> {
    Ok(postcard::to_extend(value, vec![VERSION])?)
}

/// What was stored.
///
/// # Errors
/// [`RecordError`] for bytes that are not such a record, whatever they are.
pub(super) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, RecordError> {
    match bytes.split_first() {
        None => Err(RecordError::Empty),
        Some((&VERSION, record)) => Ok(postcard::from_bytes(record)?),
        Some((&version, _)) => Err(RecordError::Version(version)),
    }
}

#[cfg(test)]
mod tests {
    use domain::{Nickname, User, UserId, id::ID_BYTES};

    use super::*;

    fn user() -> User {
        User { id: UserId::from_bytes([3; ID_BYTES]), nickname: Nickname::parse("Ana").unwrap() }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let bytes = encode(&user()).unwrap();
        assert_eq!(decode::<User>(&bytes).unwrap(), user());
        assert_eq!(bytes.len(), 1 + ID_BYTES + 1 + 3, "ids are bytes, not text");
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let bytes = encode(&user()).unwrap();
        assert!(matches!(decode::<User>(&[]), Err(RecordError::Empty)));
        assert!(matches!(decode::<User>(&[9, 1, 2]), Err(RecordError::Version(9))));
        for length in 1..bytes.len() {
            assert!(decode::<User>(&bytes[..length]).is_err(), "cut at {length}");
        }
    }
}
