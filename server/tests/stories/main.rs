//! The server as its users experience it: over real sockets and real forms, on a real database.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

mod attack;
mod backup;
mod bad_input;
mod bot;
mod clocks;
mod cluster;
mod cluster_faults;
mod cluster_lifetimes;
mod cluster_pictures;
mod cluster_trouble;
mod correcting;
mod crash;
mod damage;
mod ending;
mod finding;
mod forms;
mod invites;
mod jitter;
mod later;
mod lifetimes;
mod limits;
mod live;
mod lobby;
mod log_life;
mod moderation;
mod monitoring;
mod node;
mod operator;
mod pages;
mod pictures;
mod places;
mod polling;
mod power_cut;
mod presence;
mod reacting;
mod rooms;
mod security;
mod slow;
mod soak;
mod starting;
mod storm;
mod support;
mod talk;
