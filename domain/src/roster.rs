//! The members of a chat: a conflated state with a version, not part of the log.

use serde::{Deserialize, Serialize};

use crate::{Nickname, User, UserId, unicode};

/// A user who is in a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The user's id.
    pub id: UserId,
    /// The current nickname.
    pub nickname: Nickname,
    /// Whether the user is typing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub typing: bool,
}

impl From<User> for Member {
    fn from(User { id, nickname }: User) -> Self {
        Self { id, nickname, typing: false }
    }
}

/// The maximum number of members that a roster names, the latest arrivals. The others are only counted.
pub const ROSTER_LIMIT: usize = 200;

/// The members of a chat at some version, as sent to one reader.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Roster {
    /// Increases with every change. Only comparable within one connection.
    pub version: u64,
    /// The number of members, including those not named.
    pub count: usize,
    /// The named members, ordered by id. [`Roster::for_reader`] gives the order for display.
    pub members: Vec<Member>,
}

/// The difference between a version of a roster and a later one; versions between are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterChange {
    /// The version it leads to.
    pub version: u64,
    /// The number of members in that version.
    pub count: usize,
    /// Members who joined, changed their nickname, or started or stopped typing.
    pub present: Vec<Member>,
    /// Members who left, or are no longer named.
    pub gone: Vec<UserId>,
}

impl Roster {
    /// Creates a roster from members in any order, of `count` in all.
    pub fn new(version: u64, count: usize, mut members: Vec<Member>) -> Self {
        members.sort_by_key(|member| member.id);
        members.dedup_by_key(|member| member.id);
        Self { version, count, members }
    }

    /// Adds a reader who is counted but not named.
    pub fn name(&mut self, reader: &User) {
        if self.members.iter().all(|member| member.id != reader.id) {
            self.put(reader.clone().into());
        }
    }

    /// Applies a change. A change to a version already reached has no effect.
    pub fn apply(&mut self, change: RosterChange) {
        if change.version <= self.version {
            return;
        }
        self.version = change.version;
        self.count = change.count;
        self.members.retain(|member| !change.gone.contains(&member.id));
        for member in change.present {
            self.put(member);
        }
    }

    fn put(&mut self, new: Member) {
        match self.members.binary_search_by_key(&new.id, |member| member.id) {
            Ok(place) => self.members[place] = new,
            Err(place) => self.members.insert(place, new),
        }
    }

    /// Returns the members in the order for display: the reader first, even if not named, then the owner, then by name.
    pub fn for_reader(&self, me: &User, owner: UserId) -> Vec<Member> {
        let mut members = self.members.clone();
        if self.count > members.len() && members.iter().all(|member| member.id != me.id) {
            members.push(me.clone().into());
        }
        let place = |member: &Member| {
            (member.id != me.id, member.id != owner, unicode::lower(member.nickname.as_str()), member.id)
        };
        // A page names few members, and a sort would add its code to what the browser downloads.
        let mut placed = Vec::with_capacity(members.len());
        for member in members {
            let new = (place(&member), member);
            let after = placed.partition_point(|(place, _)| *place < new.0);
            placed.insert(after, new);
        }
        placed.into_iter().map(|(_, member)| member).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{Nickname, id::ID_BYTES};

    fn user(number: u8, name: &str) -> Member {
        Member {
            typing: number == 1,
            id: UserId::from_bytes([number; ID_BYTES]),
            nickname: Nickname::parse(name).unwrap(),
        }
    }

    #[test]
    fn the_reader_comes_first_then_the_owner_then_the_names() {
        let roster = Roster::new(1, 4, vec![user(1, "bea"), user(2, "Zoe"), user(3, "Ana"), user(4, "Yan")]);
        let names: Vec<_> = roster
            .for_reader(&User { id: user(4, "x").id, nickname: user(4, "x").nickname }, user(2, "x").id)
            .into_iter()
            .map(|member| member.nickname.to_string())
            .collect();
        assert_eq!(names, ["Yan", "Zoe", "Ana", "bea"]);
    }

    #[test]
    fn a_change_brings_and_takes() {
        let mut roster = Roster::new(3, 2, vec![user(1, "Ana"), user(2, "Bea")]);
        roster.apply(RosterChange {
            version: 5,
            count: 2,
            present: vec![user(3, "Cy"), user(1, "Anna")],
            gone: vec![user(2, "x").id],
        });
        assert_eq!(roster, Roster::new(5, 2, vec![user(1, "Anna"), user(3, "Cy")]));
    }

    proptest! {
        #[test]
        fn a_repeated_change_changes_nothing(steps in vec((0_u8..6, any::<bool>()), 0..40), repeats in vec(0_usize..40, 0..40)) {
            let changes: Vec<_> = steps
                .iter()
                .zip(1..)
                .map(|((number, comes), version)| {
                    let one = user(*number, "Ana");
                    let (present, gone) = if *comes { (vec![one], vec![]) } else { (vec![], vec![one.id]) };
                    RosterChange { version, count: 1, present, gone }
                })
                .collect();
            let mut once = Roster::default();
            let mut often = Roster::default();
            for (step, change) in changes.iter().enumerate() {
                once.apply(change.clone());
                often.apply(change.clone());
                for repeat in repeats.iter().filter(|repeat| **repeat <= step) {
                    often.apply(changes[*repeat].clone());
                }
            }
            prop_assert_eq!(once, often);
        }
    }
}
