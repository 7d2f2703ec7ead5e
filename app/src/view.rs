//! The views, one file for each part of a page.

pub mod about_dialog;
pub mod avatar;
pub mod chat_header;
pub mod composer;
pub mod connection_status;
#[cfg(feature = "ssr")]
pub mod edit_form;
pub mod edit_in_place;
pub mod ended_notice;
pub mod file_rejection;
pub mod focus;
pub mod icon;
pub mod ime;
pub mod invites;
pub mod list;
pub mod list_item;
pub mod list_pause;
pub mod lobby;
pub mod members;
pub mod message;
pub mod message_body;
pub mod node;
pub mod problem_line;
#[cfg(feature = "ssr")]
pub mod react_form;
pub mod reactive_view;
pub mod retention_notice;
mod row_link;
pub mod scroll_anchor;
pub mod setting_switch;
pub mod site_counts;
mod space_key;
pub mod start_form;
pub mod timeline;
pub mod wordmark;
