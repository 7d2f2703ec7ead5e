//! Shares of a list: of what each has in it so many are shown, the first.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use domain::lobby::Place;

/// The places that each has, of which so many are shown.
pub(super) struct Shares<Key> {
    limit: usize,
    places: HashMap<Key, BTreeSet<Place>>,
}

/// What becomes of the list when a place is taken away.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Freed {
    /// Whether the place was shown.
    pub(super) was_shown: bool,
    /// Another one of the same, which is shown from now on.
    pub(super) shown_now: Option<Place>,
}

impl<Key: Hash + Eq> Shares<Key> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, places: HashMap::new() }
    }

    /// Adds a place. Gives the one that is not shown for it, where the share is used up: the last of those that were, or
    /// the new one itself.
    pub(super) fn add(&mut self, key: Key, place: Place) -> Option<Place> {
        let places = self.places.entry(key).or_default();
        places.insert(place);
        first_beyond(places, self.limit).map(|beyond| place.max(beyond))
    }

    /// Takes a place away, if it is there.
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

/// The first place that is not shown. Looking for it costs as much as the limit is high, and nothing below it.
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

    /// Whatever comes and goes, those that are shown are the first of each.
    #[test]
    fn the_first_of_each_are_shown() {
        let (mut shares, mut shown, mut all) = (Shares::new(2), BTreeSet::new(), BTreeSet::new());
        let steps = [5, 3, 4, 1, 2, 3, 9, 1, 5, 8, 4, 2, 9, 8, 8];
        for number in steps {
            let place = place(number);
            if all.insert(place) {
                shown.insert(place);
                if let Some(beyond) = shares.add("ana", place) {
                    shown.remove(&beyond);
                }
            } else {
                all.remove(&place);
                let Freed { was_shown, shown_now } = shares.remove(&"ana", &place);
                assert_eq!(shown.remove(&place), was_shown);
                shown.extend(shown_now);
            }
            assert!(shown.iter().eq(all.iter().take(2)), "{number}: {shown:?} of {all:?}");
        }
        assert_eq!(shares.add("bea", place(7)), None, "others have their own");
        let nothing = Freed { was_shown: false, shown_now: None };
        assert_eq!(shares.remove(&"cy", &place(7)), nothing);
    }
}
