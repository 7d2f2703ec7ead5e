//! What keeps a node from working with NATS, each in a sentence for the operator that says what to do.

use std::fmt::Display;

use async_nats::jetstream::{
    self, ErrorCode,
    context::{PublishError, PublishErrorKind, RequestError, RequestErrorKind},
};
use domain::Rules;
use engine::command_log::{status::LogStatus, transport::NotPublished};

/// What keeps a node from working with NATS. Its `Display` form is a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no connection.
    #[error("NATS at {servers} cannot be reached: {reason}")]
    NotConnected {
        /// The servers that were named.
        servers: String,
        /// Why, as far as it is known.
        reason: &'static str,
    },
    /// The login is refused.
    #[error(
        "NATS refuses the login: look at the user and password, the token or the credentials file of this node"
    )]
    LoginRefused,
    /// The login is valid, and something is not allowed to it.
    #[error("NATS does not allow something that Qchat needs: {0}")]
    NotAllowed(String),
    /// There is a connection, and no answer.
    #[error("the NATS servers do not answer: two of three have to run for the log to go on")]
    NoAnswer,
    /// The stream has no leader, as far as the server knows that this node is connected to.
    #[error(
        "the NATS servers have no leader for the log: two of three have to run, and to reach each other, for it to go on"
    )]
    NoLeader,
    /// No server that can be reached has JetStream.
    #[error(
        "the NATS servers run without JetStream, or without it for this account: start them with a `jetstream` block"
    )]
    NoJetStream,
    /// The server is too old.
    #[error("the NATS server has version {0}, and 2.10 or newer is needed")]
    OldServer(String),
    /// The server takes no message of the size that is needed.
    #[error("NATS takes messages of up to {allowed} bytes, and {needed} are needed: raise its `max_payload`")]
    SmallPayload {
        /// What the server takes.
        allowed: usize,
        /// What is needed.
        needed: usize,
    },
    /// There are too few servers for the replicas.
    #[error(
        "{replicas} replicas need {replicas} NATS servers with JetStream and free disk space: start them, or use --nats-replicas 1 with a single one"
    )]
    TooFewServers {
        /// The replicas that are wanted.
        replicas: usize,
    },
    /// There is no room on the disks of the servers, or in the limits of the account.
    #[error("NATS has no room: {0}")]
    NoRoom(String),
    /// The stream or bucket of that name is not one of Qchat, or was changed.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// Another stream takes the messages of the subject of the log.
    #[error("the subject {subject} belongs to another stream: delete that one, or use another --nats-name")]
    SubjectTaken {
        /// The subject.
        subject: String,
    },
    /// The stream has been deleted.
    #[error("the stream {stream} has been deleted: restore it from a backup, or recover the log from a node")]
    Deleted {
        /// Its name.
        stream: String,
    },
    /// There is no log in the stream, and a node beats that has one.
    #[error(
        "there is no log in the stream {stream}, and the node {name:?} has what was in it: the log has to be recovered from that node (--recover-log)"
    )]
    Lost {
        /// The name of the stream.
        stream: String,
        /// The name of the node.
        name: String,
    },
    /// The stream ends before the place that this node has applied.
    #[error(
        "the stream {stream} ends at place {last}, and this node has applied {reached}: messages were lost, or an old backup was restored"
    )]
    Shorter {
        /// Its name.
        stream: String,
        /// The place of the newest message in it.
        last: u64,
        /// The place that this node has applied.
        reached: u64,
    },
    /// The stream ends before the place of a snapshot of its log.
    #[error(
        "the stream {stream} ends at place {last}, and there is a snapshot of place {place} of its log: messages were lost, or an old backup was restored"
    )]
    ShorterThanSnapshot {
        /// Its name.
        stream: String,
        /// The place of the newest message in it.
        last: u64,
        /// The place of the snapshot.
        place: u64,
    },
    /// The stream has another message at a place than the one that this node has applied.
    #[error(
        "the stream {stream} has another message at place {place} than this node has applied: messages were lost and others took their places, or an old backup was restored"
    )]
    OtherHistory {
        /// Its name.
        stream: String,
        /// The place.
        place: u64,
    },
    /// Nothing is in the stream, and there are snapshots of a log that was in it.
    #[error(
        "the stream {stream} is empty, but there is a snapshot of place {place} of its log: restore it from a backup, recover the log from a node that has it, or delete the bucket of the snapshots to begin with nothing"
    )]
    Emptied {
        /// Its name.
        stream: String,
        /// The place of the newest snapshot.
        place: u64,
    },
    /// The stream holds another log than the one that this node has applied.
    #[error("the stream {stream} holds another log than this node: it was founded anew")]
    OtherLog {
        /// Its name.
        stream: String,
    },
    /// The log was recovered from a node that had not applied all that this one has.
    #[error(
        "the log in the stream {stream} was recovered from place {place} on, and this node has applied {reached}: what it has beyond that would be lost, so it stays as it is"
    )]
    RecoveredBehind {
        /// The name of the stream.
        stream: String,
        /// The place from which the log was recovered.
        place: u64,
        /// The place that this node has applied.
        reached: u64,
    },
    /// Messages that this node has not applied are gone, and there is no snapshot that has them.
    #[error(
        "the stream {stream} begins at place {first}, this node has applied {reached}, and there is no snapshot in between: waiting for a node to make one"
    )]
    Hole {
        /// Its name.
        stream: String,
        /// The place of the oldest message in it.
        first: u64,
        /// The place that this node has applied.
        reached: u64,
    },
    /// A snapshot could not be loaded.
    #[error("the snapshot of place {place} could not be loaded: {reason}")]
    Snapshot {
        /// Its place.
        place: u64,
        /// Why.
        reason: String,
    },
    /// A snapshot needs newer rules than this node knows.
    #[error(
        "the snapshot of place {place} needs the rules {rules}, and this Qchat decides by the rules {} to {}: upgrade this node",
        known.0, known.1
    )]
    NeedsRules {
        /// Its place.
        place: u64,
        /// The rules.
        rules: Rules,
        /// The oldest and the newest rules that this node knows.
        known: (Rules, Rules),
    },
    /// An older node of the cluster has the name of this one.
    #[error(
        "another node of the cluster is called {name:?} as well, and is older: give this one another name"
    )]
    SameName {
        /// The name.
        name: String,
    },
    /// This node has decided differently from most others.
    #[error("{}", LogStatus::Differs { place: *place })]
    Differs {
        /// The place at which it was noticed.
        place: u64,
    },
    /// The servers refuse something for another reason.
    #[error("NATS refuses it: {0}")]
    Refused(String),
}

/// A stream that is not one of Qchat, or was changed since.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stream {stream} is not as Qchat made it: {field} is {is}, and has to be {wanted}")]
pub struct Foreign {
    /// Its name.
    pub stream: String,
    /// The setting that is wrong.
    pub field: &'static str,
    /// What it is.
    pub is: String,
    /// What it has to be.
    pub wanted: String,
}

/// Returns what an error of JetStream means for something that is kept `replicas` times.
pub(crate) fn of_jetstream(error: &jetstream::Error, replicas: usize) -> Trouble {
    match error.error_code() {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Trouble::NoJetStream
        }
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED | ErrorCode::CLUSTER_NO_PEERS => {
            Trouble::TooFewServers { replicas }
        }
        ErrorCode::CLUSTER_NOT_AVAILABLE | ErrorCode::STREAM_OFFLINE => Trouble::NoAnswer,
        code if is_full(code) => Trouble::NoRoom(error.to_string()),
        _ => Trouble::Refused(error.to_string()),
    }
}

/// Tells whether an error of JetStream says that a stream, an account or a disk is full.
fn is_full(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::STREAM_STORE_FAILED
            | ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::INSUFFICIENT_RESOURCES
            | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
            | ErrorCode::MEMORY_RESOURCES_EXCEEDED
    )
}

/// Returns what it means that a request to JetStream was not answered.
pub(crate) fn of_request(error: &RequestError) -> Trouble {
    match error.kind() {
        RequestErrorKind::NoResponders => Trouble::NoJetStream,
        RequestErrorKind::TimedOut | RequestErrorKind::Other => Trouble::NoAnswer,
        RequestErrorKind::InvalidSubject => Trouble::Refused(error.to_string()),
    }
}

/// Returns what an error of a publication means for the log.
pub(crate) fn not_published(error: &PublishError) -> NotPublished {
    match error.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe | PublishErrorKind::MaxAckPending => {
            NotPublished::NoAnswer
        }
        // Nobody takes the subject. So it is too for some seconds while the servers elect a leader.
        PublishErrorKind::StreamNotFound => NotPublished::NoStream,
        PublishErrorKind::MaxPayloadExceeded => NotPublished::TooLarge,
        PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::Other => refused(error),
    }
}

fn refused(error: &PublishError) -> NotPublished {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    let Some(jetstream) = source.map(|error: &jetstream::Error| error) else {
        return NotPublished::Refused(error.to_string());
    };
    of_refusal(jetstream.error_code(), jetstream)
}

/// Returns what it means for the log that JetStream refused a publication.
fn of_refusal(code: ErrorCode, error: &dyn Display) -> NotPublished {
    match code {
        _ if is_full(code) => NotPublished::Full,
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => NotPublished::TooLarge,
        ErrorCode::CLUSTER_NOT_AVAILABLE | ErrorCode::STREAM_OFFLINE => NotPublished::NoStream,
        // An earlier attempt has arrived, and is not on enough servers yet.
        ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT => NotPublished::NoAnswer,
        _ => NotPublished::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_is_still_being_stored_is_not_told_as_refused() {
        let refusal = |code| of_refusal(ErrorCode(code), &"duplicate message id is in process");
        assert_eq!(refusal(10_158), NotPublished::NoAnswer);
        assert!(matches!(refusal(10_060), NotPublished::Refused(_)));
    }
}
