//! What a trouble is called, and in what words it is told.

use super::{Cause, Finding, words};
use crate::trace::tools::model::{Model, Trouble, TroubleKind};
use crate::trace::tools::show::{self, duration, moment};

pub(super) fn describe(model: &Model, trouble: &Trouble) -> Finding {
    let took = duration(trouble.took());
    let who = words::actor(model, trouble.actor);
    let name = words::name(trouble.name.as_ref());
    let peer = words::peer(model, trouble.conn);
    let (from, until) = (moment(trouble.from), moment(trouble.until));
    let (cause, sentence) = match trouble.kind {
        TroubleKind::Silence => {
            let last = match trouble.last_in {
                Some(last) => format!("last byte then at {} s", moment(last)),
                None => "no byte had come".to_owned(),
            };
            let waited = show::count(trouble.n, "request");
            let words = format!(
                "{peer} was not answering for {took}: {last}, the next at {until} s; {waited} waited"
            );
            (Cause::PeerNotAnswering, words)
        }
        TroubleKind::SocketBlocked => {
            (Cause::PeerNotReading, format!("{peer} was not reading: its socket took no bytes for {took}"))
        }
        TroubleKind::WindowBlocked => (
            Cause::Window,
            format!(
                "{peer} gave no room on the substream of {} for {took}, {} waited",
                words::name(trouble.proto.as_ref()),
                show::bytes(trouble.n)
            ),
        ),
        TroubleKind::Negotiation => {
            (Cause::Negotiation, format!("a substream with {peer} was being negotiated for {took} ({name})"))
        }
        TroubleKind::Handler => (Cause::Handler, format!("{who} handled {name} for {took}")),
        TroubleKind::SlowPoll => (Cause::Handler, format!("{who} kept its thread for {took} in one go")),
        TroubleKind::Stalled if trouble.actor == 0 => (
            Cause::StalledThread,
            format!(
                "this process did not run for {took}, from {from} s to {until} s: it was stopped, or starved"
            ),
        ),
        TroubleKind::Stalled => {
            (Cause::StalledThread, format!("the thread of {who} did not come back for {took}"))
        }
        TroubleKind::Mailbox => (Cause::Mailbox, format!("{name} waited in the mailbox of {who} for {took}")),
        TroubleKind::Refused => (
            Cause::Mailbox,
            format!("{name} found the mailbox of {who} {}", words::name(trouble.how.as_ref())),
        ),
        TroubleKind::Abandoned => {
            (Cause::Caller, format!("{name} reached {who} after {took}, when its caller had gone"))
        }
        TroubleKind::Panicked => (Cause::Panic, format!("{who} panicked while it handled {name}")),
        TroubleKind::AnswerDropped => (
            Cause::LateAnswer,
            format!("an answer of {peer} was dropped ({})", words::name(trouble.how.as_ref())),
        ),
    };
    let ours = matches!(trouble.kind, TroubleKind::Handler | TroubleKind::SlowPoll | TroubleKind::Mailbox);
    let still = if ours { stood_still(model, trouble.from, trouble.until) } else { "" };
    let sentence = sentence + still;
    let conn = match trouble.conn {
        0 => model.actors.get(&trouble.actor).map_or(0, |info| info.conn),
        conn => conn,
    };
    let mut finding = Finding::new(cause, trouble.from, trouble.until, sentence);
    finding = finding.of(model, trouble.actor).on(model, conn);
    finding.message = trouble.name.clone();
    let is_silence = trouble.kind == TroubleKind::Silence;
    let last_in = model.conns.get(&conn).and_then(|conn| conn.last_in);
    finding.last_byte_ns = if is_silence { trouble.last_in } else { last_in.filter(|_| trouble.conn != 0) };
    finding
}

/// A thread that is busy is told of by others; a process that is stopped is not.
pub(super) fn stood_still(model: &Model, from: u64, until: u64) -> &'static str {
    let nine_tenths = until.saturating_sub(from) / 10 * 9;
    let covers = |(a, b): &(u64, u64)| (*b).min(until).saturating_sub((*a).max(from)) > nine_tenths;
    match nine_tenths > 0 && model.gaps.iter().any(covers) {
        true => "; nothing at all was recorded meanwhile: the whole process may have been stopped",
        false => "",
    }
}
