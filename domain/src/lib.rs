//! The domain of Qchat: its vocabulary, its rules, and what one reader sees.
//!
//! Everything here is pure: no clock, no randomness, no I/O, no framework. Time and ids are arguments, so the same log
//! always gives the same state. The server runs [`decide`](fn@decide) to turn a [`Command`] into [`Change`]s; the
//! browser folds the resulting [`Event`]s into a [`Timeline`]. Both exchange [`frame`]s and fail with a [`Problem`].

#![forbid(unsafe_code)]

pub mod backoff;
pub mod chat;
pub mod command;
pub mod decide;
pub mod draft;
pub mod event;
pub mod frame;
pub mod id;
pub mod invite;
pub mod lifetime;
pub mod link;
pub mod lobby;
pub mod log_clock;
pub mod log_settings;
pub mod marks;
pub mod message;
#[cfg(any(test, feature = "model"))]
pub mod model;
pub mod page;
pub mod picture;
pub mod place;
pub mod problem;
pub mod reaction;
pub mod roster;
pub mod search;
pub mod slash;
pub mod tally;
pub mod text;
pub mod time;
pub mod timeline;
pub mod unicode;
pub mod user;

pub use chat::{Chat, Visibility};
pub use command::{Command, Entry, Proposal, Restored};
pub use decide::{Decision, StateReader, Tracked, decide};
pub use draft::Draft;
pub use event::{Change, Event, EventKind};
pub use id::{ChatId, ClientId, Epoch, PictureId, Seq, UserId};
pub use invite::{Answer, Invite};
pub use lifetime::{Expiry, Lifetimes, NOTES_IN_A_LIFETIME, Span};
pub use lobby::{Counts, Listing, Lobby};
pub use log_clock::{LogClock, SenderClock};
pub use log_settings::{LogSettings, Rules};
pub use marks::{Mark, MarkKind, Marks};
pub use message::{Message, MessageContent, MessageRef, PlainMessage, Quote, RemovedBy, Tombstone, Wording};
pub use picture::{Attached, Picture, PictureRecord};
pub use problem::Problem;
pub use reaction::{Count, Emoji, Reaction, Tally};
pub use roster::{Member, Roster};
pub use tally::{EmojiCount, MessageTally};
pub use text::{Alt, Body, Line, Nickname, Title};
pub use time::Timestamp;
pub use timeline::Timeline;
pub use user::User;
