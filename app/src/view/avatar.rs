//! A colour and a letter or two for each person, the same everywhere.

use domain::{Nickname, UserId};
use leptos::prelude::*;

/// Hues of the palette in `style/person.css`.
const HUES: u8 = 16;

/// The class that gives a person their colour: it follows from their id alone.
pub fn hue_class(id: UserId) -> String {
    let sum = id.bytes().iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    format!("hue-{}", sum % HUES)
}

/// The first letter of the first two words.
pub fn letters(nickname: &Nickname) -> String {
    nickname.as_str().split(' ').take(2).filter_map(domain::unicode::first_character).collect()
}

/// A person as a coloured disc. The name always stands beside it, so assistive technology passes over it, and its letters
/// are no text that could be copied.
#[component]
pub fn Avatar(
    /// Who.
    id: UserId,
    /// What they are called.
    nickname: Nickname,
) -> impl IntoView {
    view! {
        <span class=format!("avatar {}", hue_class(id)) data-letters=letters(&nickname) aria-hidden="true"></span>
    }
}
