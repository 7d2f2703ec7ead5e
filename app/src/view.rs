//! The views: one file for each thing that is seen.

pub mod avatar;
pub mod composer;
pub mod connection;
pub mod edit_in_place;
pub mod header;
pub mod icon;
pub mod members;
pub mod message;
pub mod start_form;
pub mod timeline;
pub mod wordmark;
