//! Searches in chats.

use domain::{
    ChatId, Problem, Seq,
    search::{Found, SearchPage, Sought},
};

use super::{Engine, not_readable};
use crate::{caller::Caller, search::Search};

impl Engine {
    /// Searches a chat, newest message first and from before a position if one is given, and returns a page with what was
    /// found in a slice of it.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, those of [`Chat::check_access`](domain::Chat::check_access) if
    /// it does not admit the user, or [`Problem::NotReadable`] if the database cannot be read. The page itself says so if
    /// there is too much to look for or too many searches wait.
    pub async fn search_page(
        &self,
        by: Caller,
        id: ChatId,
        sought: Sought,
        before: Option<Seq>,
    ) -> Result<SearchPage, Problem> {
        let view = self.read()?;
        let chat = self.enter(&view, id, by.user)?;
        // If nothing is stored of the user, nothing has to be kept from expiring.
        let known = view.known_user(by.user).map_err(|error| not_readable(&error))?;
        self.presence.looked(known.is_some().then_some(by.user), Some(id));
        drop(view);
        let found = match self.search(by, id, &sought, before).await {
            Err(problem) if !matches!(problem, Problem::SearchTooLong | Problem::Busy) => {
                return Err(problem);
            }
            found => found,
        };
        Ok(SearchPage { chat, now: self.now(), sought, found })
    }

    async fn search(
        &self,
        by: Caller,
        chat: ChatId,
        sought: &Sought,
        before: Option<Seq>,
    ) -> Result<Found, Problem> {
        if sought.is_nothing() {
            return Ok(Found::default());
        }
        let search = Search::new(by.user, sought)?;
        let turn = self.searches.turn(by).await?;
        let view = self.read()?;
        // It may have ended, or the user may have been removed, while the search was waiting.
        let chat = self.enter(&view, chat, by.user)?;
        let searching = turn.run(move || {
            let hidden = view.hidden(by.user)?;
            search.read(&view, &chat, before.unwrap_or(Seq(u64::MAX)), &hidden)
        });
        searching.await?.map_err(|error| not_readable(&error))
    }
}
