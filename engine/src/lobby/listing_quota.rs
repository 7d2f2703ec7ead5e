//! The quota of listed chats: of the chats of one owner, or of one network, only the first few are listed.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use domain::lobby::Place;

/// The places in the list of the chats of each key, such as an owner, of which the first `limit` are shown.
pub(super) struct ListingQuota<Key> {
    limit: usize,
    places: HashMap<Key, BTreeSet<Place>>,
}

/// How the list changes when a place is removed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Freed {
    /// Whether the place was shown.
    pub(super) was_shown: bool,
    /// Another place of the same key, which is shown from now on.
    pub(super) shown_now: Option<Place>,
}

impl<Key: Hash + Eq> ListingQuota<Key> {
    /// Creates a quota that shows `limit` places of each key.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, places: HashMap::new() }
    }

    /// Adds a place. Returns the place that is not shown because of it if the quota is used up: the last of those shown
    /// so far, or the new one itself.
    pub(super) fn add(&mut self, key: Key, place: Place) -> Option<Place> {
        let places = self.places.entry(key).or_default();
        places.insert(place);
        first_beyond(places, self.limit).map(|beyond| place.max(beyond))
    }

    /// Removes a place, if it is there.
    pub(super) fn remove(&mut self, key: &Key, place: &Place) -> Freed {
        let mut freed = Freed { was_shown: false, shown_now: None };
        let Some(places) = self.places.get_mut(key) else { return freed };
        let beyond = first_beyond(places, self.limit);
        if places.remove(place) {
            freed.was_shown = beyond.is_none_or(|beyond| *place < beyond);
            freed.shown_now = beyond.filter(|_| freed.was_shown);
        }
        if places.is_empty() {
            self.places.remove(key);
        }
        freed
    }
}

/// Returns the first place that is not shown. Takes time proportional to the limit, or none if the quota is not
/// exceeded.
fn first_beyond(places: &BTreeSet<Place>, limit: usize) -> Option<Place> {
    if places.len() > limit { places.iter().nth(limit).copied() } else { None }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use domain::{ChatId, Timestamp, id::ID_BYTES};

    use super::*;

    fn place(number: u8) -> Place {
        (false, Reverse(Timestamp(0)), ChatId::from_bytes([number; ID_BYTES]))
    }

    /// However places are added and removed, the first places of each key are shown.
    #[test]
    fn the_first_of_each_are_shown() {
        let (mut quota, mut shown, mut all) = (ListingQuota::new(2), BTreeSet::new(), BTreeSet::new());
        let steps = [5, 3, 4, 1, 2, 3, 9, 1, 5, 8, 4, 2, 9, 8, 8];
        for number in steps {
            let place = place(number);
            if all.insert(place) {
                shown.insert(place);
                if let Some(beyond) = quota.add("ana", place) {
                    shown.remove(&beyond);
                }
            } else {
                all.remove(&place);
                let Freed { was_shown, shown_now } = quota.remove(&"ana", &place);
                assert_eq!(shown.remove(&place), was_shown);
                shown.extend(shown_now);
            }
            assert!(shown.iter().eq(all.iter().take(2)), "{number}: {shown:?} of {all:?}");
        }
        assert_eq!(quota.add("bea", place(7)), None, "others have their own");
        let nothing = Freed { was_shown: false, shown_now: None };
        assert_eq!(quota.remove(&"cy", &place(7)), nothing);
    }
}
