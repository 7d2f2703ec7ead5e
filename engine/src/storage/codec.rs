//! How a record is written: one byte for the version, four for a checksum of what follows, then postcard. The file system
//! and the disk may hand back something else than they were given, and the database does not look at every byte of that.

use serde::{Deserialize, Serialize};

/// The version of everything stored. Another one means another reader, never a guess.
pub(super) const VERSION: u8 = 4;

/// Bytes before the record itself.
const HEAD: usize = 5;

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
    /// Something else is there than was written.
    #[error("it is damaged")]
    Damaged,
    /// It cannot be written or read as postcard.
    #[error("it is not as it should be ({0})")]
    Malformed(#[from] postcard::Error),
}

/// The bytes to store.
///
/// # Errors
/// [`RecordError::Malformed`], for types that postcard cannot write; Qchat has none.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RecordError> {
    let mut bytes = postcard::to_extend(value, vec![VERSION, 0, 0, 0, 0])?;
    let checksum = crc32fast::hash(&bytes[HEAD..]).to_le_bytes();
    bytes[1..HEAD].copy_from_slice(&checksum);
    Ok(bytes)
}

/// What was stored.
///
/// # Errors
/// [`RecordError`] for bytes that are not such a record, whatever they are.
pub fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, RecordError> {
    match bytes.split_first() {
        None => Err(RecordError::Empty),
        Some((&VERSION, rest)) => match rest.split_first_chunk() {
            Some((checksum, record)) if u32::from_le_bytes(*checksum) == crc32fast::hash(record) => {
                Ok(postcard::from_bytes(record)?)
            }
            _ => Err(RecordError::Damaged),
        },
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
        assert_eq!(bytes.len(), HEAD + ID_BYTES + 1 + 3, "ids are bytes, not text");
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let bytes = encode(&user()).unwrap();
        assert!(matches!(decode::<User>(&[]), Err(RecordError::Empty)));
        assert!(matches!(decode::<User>(&[9, 1, 2]), Err(RecordError::Version(9))));
        for length in 1..bytes.len() {
            assert!(decode::<User>(&bytes[..length]).is_err(), "cut at {length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<User>(&flipped).is_err(), "bit {bit} flipped");
        }
    }
}
