//! The table of emoji that browsers load (`style/public/emoji.txt`) is what the crate `emojis` knows, by which the server
//! decides what an emoji is. After an update of the crate, `cargo test -p engine --test emoji_table -- --ignored` writes it
//! anew.
//!
//! Each line is an emoji, in the order of Unicode, with up to three fields after it, separated by tabs: its name; its short
//! codes, separated by blanks, or nothing if its only one is the name with underscores; and a star if it comes in skin tones,
//! followed by its version if that is so new that devices may not show it. A line that begins with `#` and a tab begins a group.

use std::{fs, path::PathBuf};

use emojis::{Emoji, Group, SkinTone};

/// The first version of emoji that devices in use may not show.
const NEW_VERSION: u32 = 15;

const TONES: [(SkinTone, &str); 5] = [
    (SkinTone::Light, "\u{1f3fb}"),
    (SkinTone::MediumLight, "\u{1f3fc}"),
    (SkinTone::Medium, "\u{1f3fd}"),
    (SkinTone::MediumDark, "\u{1f3fe}"),
    (SkinTone::Dark, "\u{1f3ff}"),
];

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../style/public/emoji.txt")
}

fn name_of(group: Group) -> &'static str {
    match group {
        Group::SmileysAndEmotion => "Smileys and emotion",
        Group::PeopleAndBody => "People and body",
        Group::AnimalsAndNature => "Animals and nature",
        Group::FoodAndDrink => "Food and drink",
        Group::TravelAndPlaces => "Travel and places",
        Group::Activities => "Activities",
        Group::Objects => "Objects",
        Group::Symbols => "Symbols",
        Group::Flags => "Flags",
    }
}

fn line_of(emoji: &Emoji) -> String {
    let mut codes = emoji.shortcodes().collect::<Vec<_>>().join(" ");
    if codes == emoji.name().replace(' ', "_") {
        codes.clear();
    }
    let mut notes = if emoji.skin_tone().is_some() { "*".to_owned() } else { String::new() };
    let version = emoji.emoji_version().major();
    if version >= NEW_VERSION {
        notes.push_str(&version.to_string());
    }
    [emoji.as_str(), emoji.name(), &codes, &notes].join("\t").trim_end_matches('\t').to_owned()
}

fn table() -> String {
    let lines = Group::iter().flat_map(|group| {
        let heading = format!("#\t{}", name_of(group));
        std::iter::once(heading).chain(group.emojis().map(line_of))
    });
    lines.map(|line| line + "\n").collect()
}

/// Returns the emoji in a skin tone, as `emoji.js` makes it: the tone follows the first character, in place of its variation
/// selector, or each of two people.
fn toned(emoji: &str, tone: &str) -> String {
    let is_person = |c: char| matches!(c, '\u{1f468}' | '\u{1f469}' | '\u{1f9d1}');
    if emoji.chars().filter(|c| is_person(*c)).count() == 2 {
        return emoji
            .chars()
            .map(|c| if is_person(c) { format!("{c}{tone}") } else { c.to_string() })
            .collect();
    }
    let mut rest = emoji.chars();
    let first = rest.next().map(String::from).unwrap_or_default();
    let rest = rest.as_str();
    format!("{first}{tone}{}", rest.strip_prefix('\u{fe0f}').unwrap_or(rest))
}

#[test]
fn browsers_load_the_emoji_that_the_server_knows() {
    let file = fs::read_to_string(path()).unwrap();
    let expected = table();
    let differs = file.lines().zip(expected.lines()).find(|(have, want)| have != want);
    let to_do = "`cargo test -p engine --test emoji_table -- --ignored` writes the file anew";
    assert!(differs.is_none() && file == expected, "{differs:?}: {to_do}");
}

#[test]
fn skin_tones_are_where_browsers_put_them() {
    for emoji in emojis::iter().filter(|emoji| emoji.skin_tone().is_some()) {
        for (tone, modifier) in TONES {
            let made = toned(emoji.as_str(), modifier);
            let known = emoji.with_skin_tone(tone).map(Emoji::as_str);
            assert_eq!(Some(made.as_str()), known, "{} in {tone:?}", emoji.name());
        }
    }
}

#[test]
#[ignore = "writes the table anew"]
fn write_the_table() {
    fs::write(path(), table()).unwrap();
}
