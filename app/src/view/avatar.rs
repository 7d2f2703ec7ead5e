//! A colour and one or two letters for each user, the same everywhere.

use domain::{Nickname, UserId};
use leptos::prelude::*;

/// The number of hues in the palette of `style/person.css`.
const HUES: u8 = 16;

/// Returns the class for the colour of a user. It depends on the id only.
pub fn hue_class(id: UserId) -> String {
    let sum = id.bytes().iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    format!("hue-{}", sum % HUES)
}

/// Returns the first letters of the first two words of a nickname.
pub fn initials(nickname: &Nickname) -> String {
    nickname.as_str().split(' ').take(2).filter_map(domain::unicode::first_character).collect()
}

/// A user as a coloured disc. The name is always next to it, so it is hidden from assistive technology, and its letters
/// are not text that could be selected.
#[component]
pub fn Avatar(
    /// The user.
    id: UserId,
    /// The current nickname.
    nickname: Nickname,
) -> impl IntoView {
    view! { <span class=format!("avatar {}", hue_class(id)) data-letters=initials(&nickname) aria-hidden="true"></span> }
}
