//! A page that was rendered once, with holes in it for what differs from one visitor to the next.

use app::view::{
    avatar::{hue_class, letters},
    counts::{chats, people},
};
use domain::{Counts, Nickname, Timestamp, User, UserId, id::ID_BYTES, page::Visit};
use engine::random::{self, NoRandomness};

use super::{RequestIds, as_data, packed::Packed};

/// What differs from one visitor to the next on a page that does not mention them.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// What differs from one answer to the next.
    pub(super) once: RequestIds,
    /// Who looks, and when.
    pub(super) visit: Visit,
}

/// A place where something of the visitor is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// The data of the visit.
    Visit,
    /// The colour and the letters of the visitor.
    Avatar,
    Nickname,
    Id,
    People,
    Chats,
    Nonce,
    ClientId,
}

const SLOTS: [Slot; 8] = [
    Slot::Visit,
    Slot::Avatar,
    Slot::Nickname,
    Slot::Id,
    Slot::People,
    Slot::Chats,
    Slot::Nonce,
    Slot::ClientId,
];

impl Slot {
    /// What stands there for a visitor.
    fn text(self, Visitor { once, visit }: &Visitor) -> String {
        let User { id, nickname } = &visit.me;
        match self {
            Self::Visit => as_data(visit),
            Self::Avatar => {
                let (letters, hue) = (letters(nickname), hue_class(*id));
                format!("data-letters=\"{letters}\" aria-hidden=\"true\" class=\"avatar {hue}\"")
            }
            Self::Nickname => nickname.to_string(),
            Self::Id => id.to_string(),
            Self::People => people(visit.counts.people),
            Self::Chats => chats(visit.counts.chats),
            Self::Nonce => once.nonce.clone(),
            Self::ClientId => once.client_id.map(|id| id.to_string()).unwrap_or_default(),
        }
    }

    /// Whether others may have the same text, so that it is only known for a hole where there is one of it.
    fn is_one(self) -> bool {
        matches!(self, Self::Visit | Self::Avatar)
    }
}

/// Somebody whom nobody knows and nobody can guess, to see where a page shows its visitor. The time is what it is, and the
/// letters of the nickname are the same in HTML and in data.
///
/// # Errors
/// [`NoRandomness`].
pub(super) fn nobody(like: &Visit) -> Result<Visitor, NoRandomness> {
    let [one, other, third] = [random::bytes::<ID_BYTES>()?, random::bytes()?, random::bytes()?];
    let word = UserId::from_bytes(one).to_string();
    // their letters are two of 20,000 characters, since they have to differ from those of everybody on the page
    let letter = |bytes: [u8; 2]| char::from_u32(0x4e00 + u32::from(u16::from_be_bytes(bytes)) % 20_000);
    let [first, second] = [letter(random::bytes()?), letter(random::bytes()?)].map(Option::unwrap_or_default);
    let name = format!("{first}{} {second}{}", &word[..8], &word[8..]);
    // more than there will ever be, so that nobody reads them as anything else
    let number = |bytes: [u8; ID_BYTES]| {
        bytes.iter().take(6).fold(1_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let visit = Visit {
        me: User {
            id: UserId::from_bytes(other),
            nickname: Nickname::parse(&name).unwrap_or_else(|_| Nickname::friendly(0)),
        },
        counts: Counts { people: number(one), chats: number(third) },
        ..like.clone()
    };
    Ok(Visitor { once: RequestIds { nonce: random::nonce()?, client_id: Some(random::client_id()?) }, visit })
}

/// Whether somebody's nickname is written the same everywhere: as text, in quotes and as data.
pub(super) fn is_plain(nickname: &Nickname) -> bool {
    nickname.as_str().chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '.'))
}

/// A page with holes.
#[derive(Debug)]
pub(super) struct Template {
    html: String,
    /// Where each is, in their order.
    slots: Vec<(usize, Slot)>,
}

impl Template {
    /// Of a page as it was rendered for [`nobody`]. Nothing where it cannot be told where they are to be seen.
    pub(super) fn of(rendered: &str, nobody: &Visitor) -> Option<Self> {
        let mut found = Vec::new();
        for slot in SLOTS {
            let text = slot.text(nobody);
            let places: Vec<_> = rendered.match_indices(&*text).map(|(place, _)| place).collect();
            if text.is_empty() || (slot.is_one() && places.len() != 1) {
                return None;
            }
            found.extend(places.into_iter().map(|start| (start, start + text.len(), slot)));
        }
        found.sort_by_key(|(start, ..)| *start);
        let mut template = Self { html: String::with_capacity(rendered.len()), slots: Vec::new() };
        let mut done = 0;
        for (start, end, slot) in found {
            // what lies within another hole is filled with that
            if start >= done {
                template.html.push_str(&rendered[done..start]);
                template.slots.push((template.html.len(), slot));
                done = end;
            }
        }
        template.html.push_str(&rendered[done..]);
        Some(template)
    }

    /// The page without what is in its holes, compressed.
    pub(super) fn pack(&self) -> Option<Packed> {
        let begins = [0].into_iter().chain(self.slots.iter().map(|(place, _)| *place));
        let ends = self.slots.iter().map(|(place, _)| *place).chain([self.html.len()]);
        Packed::of(begins.zip(ends).map(|(begin, end)| &self.html[begin..end]))
    }

    /// The page for a visitor as a gzip file.
    pub(super) fn fill_packed(&self, packed: &Packed, visitor: &Visitor) -> Vec<u8> {
        let texts = SLOTS.map(|slot| slot.text(visitor));
        packed.fill(self.slots.iter().map(|(_, slot)| {
            let text = SLOTS.iter().zip(&texts).find(|(known, _)| *known == slot).map(|(_, text)| &**text);
            text.unwrap_or_default()
        }))
    }

    /// The page for a visitor.
    pub(super) fn fill(&self, visitor: &Visitor) -> String {
        let texts = SLOTS.map(|slot| slot.text(visitor));
        let longest = texts.iter().map(String::len).max().unwrap_or_default();
        let mut page = String::with_capacity(self.html.len() + self.slots.len() * longest);
        let mut done = 0;
        for (place, slot) in &self.slots {
            page.push_str(&self.html[done..*place]);
            if let Some((_, text)) = SLOTS.iter().zip(&texts).find(|(known, _)| *known == slot) {
                page.push_str(text);
            }
            done = *place;
        }
        page.push_str(&self.html[done..]);
        page
    }

    /// How many bytes it takes, give or take.
    pub(super) fn bytes(&self) -> usize {
        self.html.len()
    }
}

/// The day of a time, in UTC, which is what a page that is rendered says of it.
pub(super) fn day(at: Timestamp) -> u64 {
    at.0 / (24 * 60 * 60 * 1_000)
}
