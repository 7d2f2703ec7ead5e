//! Durable file system operations: renames and new files that survive a power failure.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// A file that is written beside its place and gets its name when it is complete, so that there is either all of it or
/// what was there before. Only its owner can read it. If it is dropped before it is complete, nothing is left of it.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// Where it is written.
    part: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// Begins a file that is to have this path. What an interrupted process has left of it is removed.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().write(true).create_new(true).mode(0o600).open(&part)?;
        Ok(Self { file, part, path: path.to_owned() })
    }

    /// Returns the file, to be written.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Returns the path of the file while it is written.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Makes what was written durable and gives it its name. A file that has the name is replaced.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        rename_durably(&self.part, &self.path)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Fails once it has its name.
        let _ = fs::remove_file(&self.part);
    }
}

/// Renames a file durably: the folder is synced as well, so that the new name survives a power failure (fsync(2)).
///
/// # Errors
/// Any error of the file system.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder_of(to)
}

/// Syncs the folder of a file, so that the file's entry in it survives a power failure.
///
/// # Errors
/// Any error of the file system.
pub fn sync_folder_of(file: &Path) -> io::Result<()> {
    match file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => fs::File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_new_file_is_there_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let part = folder.path().join("file.part");
        fs::write(&path, "before").unwrap();
        // As an interrupted process leaves it, and others may read it.
        fs::write(&part, "something longer").unwrap();
        let mut new = NewFile::create(&path).unwrap();
        new.file().write_all(b"after").unwrap();
        assert_eq!((new.part(), fs::read_to_string(&part).unwrap().as_str()), (part.as_path(), "after"));
        drop(new);
        assert_eq!((part.exists(), fs::read_to_string(&path).unwrap().as_str()), (false, "before"));

        let mut new = NewFile::create(&path).unwrap();
        new.file().write_all(b"after").unwrap();
        new.finish().unwrap();
        assert_eq!((part.exists(), fs::read_to_string(&path).unwrap().as_str()), (false, "after"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(NewFile::create(&folder.path().join("missing/file")).is_err());
    }
}
