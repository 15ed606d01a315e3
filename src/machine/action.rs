//! What goes in and out of a session machine: what its protocol says of messages, what the actor
//! should do, what happened.

use std::time::Duration;

use bytes::Bytes;

use super::message::{Class, Payload};
use super::outbox::Tag;
use crate::disconnect::{Breach, DisconnectReason, Disconnected};
use crate::ids::RequestId;

/// The code of a Disconnect message in every exchange (eth-stream section 3).
pub const DISCONNECT_CODE: u8 = 0x7f;

/// What the protocol of a session says about messages. Implemented over an `Exchange`.
pub trait Rules {
    /// The code of the handshake message, if the protocol has a handshake.
    fn handshake_code(&self) -> Option<u8>;
    /// Judges the peer's handshake message.
    fn accept(&self, theirs: Bytes) -> Result<(), DisconnectReason>;
    /// What a message is. Checks the declared length of its body.
    fn classify(&self, code: u8, body: &Bytes) -> Result<Class, Breach>;
    /// A Disconnect message.
    fn disconnect(&self, reason: DisconnectReason) -> Payload;
    /// What the peer's Disconnect message says.
    fn read_disconnect(&self, body: &Bytes) -> DisconnectReason;
}

/// Why a pending request ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its deadline passed after this time.
    TimedOut(Duration),
    /// The answer was of another kind.
    WrongKind,
    /// The session ended.
    Disconnected(Disconnected),
    /// The outbox had no room.
    Busy,
}

/// Something the peer did that costs it reputation without ending the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misdeed {
    /// An answer with an id we never issued.
    UnknownAnswer,
    /// A second answer to one request.
    DuplicateAnswer,
    /// An answer of another kind than the request wants.
    WrongKind,
    /// More items than were asked for.
    Excess,
}

impl Misdeed {
    /// The name it has in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownAnswer => "unknown_answer",
            Self::DuplicateAnswer => "duplicate_answer",
            Self::WrongKind => "wrong_kind",
            Self::Excess => "excess",
        }
    }
}

/// What the actor should do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<W> {
    /// Tell a waiter how its request ended. The answer comes with the time it took.
    Complete(W, Result<(Bytes, Duration), Failure>),
    /// Serve this request of the peer, then call `SessionMachine::on_reply`.
    Serve(Payload),
    /// Handle this announcement, then call `SessionMachine::on_taken`.
    Take(Payload),
    /// The handshake is done; here is the peer's.
    Up(Option<Bytes>),
    /// The peer did something that is counted against it.
    Misdeed(Misdeed),
    /// Over: whatever waits in the outbox may still be written, then the substream is closed.
    /// `close_connection`: the connection under it goes too.
    Down {
        /// Who ended it and why.
        ended: Disconnected,
        /// Whether the connection is to be closed as well.
        close_connection: bool,
    },
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its requester gets it.
    Delivered,
    /// It ended its request as the wrong kind.
    WrongKind,
    /// Its requester had given up.
    Late,
    /// Its request was answered before.
    Duplicate,
    /// There was no such request.
    Unknown,
}

/// What happened to requests and messages, for whoever watches. Facts ask for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// A request of ours waits in the outbox.
    Queued {
        /// Its id.
        id: RequestId,
        /// Its size.
        bytes: usize,
    },
    /// The first part of a longer answer arrived.
    AnswerBegan(RequestId),
    /// An answer arrived.
    Answered {
        /// The id it carries.
        id: RequestId,
        /// Its size.
        bytes: usize,
        /// Who gets it.
        fate: Fate,
    },
    /// A request of the peer arrived. They are numbered from 1 in their order, and served in it.
    Arrived {
        /// The id it carries.
        id: u64,
        /// Its code.
        code: u8,
        /// Its size.
        bytes: usize,
    },
    /// The request that arrived last has to wait, because so many bytes are owed to the peer; or
    /// because so many requests are being served.
    Waits {
        /// For owed bytes.
        owed: bool,
    },
    /// The requests from this number on will not be served: the exchange is over.
    Unserved(Tag),
    /// The reply to this request was larger than a message may be, and not sent.
    Oversized(Tag),
    /// An announcement of the peer arrived.
    OneWay {
        /// Its code.
        code: u8,
        /// Its size.
        bytes: usize,
        /// There was no room for it.
        dropped: bool,
    },
    /// So many announcements of ours were dropped.
    Displaced(usize),
}

/// Counters of what passed by without consequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Answers to requests we had given up on.
    pub late_answers: u64,
    /// Announcements of the peer dropped because the inbox was full.
    pub inbox_dropped: u64,
    /// Announcements to the peer dropped because its queue was full.
    pub announcements_dropped: u64,
    /// Replies and announcements of ours that were larger than a message may be.
    pub oversized: u64,
}
