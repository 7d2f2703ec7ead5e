//! Pictures: what may be uploaded, posted and looked at, and by whom.

use std::sync::Arc;

use domain::{Alt, Attached, ChatId, Picture, PictureId, Problem, Seq, UserId, picture::PictureTicket};
use tokio::task::spawn_blocking;

use super::{Engine, not_readable};
use crate::{
    caller::Caller,
    limits::UploadGuard,
    pictures::{Encoded, PictureSize, Pictures, Ticket},
    random,
};

impl Engine {
    /// Returns the files of pictures.
    pub fn pictures(&self) -> &Arc<Pictures> {
        &self.pictures
    }

    /// Returns whether pictures can be uploaded.
    pub fn takes_pictures(&self) -> bool {
        self.pictures.are_on()
    }

    /// Returns the number of pictures, and the size of their files in bytes.
    pub fn stored_pictures(&self) -> (usize, u64) {
        self.pictures.stored()
    }

    /// Checks whether a user may upload a picture for a chat at present, and counts it until the returned guard is
    /// dropped.
    ///
    /// # Errors
    /// [`Problem::PicturesOff`] if pictures are switched off; those of [`Engine::may_write`] if the user may not post in
    /// the chat; [`Problem::TooFast`], [`Problem::Busy`] or [`Problem::StorageFull`] if a limit is reached.
    pub fn check_upload(&self, by: Caller, chat: ChatId) -> Result<UploadGuard, Problem> {
        if !self.pictures.are_on() {
            return Err(Problem::PicturesOff);
        }
        self.may_write(chat, by.user)?;
        let guard = self.limits.upload(by)?;
        self.pictures.check_room()?;
        self.pictures.check_shared()?;
        Ok(guard)
    }

    /// Stores a picture durably, and returns it with the ticket with which it can be posted.
    ///
    /// # Errors
    /// [`Problem::TooFast`] or [`Problem::StorageFull`] if a limit is reached, [`Problem::NotStored`] if it cannot be
    /// stored.
    pub async fn keep_picture(
        &self,
        by: Caller,
        chat: ChatId,
        encoded: Encoded,
    ) -> Result<(Picture, String), Problem> {
        let id = random::picture_id().map_err(|error| {
            tracing::error!(%error, "no id for a picture could be drawn");
            Problem::NotStored
        })?;
        let picture = encoded.picture(id);
        self.limits.keep_picture(by, picture.bytes)?;
        let uploaded_at = self.now();
        // It goes on if the client stops waiting: a picture that is not posted is deleted later.
        let kept = tokio::spawn(Arc::clone(&self.pictures).keep_for_all(id, uploaded_at, encoded));
        kept.await.unwrap_or(Err(Problem::NotStored))?;
        let ticket = Ticket { chat, user: by.user, picture: picture.clone(), uploaded_at };
        Ok((picture, self.pictures.write_ticket(&ticket)))
    }

    /// Returns a file of a picture of a message, if a user may see it. `None` if there is no such message or picture, or
    /// the user may not enter the chat: these are not told apart.
    ///
    /// # Errors
    /// [`Problem::TooFast`] or [`Problem::Busy`] if a limit is reached, [`Problem::NotReadable`] if it cannot be read. Also
    /// [`Problem::Busy`] if its files are not here yet, and cannot be fetched within some seconds.
    pub async fn picture(
        &self,
        by: Caller,
        (chat, message, picture): (ChatId, Seq, PictureId),
        size: PictureSize,
    ) -> Result<Option<Vec<u8>>, Problem> {
        self.limits.view_picture(by)?;
        if !self.may_see_picture(by.user, (chat, message, picture))? {
            return Ok(None);
        }
        match self.read_picture(picture, size).await? {
            None if self.pictures.fetch_soon(picture).await? => self.read_picture(picture, size).await,
            read => Ok(read),
        }
    }

    async fn read_picture(&self, picture: PictureId, size: PictureSize) -> Result<Option<Vec<u8>>, Problem> {
        let pictures = Arc::clone(&self.pictures);
        let read = spawn_blocking(move || pictures.read(picture, size));
        let read = read.await.map_err(|_| Problem::NotReadable)?;
        read.map_err(|error| {
            tracing::error!(%error, "a picture could not be read");
            Problem::NotReadable
        })
    }

    /// Returns whether a message has a picture that a user has already, and may still see. Counts as a look at it.
    ///
    /// # Errors
    /// [`Problem::TooFast`] or [`Problem::Busy`] if a limit is reached, [`Problem::NotReadable`] if the database cannot be
    /// read.
    pub fn may_still_see_picture(
        &self,
        by: Caller,
        place: (ChatId, Seq, PictureId),
    ) -> Result<bool, Problem> {
        self.limits.view_picture(by)?;
        self.may_see_picture(by.user, place)
    }

    /// Returns whether a message has a picture that a user may see.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    fn may_see_picture(
        &self,
        user: UserId,
        (chat, message, picture): (ChatId, Seq, PictureId),
    ) -> Result<bool, Problem> {
        let view = self.read()?;
        match self.enter(&view, chat, user) {
            Ok(_) => {}
            Err(Problem::NotReadable) => return Err(Problem::NotReadable),
            Err(_) => return Ok(false),
        }
        let found = view.picture(chat, message, picture).map_err(|error| not_readable(&error))?;
        Ok(found.is_some())
    }

    /// Returns the pictures of tickets, with their descriptions.
    pub(super) fn attached(
        &self,
        by: UserId,
        chat: ChatId,
        tickets: Vec<PictureTicket>,
    ) -> Result<Vec<Attached>, Problem> {
        // Where pictures are off, a message with one is refused for that.
        if tickets.len() > self.pictures.max_in_message() && self.pictures.are_on() {
            return Err(Problem::TooManyPictures);
        }
        tickets.into_iter().map(|ticket| self.attach(by, chat, ticket)).collect()
    }

    /// Returns the picture of a ticket. What is no ticket, or one for something else, is taken to be one that has
    /// expired: what to do about it is the same.
    fn attach(&self, by: UserId, chat: ChatId, wanted: PictureTicket) -> Result<Attached, Problem> {
        if !self.pictures.are_on() {
            return Err(Problem::PicturesOff);
        }
        let alt = Alt::parse(&wanted.alt)?;
        let ticket = self.pictures.read_ticket(&wanted.ticket).ok_or(Problem::PictureExpired)?;
        let Ticket { chat: for_chat, user, picture, uploaded_at } = ticket;
        // Another node of a cluster may have its files, and this one not yet.
        let is_here = self.is_shared || self.pictures.has(picture.id);
        if for_chat != chat || user != by || !is_here {
            return Err(Problem::PictureExpired);
        }
        Ok(Attached { picture: Picture { alt, ..picture }, uploaded_at })
    }
}
