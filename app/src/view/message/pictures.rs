//! The pictures of a message. Each keeps its place before it is loaded, and leads to the large one.

use domain::{ChatId, Picture, Seq, timeline::Delivery};
use leptos::prelude::*;

use super::line::{ShownMessage, ShownPictures};
use crate::view::reactive_view::static_text;

/// The height of the highest picture in a list, in pixels.
const HIGHEST: u16 = 360;

/// Shows the pictures of a message in a chat.
pub(super) fn pictures_view(chat: ChatId, message: &ShownMessage<'_>) -> Option<AnyView> {
    match (&message.pictures, message.delivery) {
        (ShownPictures::Stored([]) | ShownPictures::Waiting(0), _) => None,
        (ShownPictures::Waiting(1), _) => Some(waiting("1 picture".to_owned())),
        (ShownPictures::Waiting(count), _) => Some(waiting(format!("{count} pictures"))),
        (ShownPictures::Stored(pictures), Delivery::Stored(place)) => {
            let name = message.nickname.map(ToString::to_string).unwrap_or_default();
            let are_several = pictures.len() > 1;
            let each = pictures.iter().map(|picture| picture_view(chat, place, picture, &name));
            Some(
                view! {
                    <div class="pictures" class:several=are_several>
                        {each.collect_view()}
                    </div>
                }
                .into_any(),
            )
        }
        (ShownPictures::Stored(_), Delivery::Waits(_)) => None,
    }
}

fn waiting(count: String) -> AnyView {
    view! { <p class="pictures soft">{static_text(count)}</p> }.into_any()
}

/// Returns the address of the large version of a picture. That of the small one follows it.
fn picture_address(chat: ChatId, message: Seq, picture: &Picture) -> String {
    format!("/picture/{chat}/{message}/{}", picture.id)
}

/// Returns the size at which a picture is shown, in pixels: that of its small version, unless that is higher than the list
/// has room for.
fn shown_size((width, height): (u16, u16)) -> (u16, u16) {
    if height <= HIGHEST {
        return (width, height);
    }
    let scaled = u32::from(width) * u32::from(HIGHEST) / u32::from(height);
    (u16::try_from(scaled).unwrap_or(width).max(1), HIGHEST)
}

/// Without a script the link leads to the picture alone. With one, a piece that comes later shows it.
fn picture_view(chat: ChatId, message: Seq, picture: &Picture, name: &str) -> AnyView {
    let address = picture_address(chat, message, picture);
    let (width, height) = shown_size(picture.small);
    let alt = if picture.alt.as_str().is_empty() {
        format!("Picture from {name}")
    } else {
        picture.alt.to_string()
    };
    view! {
        <a class="picture" href=address.clone() target="_blank" data-later="viewer">
            <img
                src=format!("{address}/small")
                width=width.to_string()
                height=height.to_string()
                alt=alt
                loading="lazy"
                decoding="async"
            />
        </a>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_high_picture_is_shown_smaller_and_keeps_its_proportions() {
        for (small, shown) in
            [((480, 360), (480, 360)), ((360, 480), (270, 360)), ((1, 480), (1, 360)), ((9, 5), (9, 5))]
        {
            assert_eq!(shown_size(small), shown);
        }
    }
}
