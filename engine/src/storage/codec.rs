//! The encoding of a record: one byte for the version, four for a checksum of the rest, then postcard. The checksum is
//! needed because the file system and the disk may return other bytes than were written, and the database does not
//! verify all of them.

use serde::{Deserialize, Serialize};

/// The version of the storage format. Records of any other version are refused.
pub(super) const RECORD_VERSION: u8 = 4;

/// The size in bytes of what precedes the record itself.
const HEAD: usize = 5;

/// Why bytes could not be encoded to a record or decoded from one.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There are no bytes.
    #[error("it is empty")]
    Empty,
    /// The record was written by another version of Qchat.
    #[error(
        "it has version {0}, but this Qchat reads version {RECORD_VERSION}: move the data folder away to start anew"
    )]
    Version(u8),
    /// The checksum does not match.
    #[error("its checksum does not match")]
    Damaged,
    /// The value cannot be serialized or deserialized by postcard.
    #[error("it cannot be encoded or decoded ({0})")]
    Malformed(#[from] postcard::Error),
}

/// Encodes a record.
///
/// # Errors
/// [`RecordError::Malformed`] for types that postcard cannot serialize; Qchat has none.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RecordError> {
    let mut bytes = postcard::to_extend(value, vec![RECORD_VERSION, 0, 0, 0, 0])?;
    let checksum = crc32fast::hash(&bytes[HEAD..]).to_le_bytes();
    bytes[1..HEAD].copy_from_slice(&checksum);
    Ok(bytes)
}

/// Decodes a record.
///
/// # Errors
/// [`RecordError`] for any bytes that are not a record of this version and type.
pub fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, RecordError> {
    match bytes.split_first() {
        None => Err(RecordError::Empty),
        Some((&RECORD_VERSION, rest)) => match rest.split_first_chunk() {
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
