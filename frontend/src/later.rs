//! The functions that pieces of the page which come later may call (`style/public/later`). `style/public/later.js` passes
//! them on, and `style/later.d.ts` describes them for these pieces.
//!
//! They are few: what a piece asks of the server is a command of the protocol, and goes there as it is. So a new command
//! costs this module nothing.

use app::live::{AttachedPictures, LiveChat};
use domain::{
    Emoji, Picture, Problem, Seq, Timeline, Timestamp, User, UserId,
    frame::{ClientCommand, PictureAlt},
    page::About,
    timeline::RowContent,
};
use leptos::prelude::*;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use web_sys::js_sys::{Array, Function, Object, Reflect};

use crate::{json, socket};

/// Sends a command, which is not queued. `command` is the JSON of a `ClientCommand`. Calls `answered` once: with the
/// position of the command in the log, or with undefined and a sentence that says why it was not done.
#[wasm_bindgen]
pub fn ask(command: String, answered: Function) {
    let done = move |answer: Result<Seq, Problem>| {
        let (seq, sentence) = match answer {
            Ok(seq) => (number(seq), JsValue::UNDEFINED),
            Err(problem) => (JsValue::UNDEFINED, problem.to_string().into()),
        };
        let _ = answered.call2(&JsValue::UNDEFINED, &seq, &sentence);
    };
    socket::ask_json(command, Box::new(done));
}

/// Returns what a piece may know of the message at a position: `author`, `name`, `text` as it was typed, and what the reader
/// may do with it: `isOwn`, `canEdit`, `canRemove`. `None` if it is not loaded, or was removed.
#[wasm_bindgen]
pub fn message(seq: f64) -> Option<Object> {
    let chat = chat()?;
    let me = chat.live.me.with_untracked(|me| me.id);
    let (can_post, can_remove) = chat
        .chat
        .with_untracked(|chat| (chat.check_can_post(me).is_ok(), chat.owner == me && chat.guest.is_none()));
    chat.timeline.with_untracked(|timeline| {
        let said = timeline.event(seq_of(seq))?.kind.message()?;
        let is_own = said.author == me;
        Some(object(&[
            ("author", said.author.to_string().into()),
            ("name", said.nickname.to_string().into()),
            ("text", said.body.as_str().into()),
            ("isOwn", is_own.into()),
            ("canEdit", (is_own && can_post).into()),
            ("canRemove", (is_own || can_remove).into()),
        ]))
    })
}

/// Returns the command, as JSON, that brings an own message back once it is removed. The position of its removal has to be put
/// into it: it is 0. `None` if the message is not loaded, was removed or is another's.
#[wasm_bindgen]
pub fn undo(seq: f64) -> Option<String> {
    let chat = chat()?;
    let me = chat.live.me.with_untracked(|me| me.id);
    let message = seq_of(seq);
    let restore = chat.timeline.with_untracked(|timeline| {
        let said = timeline.event(message)?.kind.message().filter(|said| said.author == me)?;
        let alt = |picture: &Picture| PictureAlt { id: picture.id, alt: picture.alt.to_string() };
        Some(ClientCommand::RestoreMessage {
            chat: chat.chat_id(),
            message,
            removal: Seq::ZERO,
            body: said.body.to_string(),
            reply_to: said.reply_to,
            mentions: Some(said.mentions.clone()),
            pictures: said.pictures.iter().map(alt).collect(),
            is_action: said.is_action,
        })
    })?;
    json::text(&restore)
}

/// Returns the people who can be mentioned, each with `id`, `name` and `isHere`: the members, then the authors of loaded
/// messages, the latest first. Without the reader and the users they have hidden.
#[wasm_bindgen]
pub fn people() -> Array {
    let people = Array::new();
    let Some(chat) = chat() else { return people };
    let mut known: Vec<UserId> = chat.live.hidden.get_untracked();
    known.push(chat.live.me.with_untracked(|me| me.id));
    let mut add = |id: UserId, name: &str, is_here: bool| {
        if !known.contains(&id) {
            known.push(id);
            let is_here = is_here.into();
            people.push(&object(&[
                ("id", id.to_string().into()),
                ("name", name.into()),
                ("isHere", is_here),
            ]));
        }
    };
    chat.roster.with_untracked(|roster| {
        for member in &roster.members {
            add(member.id, member.nickname.as_str(), true);
        }
    });
    // As elsewhere, a pointer to a function: for another type, all of it would be there twice.
    let rows = chat.timeline.with_untracked(|timeline| timeline.rows((|_| 0) as fn(Timestamp) -> i32));
    for row in rows.iter().rev() {
        if let RowContent::Stored(event) = &row.content
            && let Some(message) = event.kind.message_or_tombstone()
        {
            add(message.author, message.nickname.as_str(), false);
        }
    }
    people
}

/// Remembers that `@` and this name, in the message being written, mean this user. Ignores what is no id.
#[wasm_bindgen]
pub fn mention(id: &str, name: &str) {
    if let (Some(chat), Ok(id)) = (chat(), id.parse::<UserId>()) {
        chat.mention(id, name);
    }
}

/// Records that the reader reacts to the message at a position with an emoji, or does so no more, as of the position `at` of
/// the command that said so. Ignores what is no emoji, and a message that is not loaded.
#[wasm_bindgen]
pub fn reacted(seq: f64, emoji: String, is_on: bool, at: f64) {
    if let (Some(chat), Ok(emoji)) = (chat(), Emoji::try_from(emoji)) {
        chat.set_reaction(seq_of(seq), emoji, is_on, seq_of(at));
    }
}

/// Takes the pictures that go with the message being written, in place of those before. `tickets` is the JSON of a list of
/// `PictureTicket`s. As long as others `are_coming`, the message is not sent. Ignores what is no such list.
#[wasm_bindgen]
pub fn attach(tickets: JsValue, are_coming: bool) {
    if let (Some(chat), Some(tickets)) = (chat(), json::parse(&tickets)) {
        chat.attached.set(AttachedPictures { tickets, are_coming });
    }
}

/// Opens the details of the message at a position, and of its author. Returns false if it is not loaded.
#[wasm_bindgen]
pub fn about(seq: f64) -> bool {
    let about = chat().and_then(|chat| {
        let message = seq_of(seq);
        chat.timeline.with_untracked(|timeline| {
            let said = timeline.event(message)?.kind.message_or_tombstone()?;
            let person = User { id: said.author, nickname: said.nickname.clone() };
            Some((chat, About { person, message: Some(message) }))
        })
    });
    let is_loaded = about.is_some();
    if let Some((chat, about)) = about {
        chat.about.set(Some(about));
    }
    is_loaded
}

/// Begins an answer to the message at a position. Returns false if it is not loaded, or was removed: then its link has to be
/// followed.
#[wasm_bindgen]
pub fn reply(seq: f64) -> bool {
    chat().is_some_and(|chat| chat.reply(seq_of(seq)))
}

/// Leads to the message at a position, wherever in the history it is. Returns false if it is not loaded and cannot be
/// requested: then its link has to be followed.
#[wasm_bindgen]
pub fn go_to(seq: f64) -> bool {
    chat().is_some_and(|chat| chat.go_to(seq_of(seq)))
}

/// Whether there are later messages that are not loaded.
#[wasm_bindgen]
pub fn has_later() -> bool {
    chat().is_some_and(|chat| chat.timeline.with_untracked(Timeline::has_later))
}

/// Leads to the first row of the day of a point in time, in milliseconds since 1970. Returns false if it is not loaded and cannot
/// be requested: then its link has to be followed.
#[wasm_bindgen]
pub fn go_to_day(at: f64) -> bool {
    chat().is_some_and(|chat| chat.go_to_day(Timestamp(at as u64)))
}

/// Says that something was not done since the server cannot be reached.
#[wasm_bindgen]
pub fn not_connected() {
    if let Some(page) = socket::page() {
        page.live().notice.set(Some(Problem::NotConnected));
    }
}

/// Returns the chat of the page. `None` on the home page, before the page is connected, and once this instance is stopped.
fn chat() -> Option<LiveChat> {
    socket::page()?.chat()
}

/// Returns the position that a piece means: it has it from a page, where it is an integer that JavaScript can express.
fn seq_of(number: f64) -> Seq {
    Seq(number as u64)
}

fn number(Seq(seq): Seq) -> JsValue {
    JsValue::from_f64(seq as f64)
}

fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        let _ = Reflect::set(&object, &(*name).into(), value);
    }
    object
}
