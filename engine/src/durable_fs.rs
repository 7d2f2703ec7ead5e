//! Changes of folders that outlive a power cut.

use std::{fs, io, path::Path};

/// Renames a file so that it is still renamed after a power cut: the folder is synced as well (fsync(2)).
///
/// # Errors
/// When the file system refuses.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder_of(to)
}

/// Syncs the folder of a file, so that the file is there after a power cut.
///
/// # Errors
/// When the file system refuses.
pub fn sync_folder_of(file: &Path) -> io::Result<()> {
    match file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => fs::File::open(".")?.sync_all(),
    }
}
