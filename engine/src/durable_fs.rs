//! Durable file system operations: renames and new files that survive a power failure.

use std::{fs, io, path::Path};

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
