//! What a snapshot has of pictures.

use domain::{ChatId, PictureId, PictureRecord, Seq};
use redb::ReadableTable;

use super::{
    codec,
    error::StoreError,
    snapshot::Snapshot,
    tables::{PICTURES, event},
};

impl Snapshot {
    /// Returns all pictures that messages have, those of removed messages included.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn pictures(&self) -> Result<Vec<(PictureId, PictureRecord)>, StoreError> {
        let mut found = Vec::new();
        let table = self.read.open_table(PICTURES)?;
        for row in table.iter()? {
            let (key, record) = row?;
            let (_, _, id) = key.value();
            found.push((PictureId::from_bytes(id), codec::decode(record.value())?));
        }
        Ok(found)
    }

    /// Returns what is stored of a picture of a message. `None` if the message has no such picture, was removed or has
    /// expired.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub fn picture(
        &self,
        chat: ChatId,
        message: Seq,
        picture: PictureId,
    ) -> Result<Option<PictureRecord>, StoreError> {
        let found = event(&self.events()?, chat, message)?;
        if found.is_none_or(|event| self.expiry.of_event(event.at)) {
            return Ok(None);
        }
        let pictures = self.read.open_table(PICTURES)?;
        let record = pictures.get((chat.bytes(), message.0, picture.bytes()))?;
        let record: Option<PictureRecord> = record.map(|record| codec::decode(record.value())).transpose()?;
        Ok(record.filter(|record| record.removed_at.is_none()))
    }
}
