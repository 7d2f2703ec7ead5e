//! The seal of a database that was closed in an orderly way: the length of its file and a checksum of all of it, in a
//! file beside it. If the seal is intact, nothing has changed the database since.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
};

/// The number of bytes that are read at once.
const CHUNK_BYTES: usize = 128 * 1024;

/// The maximum number of threads that read at the same time: one core does not read as fast as the memory delivers.
const READERS: usize = 4;

fn beside(database: &Path) -> PathBuf {
    database.with_extension("seal")
}

/// Sets options that create files, if they do not exist, readable and writable by Qchat's user alone, whatever the
/// folder permits.
pub(in crate::storage) fn owned(options: &mut OpenOptions) -> &mut OpenOptions {
    options.create(true).mode(0o600)
}

/// Returns whether there is a seal, and the database is as it was sealed.
pub(in crate::storage) fn holds(database: &Path) -> io::Result<bool> {
    match fs::read_to_string(beside(database)) {
        Ok(seal) => Ok(seal == of(database)?),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the seal, if there is one. This is not needed for correctness, since any write to the database breaks the
/// seal.
pub(in crate::storage) fn remove(database: &Path) -> io::Result<()> {
    match fs::remove_file(beside(database)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Seals a database that no process has open.
pub(in crate::storage) fn put(database: &Path) -> io::Result<()> {
    let mut file = owned(File::options().write(true).truncate(true)).open(beside(database))?;
    file.write_all(of(database)?.as_bytes())
}

fn of(database: &Path) -> io::Result<String> {
    let readers = thread::available_parallelism().map_or(1, |cores| cores.get().min(READERS));
    let (length, checksum) = read(database, readers as u64)?;
    Ok(format!("{length} {checksum:08x}\n"))
}

/// Returns the length of a file and its checksum, computed by the given number of threads.
fn read(database: &Path, readers: u64) -> io::Result<(u64, u32)> {
    let length = fs::metadata(database)?.len();
    let part_bytes = length.div_ceil(readers);
    thread::scope(|scope| {
        let read = |part| {
            let reader = thread::Builder::new().name("seal".into());
            reader.spawn_scoped(scope, move || read_part(database, part * part_bytes, part_bytes))
        };
        let readers = (0..readers).map(read).collect::<io::Result<Vec<_>>>()?;
        let mut checksum = crc32fast::Hasher::new();
        for reader in readers {
            checksum.combine(&reader.join().map_err(|_| io::Error::other("a reader panicked"))??);
        }
        Ok((length, checksum.finalize()))
    })
}

fn read_part(database: &Path, from: u64, bytes: u64) -> io::Result<crc32fast::Hasher> {
    let mut file = File::open(database)?;
    file.seek(SeekFrom::Start(from))?;
    let (mut part, mut chunk) = (file.take(bytes), vec![0; CHUNK_BYTES]);
    let mut checksum = crc32fast::Hasher::new();
    loop {
        match part.read(&mut chunk)? {
            0 => return Ok(checksum),
            count => checksum.update(&chunk[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_until_a_bit_changes() {
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

    #[test]
    fn any_number_of_readers_find_the_same_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.redb");
        for length in [0, 1, 2, 3, 5, CHUNK_BYTES - 1, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let bytes: Vec<u8> = (0..length).map(|place| (place * 7 + place / 251) as u8).collect();
            fs::write(&path, &bytes).unwrap();
            for readers in 1..=4 {
                let found = read(&path, readers).unwrap();
                assert_eq!(found, (length as u64, crc32fast::hash(&bytes)), "{length}, {readers}");
            }
        }
    }
}
