//! The seal on a database that was closed in order: how long its file is, and a checksum of all of it, in a file beside it.
//! Whoever finds it unbroken knows that nobody and nothing changed the database since.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Read at once.
const CHUNK_BYTES: usize = 1024 * 1024;

fn beside(database: &Path) -> PathBuf {
    database.with_extension("seal")
}

/// Makes files where there are none for Qchat alone to read, whatever the folder lets others do.
pub(super) fn owned(options: &mut OpenOptions) -> &mut OpenOptions {
    options.create(true).mode(0o600)
}

/// Whether there is a seal, and the database is as it was sealed.
pub(super) fn holds(database: &Path) -> io::Result<bool> {
    match fs::read_to_string(beside(database)) {
        Ok(seal) => Ok(seal == of(database)?),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes the seal away, if there is one. It is not needed for truth: whoever writes to the database breaks it.
pub(super) fn remove(database: &Path) -> io::Result<()> {
    match fs::remove_file(beside(database)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Seals a database that nobody has open.
pub(super) fn put(database: &Path) -> io::Result<()> {
    let mut file = owned(File::options().write(true).truncate(true)).open(beside(database))?;
    file.write_all(of(database)?.as_bytes())
}

fn of(database: &Path) -> io::Result<String> {
    let mut file = File::open(database)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut checksum, mut length) = (crc32fast::Hasher::new(), 0_u64);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(format!("{length} {:08x}\n", checksum.finalize())),
            count => {
                checksum.update(&chunk[..count]);
                length += u64::try_from(count).unwrap_or(u64::MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_until_a_bit_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.redb");
        fs::write(&path, vec![7; 3 * CHUNK_BYTES + 5]).unwrap();
        assert!(!holds(&path).unwrap(), "there is none");
        put(&path).unwrap();
        assert!(holds(&path).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        bytes[2 * CHUNK_BYTES] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(!holds(&path).unwrap());
        fs::write(&path, &bytes[1..]).unwrap();
        assert!(!holds(&path).unwrap());
        fs::write(beside(&path), [0xff]).unwrap();
        assert!(!holds(&path).unwrap(), "nor does one that is none");
        remove(&path).unwrap();
        remove(&path).unwrap();
    }
}
