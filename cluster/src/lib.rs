//! Many nodes of Qchat with one log: NATS JetStream behind the interfaces of the engine.
//!
//! The log is a stream ([`stream`]), which a node founds or [joins](join). It publishes what its users ask for
//! ([`transport`]), reads everything in the order of the stream ([`reader`]), and loads a [snapshot](snapshots) where the
//! stream does not reach back far enough. Where the stream is gone, an operator has the log [recovered](recovery) from a node. One of the nodes makes the snapshots ([`snapshots::maker`]). What is not part of the
//! log, such as who is online, goes from node to node at once ([`ephemeral`]). The keys of the sessions are shared as well
//! ([`keys`]), and so are pictures ([`pictures`]).
//!
//! What the messages mean is none of this crate's business: that is the replicated log of the engine, which knows nothing of
//! NATS. Whatever goes wrong is a [`Trouble`], a sentence for the operator, and goes on by itself when its cause is gone.

#![forbid(unsafe_code)]

mod bucket;
pub mod connection;
pub mod ephemeral;
pub mod join;
pub mod keys;
pub mod pictures;
pub mod reader;
pub mod recovery;
pub mod settings;
pub mod snapshots;
pub mod stream;
pub mod transport;
mod trouble;

pub use connection::Connection;
pub use settings::NatsSettings;
pub use trouble::{Foreign, Trouble};
