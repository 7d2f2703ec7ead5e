//! Pictures of messages. Their bytes are files; the log has their names and sizes.

use serde::{Deserialize, Serialize};

use crate::{PictureId, Timestamp, text::Alt};

/// The maximum number of pictures of one message.
pub const PICTURES_LIMIT: usize = 8;
/// How long after it was uploaded a picture can be posted, in milliseconds: 15 minutes. It is less where messages are kept
/// for less than that.
pub const PICTURE_WAITS_MILLIS: u64 = 15 * 60 * 1_000;

/// A picture of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// The id, and the last part of its address.
    pub id: PictureId,
    /// The width in pixels.
    pub width: u16,
    /// The height in pixels.
    pub height: u16,
    /// The width and the height in pixels of the small version.
    pub small: (u16, u16),
    /// The size of both versions together, in bytes.
    pub bytes: u32,
    /// What can be seen, in words. Empty if its author wrote none.
    pub alt: Alt,
}

/// A picture that was uploaded and is to be posted with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureTicket {
    /// What the server answered to the upload.
    pub ticket: String,
    /// What can be seen, in words. Empty if there are none.
    #[serde(default)]
    pub alt: String,
}

impl PictureTicket {
    /// Creates one of a picture without a description.
    pub fn without_words(ticket: &str) -> Self {
        Self { ticket: ticket.to_owned(), alt: String::new() }
    }
}

/// A picture that was uploaded, to be posted with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The picture.
    pub picture: Picture,
    /// When it was uploaded, by the time of the log.
    pub uploaded_at: Timestamp,
}

/// What is stored of a picture beside its message: what is left of it while the message is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureRecord {
    /// The width in pixels.
    pub width: u16,
    /// The height in pixels.
    pub height: u16,
    /// The width and the height in pixels of the small version.
    pub small: (u16, u16),
    /// The size of both versions together, in bytes.
    pub bytes: u32,
    /// When the message was removed. `None` while it is there.
    pub removed_at: Option<Timestamp>,
}

impl PictureRecord {
    /// Returns what is stored of a picture whose message is there.
    pub fn of(picture: &Picture) -> Self {
        let Picture { width, height, small, bytes, .. } = *picture;
        Self { width, height, small, bytes, removed_at: None }
    }

    /// Returns the picture with this id and these words.
    pub fn picture(self, id: PictureId, alt: Alt) -> Picture {
        let Self { width, height, small, bytes, .. } = self;
        Picture { id, width, height, small, bytes, alt }
    }
}
