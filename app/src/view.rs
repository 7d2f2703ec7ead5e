//! The views: one file for each thing that is seen.

pub mod about;
pub mod anchor;
pub mod avatar;
pub mod composer;
pub mod connection;
pub mod counts;
pub mod edit_in_place;
pub mod ended;
pub mod focus;
pub mod follow;
pub mod header;
pub mod hold;
pub mod icon;
pub mod invites;
pub mod list;
pub mod lobby;
pub mod members;
pub mod message;
pub mod problem_line;
pub mod start_form;
pub mod switch;
pub mod terms;
pub mod timeline;
pub mod wordmark;
