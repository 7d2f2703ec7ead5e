//! A page that was rendered once, with slots for what differs between visitors.

use app::view::{
    avatar::{hue_class, initials},
    site_counts::{chats, people},
};
use domain::{Counts, Nickname, Timestamp, User, UserId, id::ID_BYTES, page::Visit};
use engine::random::{self, NoRandomness};

use super::{RequestIds, as_data, compressed_template::CompressedTemplate};

/// What differs between visitors on a page that does not mention them.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// The values that are unique to a response.
    pub(super) ids: RequestIds,
    /// The reader and the time.
    pub(super) visit: Visit,
}

/// A kind of template slot: a value of the visitor that the page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// The data of the visit.
    Visit,
    /// The attributes with the colour and the letters of the visitor's avatar.
    Avatar,
    /// The visitor's nickname.
    Nickname,
    /// The visitor's id.
    Id,
    /// The number of users who are online.
    People,
    /// The number of chats.
    Chats,
    /// The nonce of the page's scripts.
    Nonce,
    /// The id of the message that a page without scripts may post.
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
    /// Returns the text of this slot for a visitor.
    fn text(self, Visitor { ids, visit }: &Visitor) -> String {
        let User { id, nickname } = &visit.me;
        match self {
            Self::Visit => as_data(visit),
            Self::Avatar => {
                let (letters, hue) = (initials(nickname), hue_class(*id));
                format!("data-letters=\"{letters}\" aria-hidden=\"true\" class=\"avatar {hue}\"")
            }
            Self::Nickname => nickname.to_string(),
            Self::Id => id.to_string(),
            Self::People => people(visit.counts.people),
            Self::Chats => chats(visit.counts.chats),
            Self::Nonce => ids.nonce.clone(),
            Self::ClientId => ids.client_id.map(|id| id.to_string()).unwrap_or_default(),
        }
    }

    /// Whether others on the page may have the same text, so that it has to occur exactly once to identify the slot.
    fn is_one(self) -> bool {
        matches!(self, Self::Visit | Self::Avatar)
    }
}

/// Returns a placeholder visitor, random so that it cannot be guessed, which shows where a page contains its visitor.
/// The time is that of `like`, and the letters of the nickname are the same in HTML and in JSON.
///
/// # Errors
/// [`NoRandomness`] if no random values can be drawn.
pub(super) fn placeholder(like: &Visit) -> Result<Visitor, NoRandomness> {
    let [one, other, third] = [random::bytes::<ID_BYTES>()?, random::bytes()?, random::bytes()?];
    let word = UserId::from_bytes(one).to_string();
    // the letters are two of 20,000 characters, since they have to differ from those of everyone on the page
    let letter = |bytes: [u8; 2]| char::from_u32(0x4e00 + u32::from(u16::from_be_bytes(bytes)) % 20_000);
    let [first, second] = [letter(random::bytes()?), letter(random::bytes()?)].map(Option::unwrap_or_default);
    let name = format!("{first}{} {second}{}", &word[..8], &word[8..]);
    // larger than any real count, so that no other number on the page is taken for it
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
    Ok(Visitor { ids: RequestIds { nonce: random::nonce()?, client_id: Some(random::client_id()?) }, visit })
}

/// Whether a nickname is written the same as text, as an attribute and as JSON.
pub(super) fn is_plain(nickname: &Nickname) -> bool {
    nickname.as_str().chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '.'))
}

/// A page with template slots.
#[derive(Debug)]
pub(super) struct Template {
    html: String,
    /// The offset of each slot in `html`, in ascending order.
    slots: Vec<(usize, Slot)>,
}

impl Template {
    /// Creates the template of a page that was rendered for [`placeholder`]. Returns `None` if a slot cannot be located.
    pub(super) fn of(rendered: &str, placeholder: &Visitor) -> Option<Self> {
        let mut found = Vec::new();
        for slot in SLOTS {
            let text = slot.text(placeholder);
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
            // a slot within another is filled together with it
            if start >= done {
                template.html.push_str(&rendered[done..start]);
                template.slots.push((template.html.len(), slot));
                done = end;
            }
        }
        template.html.push_str(&rendered[done..]);
        Some(template)
    }

    /// Compresses the parts between the slots. Returns `None` if that fails.
    pub(super) fn compress(&self) -> Option<CompressedTemplate> {
        let begins = [0].into_iter().chain(self.slots.iter().map(|(place, _)| *place));
        let ends = self.slots.iter().map(|(place, _)| *place).chain([self.html.len()]);
        CompressedTemplate::of(begins.zip(ends).map(|(begin, end)| &self.html[begin..end]))
    }

    /// Returns the page for a visitor as a gzip file.
    pub(super) fn fill_compressed(&self, compressed: &CompressedTemplate, visitor: &Visitor) -> Vec<u8> {
        let texts = SLOTS.map(|slot| slot.text(visitor));
        compressed.fill(self.slots.iter().map(|(_, slot)| {
            let text = SLOTS.iter().zip(&texts).find(|(known, _)| *known == slot).map(|(_, text)| &**text);
            text.unwrap_or_default()
        }))
    }

    /// Returns the page for a visitor.
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

    /// Returns the approximate size of the template, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.html.len()
    }
}

/// Returns the day of a time in UTC: server-rendered pages show times relative to it.
pub(super) fn day(at: Timestamp) -> u64 {
    at.0 / (24 * 60 * 60 * 1_000)
}
