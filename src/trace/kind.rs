//! What can happen, and what each event carries: the vocabulary of the trace, pure.
//!
//! One table serves the ring, the JSON writer and the reader: a kind, its name in files, and what
//! its two numbers mean.

/// What one of the two numbers of an event means, and with it the name of its field in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Nothing; not written.
    None,
    /// `wire`: the request id on the wire.
    Wire,
    /// `to`: the actor a message is for.
    To,
    /// `bytes`.
    Bytes,
    /// `ns`: a duration in nanoseconds.
    Ns,
    /// `stream`: the muxer's number of a substream.
    Stream,
    /// `n`: a count, a version or a code.
    Count,
    /// `text`: words that are only known at run time, cut to 256 bytes and escaped.
    Text,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal [$x:ident, $y:ident],)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind),*];

            /// Its name in files.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)* }
            }

            /// What its two numbers mean.
            pub const fn fields(self) -> (Field, Field) {
                match self { $(Kind::$kind => (Field::$x, Field::$y),)* }
            }

            /// The kind of this name.
            pub fn by_name(name: &str) -> Option<Self> {
                let kind = match name { $($name => Kind::$kind,)* _ => return None };
                (!kind.is_packed()).then_some(kind)
            }
        }
    };
}

kinds! {
    /// An actor runs. `name`: its type.
    ActorStarted = "actor.started" [None, None],
    /// An actor has ended. `name`: its type.
    ActorStopped = "actor.stopped" [None, None],
    /// A handler of an actor panicked; it ends. `name`: what was being handled.
    ActorPanicked = "actor.panicked" [None, None],
    /// A message was put into the mailbox of actor `to`. `name`: its type; `a`: who sent it.
    MsgEnqueued = "msg.enqueued" [To, None],
    /// A handler begins. `ns`: how long the message waited. The cause is its `msg.enqueued`.
    MsgStarted = "msg.started" [None, Ns],
    /// A handler returned. `ns`: how long it ran. The cause is its `msg.started`.
    MsgFinished = "msg.finished" [None, Ns],
    /// A message reached its actor, but its caller had gone: it was not handled.
    MsgAbandoned = "msg.abandoned" [None, Ns],
    /// A message found no mailbox. `how`: `full` or `stopped`.
    MsgRefused = "msg.refused" [To, None],
    /// A message was still in the mailbox of `to` when that actor ended.
    MsgDropped = "msg.dropped" [To, Ns],
    /// An item of an attached stream is being handled. `name`: its type.
    ItemStarted = "item.started" [None, None],
    /// The item was handled. `ns`: how long that took.
    ItemFinished = "item.finished" [None, Ns],
    /// A timer was set. `ns`: for how long.
    TimerSet = "timer.set" [None, Ns],
    /// A timer fired and is being handled. The cause is its `timer.set`, where it has one.
    TimerStarted = "timer.started" [None, None],
    /// The timer was handled. `ns`: how long that took. The cause is its `timer.started`.
    TimerFinished = "timer.finished" [None, Ns],
    /// A future was given to the actor. `name`: its type.
    FutureSpawned = "future.spawned" [None, None],
    /// That future ended by itself. The cause is its `future.spawned`.
    FutureEnded = "future.ended" [None, None],
    /// An actor kept its thread for long (10 ms or more) in one go. `ns`: how long.
    PollSlow = "poll.slow" [None, Ns],
    /// An actor's thread has not come back yet. `ns`: since when; told from outside, while it lasts.
    /// Without an actor: the whole process did not run for that long (SIGSTOP, a suspended machine).
    Stalled = "stalled" [None, Ns],

    /// A dial begins. `text`: the address.
    ConnDialing = "conn.dialing" [None, Text],
    /// A socket was accepted. `text`: `remote local`, two addresses.
    ConnAccepted = "conn.accepted" [None, Text],
    /// A dial has a socket. `text`: `remote local`, two addresses.
    ConnConnected = "conn.connected" [None, Text],
    /// A step of the upgrade is through. `name`: `/noise`, `noise`, `/yamux/1.0.0`; `how`: `ok` or
    /// `failed`; `ns`: how long it took.
    ConnStep = "conn.step" [None, Ns],
    /// We know who it is. `text`: the peer id.
    ConnPeer = "conn.peer" [None, Text],
    /// It did not become a session. `text`: why.
    ConnFailed = "conn.failed" [None, Text],
    /// A session was started on it; `a` is its actor. `n`: the session's number; `text`: the peer
    /// id; `dir`: who dialled.
    SessionStarted = "session.started" [Count, Text],
    /// It is known which protocols the peer speaks.
    SessionSettled = "session.settled" [None, None],
    /// The session's end is decided. `how`: `local`, `remote` or `transport`; `text`: the reason.
    SessionEnded = "session.ended" [None, Text],
    /// The muxer has ended. `text`: how.
    ConnClosed = "conn.closed" [None, Text],
    /// Negotiation of a substream begins. `dir`: who opens it; `text`: what we propose.
    SubstreamAsked = "substream.asked" [None, Text],
    /// Its protocol is agreed on: `text`. The cause is its `substream.asked`.
    SubstreamAgreed = "substream.agreed" [None, Text],
    /// It came to nothing. `text`: why. The cause is its `substream.asked`.
    SubstreamFailed = "substream.failed" [None, Text],
    /// A substream was opened on the wire. `dir`: by whom.
    SubstreamOpened = "substream.opened" [Stream, None],
    /// One side half-closed a substream. `dir`: `out` us, `in` the peer.
    SubstreamClosed = "substream.closed" [Stream, None],
    /// One side reset a substream. `dir`: `out` us, `in` the peer.
    SubstreamReset = "substream.reset" [Stream, None],
    /// One side says goodbye to the connection. `n`: the code.
    GoAway = "goaway" [Count, None],
    /// The peer broke a rule of the muxer. `text`: which.
    Violation = "violation" [None, Text],
    /// Bytes of the muxer arrived.
    SocketRead = "socket.read" [Bytes, None],
    /// Bytes of the muxer were taken by the socket.
    SocketWrote = "socket.wrote" [Bytes, None],
    /// What the socket took was flushed.
    SocketFlushed = "socket.flushed" [None, None],
    /// The socket takes no more bytes: the peer does not read, or the network is slow.
    SocketBlocked = "socket.blocked" [None, None],
    /// It takes bytes again. `ns`: how long it did not.
    SocketReady = "socket.ready" [None, Ns],
    /// A lane's substream takes no more bytes. `bytes`: what waits in our write batch.
    WindowBlocked = "window.blocked" [Bytes, None],
    /// It takes bytes again. `ns`: how long it did not.
    WindowReady = "window.ready" [None, Ns],

    /// An exchange is up. `n`: the version.
    LaneUp = "lane.up" [Count, None],
    /// An exchange is over. `how`: `local`, `remote` or `transport`; `text`: the reason.
    LaneDown = "lane.down" [None, Text],
    /// The peer did something that is counted against it. `name`: what.
    Misdeed = "misdeed" [None, None],
    /// An announcement of the peer arrived. `how`: `taken` or `dropped`.
    OneWay = "oneway" [Bytes, None],
    /// Announcements of ours were dropped because newer ones came. `n`: how many.
    OneWayDropped = "oneway.dropped" [Count, None],
    /// An answer that nobody gets. `how`: `late`, `duplicate`, `unknown` or `wrong_kind`.
    AnswerDropped = "answer.dropped" [Wire, Bytes],

    /// A request of ours begins. `name`: its kind. Its id is the key `r` of all that follow.
    ReqCreated = "req.created" [None, None],
    /// It waits: ours in the session's outbox; the peer's for a place to be served, and then `how`
    /// says for what: `serving` (as many as may be are being served) or `owed` (too many bytes of
    /// replies have not been taken).
    ReqQueued = "req.queued" [Wire, Bytes],
    /// Ours: cut into segments. The peer's: the protocol's reply is there.
    ReqEncoded = "req.encoded" [Wire, Bytes],
    /// Its last byte (the peer's: of our reply) was taken by the substream.
    ReqWritten = "req.written" [Wire, None],
    /// The first bytes of its answer arrived.
    ReqFirstByte = "req.first_byte" [Wire, None],
    /// Ours: the whole answer arrived. The peer's: the whole request arrived, and its life begins:
    /// this event's id is its key `r`.
    ReqReceived = "req.received" [Wire, Bytes],
    /// Ours: handed to the caller's oneshot. The peer's: handed to the protocol.
    ReqDelivered = "req.delivered" [Wire, None],
    /// The caller has decoded the answer.
    ReqDecoded = "req.decoded" [Wire, None],
    /// The one end of every request. `how`: `ok`, `cancelled` or the name of a `RequestError`;
    /// `ns`: from its first event.
    ReqEnded = "req.ended" [Wire, Ns],
    /// Where an unended request stands, told on demand (dumps, snapshots). `how`: the step it has
    /// reached; `ns`: since when it exists.
    ReqOpen = "req.open" [Wire, Ns],
    /// Only in a ring: `req.created` and the `msg.enqueued` behind it.
    PackAsked = "pack.asked" [None, None],
    /// Only in a ring: `req.encoded` and `req.written` at one go.
    PackSent = "pack.sent" [None, None],
    /// Only in a ring: `req.first_byte`, `req.received` and `req.delivered` at one go.
    PackAnswered = "pack.answered" [None, None],
    /// Only in a ring: `req.decoded` and `req.ended`.
    PackDone = "pack.done" [None, None],
    /// Only in a ring: `req.written` and `req.ended` of a request of the peer.
    PackServed = "pack.served" [None, None],
}

impl Kind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether it happens per message, per request or per read of a socket: such events have a ring of
    /// their own, so that they never push the rare ones (connections, actors, timers) out.
    #[inline]
    pub fn is_frequent(self) -> bool {
        use Kind::{
            AnswerDropped, ItemFinished, ItemStarted, MsgEnqueued, MsgFinished, MsgStarted, OneWay,
            ReqCreated, SocketFlushed, SocketRead, SocketWrote,
        };
        let per_message = matches!(self, MsgEnqueued | MsgStarted | MsgFinished | ItemStarted | ItemFinished);
        let per_read = matches!(self, SocketRead | SocketWrote | SocketFlushed | OneWay | AnswerDropped);
        per_message || per_read || self >= ReqCreated
    }

    /// Whether it stands for several events that happened at one go. Such kinds are never in a file:
    /// whoever reads a ring takes them apart.
    pub fn is_packed(self) -> bool {
        self >= Self::PackAsked
    }

    /// Whether it belongs to the life line of a request.
    pub fn is_request(self) -> bool {
        self >= Self::ReqCreated && self <= Self::ReqOpen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_their_kinds() {
        for (number, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, number);
            assert_eq!(Kind::from_number(number as u8), Some(*kind));
            assert_eq!(Kind::by_name(kind.name()), Some(*kind).filter(|kind| !kind.is_packed()));
        }
        assert_eq!(Kind::by_name("req.invented"), None);
        assert_eq!(Kind::from_number(255), None);
    }
}
