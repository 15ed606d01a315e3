//! Which message ids of a connection belong to which capability (rlpx.md, "Message ID-based
//! Multiplexing").

use super::p2p::BASE;
use crate::protocols::Capability;

/// A capability that both ends speak, and its share of the connection's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// Which of ours it is.
    pub index: usize,
    /// Its first id.
    pub offset: u16,
    /// How many ids it takes.
    pub messages: u8,
}

impl Shared {
    /// The code within the capability that this id of the connection stands for.
    pub fn code(&self, id: u16) -> Option<u8> {
        let code = u8::try_from(id.checked_sub(self.offset)?).ok()?;
        (code < self.messages).then_some(code)
    }
}

/// The capabilities that both ends speak, in the order of their ids: by name, and of each name
/// only the highest version that both have. What is not shared takes no ids.
pub fn negotiate(ours: &[Capability], theirs: &[(String, u32)]) -> Vec<Shared> {
    let is_theirs =
        |one: &Capability| theirs.iter().any(|(name, version)| *name == one.name && *version == one.version);
    let mut shared: Vec<_> = ours.iter().enumerate().filter(|(_, one)| is_theirs(one)).collect();
    // The highest version of a name comes first and is the one that stays.
    shared.sort_by(|(_, a), (_, b)| a.name.cmp(b.name).then(b.version.cmp(&a.version)));
    shared.dedup_by(|(_, later), (_, kept)| later.name == kept.name);
    let mut offset = BASE;
    let place = |(index, one): (usize, &Capability)| {
        let placed = Shared { index, offset, messages: one.messages };
        offset = offset.saturating_add(u16::from(one.messages));
        placed
    };
    shared.into_iter().map(place).collect()
}
