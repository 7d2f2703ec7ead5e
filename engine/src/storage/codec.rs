//! The encoding of a record: one byte for the version, four for a checksum of the rest, then postcard. The checksum is
//! needed because the file system and the disk may return other bytes than were written, and the database does not
//! verify all of them.

use serde::{Deserialize, Serialize};

/// The version of the storage format. Records of any other version are refused.
pub(super) const RECORD_VERSION: u8 = 4;

/// The size in bytes of what precedes the record itself.
const HEAD: usize = 5;

/// The version of this Qchat.
pub(super) const QCHAT: &str = env!("CARGO_PKG_VERSION");

/// Why bytes could not be encoded to a record or decoded from one.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There are no bytes.
    #[error("it is empty")]
    Empty,
    /// An older version of Qchat wrote the record: its version of the storage format is not read any more.
    #[error(
        "it has version {0}, but this Qchat reads version {RECORD_VERSION}: move the data folder away to start anew"
    )]
    Older(u8),
    /// A newer version of Qchat wrote the record: it has a later version of the storage format.
    #[error(
        "it has version {0}, but this Qchat {QCHAT} reads version {RECORD_VERSION}, so a newer one wrote it, or it is damaged: \
         run the newer one, or use another data folder"
    )]
    Newer(u8),
    /// A newer version of Qchat wrote the record: its checksum matches, but it is none that this version could have
    /// written, such as an event of a kind that was added later.
    #[error(
        "it is intact, but of a kind that this Qchat {QCHAT} does not know, so a newer one wrote it: run the newer one, or \
         use another data folder"
    )]
    Unknown(#[source] postcard::Error),
    /// The checksum does not match.
    #[error("its checksum does not match")]
    Damaged,
    /// The value cannot be serialized by postcard.
    #[error("it cannot be encoded ({0})")]
    Malformed(#[source] postcard::Error),
}

impl RecordError {
    /// Returns the error for a record of another version than [`RECORD_VERSION`].
    pub(super) fn of_version(version: u8) -> Self {
        if version > RECORD_VERSION { Self::Newer(version) } else { Self::Older(version) }
    }
}

/// Encodes a record.
///
/// # Errors
/// [`RecordError::Malformed`] for types that postcard cannot serialize; Qchat has none.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RecordError> {
    let mut bytes =
        postcard::to_extend(value, vec![RECORD_VERSION, 0, 0, 0, 0]).map_err(RecordError::Malformed)?;
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
                postcard::from_bytes(record).map_err(RecordError::Unknown)
            }
            _ => Err(RecordError::Damaged),
        },
        Some((&version, _)) => Err(RecordError::of_version(version)),
    }
}

#[cfg(test)]
mod tests {
    use domain::{EventKind, Nickname, User, UserId, id::ID_BYTES};

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
    fn what_a_newer_version_added_is_told_from_damage() {
        // The position of a kind of event that does not exist.
        let mut bytes = encode(&100_u8).unwrap();
        assert!(matches!(decode::<EventKind>(&bytes), Err(RecordError::Unknown(_))));
        bytes[HEAD] += 1;
        assert!(matches!(decode::<EventKind>(&bytes), Err(RecordError::Damaged)));
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let bytes = encode(&user()).unwrap();
        assert!(matches!(decode::<User>(&[]), Err(RecordError::Empty)));
        assert!(matches!(decode::<User>(&[9, 1, 2]), Err(RecordError::Newer(9))));
        assert!(matches!(decode::<User>(&[1, 1, 2]), Err(RecordError::Older(1))));
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
