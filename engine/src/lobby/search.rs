//! Searches: which public chats match a filter. All pages with the same filter share one search. It looks at each title
//! once: when the search begins, or when the chat changes.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{
    ChatId, Counts, Problem,
    lobby::{FILTER_LIMIT, LISTINGS_LIMIT, Place},
    unicode,
};
use memchr::memmem::Finder;
use tokio::sync::watch;

use super::{Found, index::Entry};
use crate::folding::fold;

/// The maximum number of searches at a time. Further filters are refused with [`Problem::Busy`].
const SEARCHES: usize = 1_000;
/// How long a search without receivers is kept, for users who come back to a filter while they type, or who turn pages.
const KEPT: Duration = Duration::from_secs(5);
/// The maximum size in bytes of a filter and of a folded title; longer titles are cut. Enough for [`FILTER_LIMIT`]
/// ordinary characters. A title with many combining marks on a letter can still be found by its beginning.
const FOLDED_BYTES: usize = 1_024;

/// Folds a title, or a filter: removes white space around it, and what [`fold`] removes. What is too long is cut.
pub(super) fn folded(text: &str) -> String {
    let mut folded = fold(text.trim());
    folded.truncate(folded.floor_char_boundary(FOLDED_BYTES));
    folded
}

/// Folds a filter that a user has typed.
///
/// # Errors
/// [`Problem::FilterTooLong`] if it is too long.
pub(super) fn filter(typed: &str) -> Result<String, Problem> {
    let typed = typed.trim();
    // Bytes are checked first, since counting characters takes time proportional to the length.
    if typed.len() > FOLDED_BYTES || unicode::characters(typed) > FILTER_LIMIT {
        return Err(Problem::FilterTooLong);
    }
    Ok(folded(typed))
}

/// All searches, and the public chats as they know them.
#[derive(Default)]
pub(super) struct Searches {
    chats: BTreeMap<Place, Arc<Entry>>,
    places: HashMap<ChatId, Place>,
    searches: HashMap<String, Search>,
    version: u64,
    counts: Counts,
    /// Whether the last change was completed. If `false`, everything has to be taken in anew.
    is_whole: bool,
}

/// Changes of the public chats.
pub(super) struct ListUpdate {
    /// The version that these changes lead to.
    pub(super) version: u64,
    /// The counts of users and chats.
    pub(super) counts: Counts,
    /// Each changed chat as it is now. `None` if it is not public any more.
    pub(super) chats: Vec<(ChatId, Option<Arc<Entry>>)>,
}

struct Search {
    finder: Finder<'static>,
    matching: usize,
    /// The first of the matching chats.
    first: BTreeMap<Place, Arc<Entry>>,
    is_different: bool,
    told: watch::Sender<Arc<Found>>,
    asked_at: Instant,
}

impl Searches {
    /// Returns whether the state is consistent, so that it is enough to take in the changes.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Drops all chats. The next changes have to contain all of them.
    pub(super) fn start_over(&mut self) {
        self.chats.clear();
        self.places.clear();
        for search in self.searches.values_mut() {
            (search.matching, search.is_different) = (0, true);
            search.first.clear();
        }
    }

    /// Takes in changes, and notifies the receivers of searches whose results have changed.
    pub(super) fn follow(&mut self, news: ListUpdate) {
        self.is_whole = false;
        (self.version, self.counts) = (news.version, news.counts);
        for (id, after) in news.chats {
            let before = self.places.remove(&id).and_then(|place| self.chats.remove(&place));
            for search in self.searches.values_mut() {
                search.change(before.as_deref(), after.as_ref());
            }
            if let Some(after) = after {
                let place = after.listing.place();
                self.places.insert(id, place);
                self.chats.insert(place, after);
            }
        }
        let now = Instant::now();
        self.searches.retain(|_, search| search.is_used(now));
        for search in self.searches.values_mut() {
            search.settle(&self.chats, self.version, self.counts);
        }
        self.is_whole = true;
    }

    /// Returns a receiver of what matches a filter, as returned by [`filter`], now and from now on.
    ///
    /// # Errors
    /// [`Problem::Busy`] if the maximum number of searches is in use.
    pub(super) fn find(&mut self, filter: &str) -> Result<watch::Receiver<Arc<Found>>, Problem> {
        let now = Instant::now();
        if let Some(search) = self.searches.get_mut(filter) {
            search.asked_at = now;
            return Ok(search.told.subscribe());
        }
        if self.searches.len() >= SEARCHES {
            self.searches.retain(|_, search| search.told.receiver_count() > 0);
            if self.searches.len() >= SEARCHES {
                return Err(Problem::Busy);
            }
        }
        let (told, found) = watch::channel(Arc::default());
        let finder = Finder::new(filter).into_owned();
        let first = BTreeMap::new();
        let mut search = Search { finder, matching: 0, first, is_different: true, told, asked_at: now };
        search.begin(&self.chats);
        search.settle(&self.chats, self.version, self.counts);
        self.searches.insert(filter.to_owned(), search);
        Ok(found)
    }
}

impl Search {
    fn is_used(&self, now: Instant) -> bool {
        self.told.receiver_count() > 0 || now.duration_since(self.asked_at) < KEPT
    }

    fn passes(&self, entry: &Entry) -> bool {
        self.finder.find(entry.folded.as_bytes()).is_some()
    }

    fn begin(&mut self, chats: &BTreeMap<Place, Arc<Entry>>) {
        for (place, entry) in chats {
            if self.passes(entry) {
                self.matching += 1;
                if self.first.len() < LISTINGS_LIMIT {
                    self.first.insert(*place, Arc::clone(entry));
                }
            }
        }
    }

    fn change(&mut self, before: Option<&Entry>, after: Option<&Arc<Entry>>) {
        if let Some(before) = before.filter(|before| self.passes(before)) {
            self.matching -= 1;
            self.first.remove(&before.listing.place());
            self.is_different = true;
        }
        if let Some(after) = after.filter(|after| self.passes(after)) {
            let has_all = self.first.len() == self.matching;
            let place = after.listing.place();
            self.matching += 1;
            self.is_different = true;
            if has_all || self.first.last_key_value().is_some_and(|(last, _)| place < *last) {
                self.first.insert(place, Arc::clone(after));
                if self.first.len() > LISTINGS_LIMIT {
                    self.first.pop_last();
                }
            }
        }
    }

    /// Publishes the result, if it has changed.
    fn settle(&mut self, chats: &BTreeMap<Place, Arc<Entry>>, version: u64, counts: Counts) {
        if self.first.len() < self.matching.min(LISTINGS_LIMIT) {
            let passing = chats.iter().filter(|(_, entry)| self.passes(entry)).take(LISTINGS_LIMIT);
            self.first = passing.map(|(place, entry)| (*place, Arc::clone(entry))).collect();
        }
        let is_different = mem::take(&mut self.is_different);
        let told = self.told.borrow().clone();
        if is_different {
            let first = self.first.values().cloned().collect();
            self.told.send_replace(Arc::new(Found { version, counts, matching: self.matching, first }));
        } else if told.counts != counts {
            let (matching, first) = (told.matching, Arc::clone(&told.first));
            self.told.send_replace(Arc::new(Found { version, counts, matching, first }));
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{Listing, Timestamp, Title, id::ID_BYTES};

    use super::*;

    fn passes(title: &str, typed: &str) -> bool {
        folded(title).contains(&filter(typed).unwrap())
    }

    #[test]
    fn a_filter_ignores_case_composition_and_white_space_around() {
        for (title, typed) in [
            ("Tea at FIVE", " at five "),
            ("Ärger", "ärg"),
            ("anything", "  "),
            ("Cafe\u{301} at six", "Caf\u{e9}"),
            ("Caf\u{e9} at six", "cafe\u{301}"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσ"),
            ("οδυσσευς", "ΟΔΥΣΣΕΥΣ"),
            ("Straße", "STRASSE"),
            ("ﬁne", "FIN"),
            ("ｔｅａ", "tea"),
        ] {
            assert!(passes(title, typed), "{title} {typed}");
        }
        assert!(!passes("Tea at five", "coffee"));
    }

    #[test]
    fn a_filter_is_as_long_as_a_title_at_most() {
        assert!(filter(&"é".repeat(FILTER_LIMIT)).is_ok());
        assert_eq!(filter(&"e".repeat(FILTER_LIMIT + 1)), Err(Problem::FilterTooLong));
        let stacked = format!("e{}", "\u{301}".repeat(FOLDED_BYTES));
        assert_eq!(filter(&stacked), Err(Problem::FilterTooLong));
        let long = "\u{fdfa}".repeat(FILTER_LIMIT);
        assert!(folded(&long).len() <= FOLDED_BYTES);
    }

    fn entry(number: u64, title: &str, members: usize) -> Arc<Entry> {
        let mut id = [0; ID_BYTES];
        id[2..].copy_from_slice(&number.to_be_bytes());
        let listing = Listing {
            id: ChatId::from_bytes(id),
            title: Title::parse(title).unwrap(),
            started_at: Timestamp(number),
            said_at: None,
            members,
            faces: Vec::new(),
        };
        Arc::new(Entry { folded: folded(title).into(), listing })
    }

    /// However chats come, change and go, a search that is kept up to date has the same result as a new one.
    #[test]
    fn an_updated_search_finds_what_a_new_one_finds() {
        let mut searches = Searches::default();
        let mut told = [searches.find("tea").unwrap(), searches.find("t").unwrap()];
        let mut chats: HashMap<ChatId, Arc<Entry>> = HashMap::new();
        // More chats than are shown, so that some have to move up when others are removed.
        for step in 0..2_000_u64 {
            let number = step * 7_919 % 1_300;
            let title = if step * 31 % 5 < 3 { "Tea" } else { "Tonic" };
            let after = (step < 1_300 || step % 3 > 0).then(|| entry(number, title, (step % 4 / 3) as usize));
            let id = entry(number, title, 0).listing.id;
            match &after {
                Some(after) => chats.insert(id, Arc::clone(after)),
                None => chats.remove(&id),
            };
            let counts = Counts { people: 0, chats: chats.len() };
            searches.follow(ListUpdate { version: step + 1, counts, chats: vec![(id, after)] });
            if step % 100 == 99 {
                let mut fresh = Searches::default();
                let all = chats.iter().map(|(id, entry)| (*id, Some(Arc::clone(entry)))).collect();
                fresh.follow(ListUpdate { version: step + 1, counts, chats: all });
                for (told, filter) in told.iter_mut().zip(["tea", "t"]) {
                    let (told, found) =
                        (told.borrow_and_update().clone(), fresh.find(filter).unwrap().borrow().clone());
                    assert_eq!((told.matching, told.first.len()), (found.matching, found.first.len()));
                    assert!(told.first.iter().zip(&*found.first).all(|(one, other)| Arc::ptr_eq(one, other)));
                }
            }
        }
        assert!(told[1].borrow().matching > LISTINGS_LIMIT && told[0].borrow().matching > 0);
    }

    #[test]
    fn searches_are_shared_bounded_and_let_go() {
        let mut searches = Searches::default();
        let watched: Vec<_> =
            (0..SEARCHES).map(|number| searches.find(&format!("search {number}")).unwrap()).collect();
        assert!(searches.find("one more").is_err(), "each of them is followed");
        assert!(searches.find("search 7").is_ok(), "the same is one search");
        drop(watched);
        assert!(searches.find("one more").is_ok());
        assert_eq!(searches.searches.len(), 1);
    }

    #[test]
    fn after_a_change_that_was_not_ended_all_is_looked_at_anew() {
        let mut searches = Searches::default();
        let told = searches.find("tea").unwrap();
        let (one, other) = (entry(1, "Tea", 0), entry(2, "Green tea", 0));
        let news = |version, chats: &[&Arc<Entry>]| ListUpdate {
            version,
            counts: Counts::default(),
            chats: chats.iter().map(|entry| (entry.listing.id, Some(Arc::clone(entry)))).collect(),
        };
        searches.follow(news(1, &[&one]));
        searches.is_whole = false;
        searches.start_over();
        searches.follow(news(2, &[&one, &other]));
        assert_eq!((told.borrow().matching, told.borrow().version), (2, 2));
        assert!(searches.is_whole());
    }
}
