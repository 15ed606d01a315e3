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

#[cfg(test)]
mod tests {
    use super::*;

    fn cap(name: &'static str, version: u32, messages: u8) -> Capability {
        Capability { name, version, messages }
    }

    /// What geth has, and a made-up one in front and behind.
    fn ours() -> Vec<Capability> {
        vec![
            cap("eth", 70, 18),
            cap("eth", 69, 18),
            cap("eth", 68, 17),
            cap("snap", 1, 8),
            cap("zzz", 3, 2),
            cap("aaa", 1, 5),
        ]
    }

    fn offsets(theirs: &[(&str, u32)]) -> Vec<(&'static str, u32, u16)> {
        let theirs: Vec<_> = theirs.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect();
        let ours = ours();
        let named = |shared: &Shared| (ours[shared.index].name, ours[shared.index].version, shared.offset);
        negotiate(&ours, &theirs).iter().map(named).collect()
    }

    /// devp2p.md section 3.
    #[test]
    fn shared_capabilities_take_ids_in_the_order_of_their_names() {
        assert_eq!(offsets(&[("eth", 69), ("snap", 1)]), [("eth", 69, 0x10), ("snap", 1, 0x22)]);
        assert_eq!(offsets(&[("snap", 1), ("eth", 69)]), [("eth", 69, 0x10), ("snap", 1, 0x22)]);
        assert_eq!(offsets(&[("eth", 68), ("snap", 1)]), [("eth", 68, 0x10), ("snap", 1, 0x21)]);
        assert_eq!(
            offsets(&[("zzz", 3), ("eth", 68), ("aaa", 1)]),
            [("aaa", 1, 0x10), ("eth", 68, 0x15), ("zzz", 3, 0x26)]
        );
        assert_eq!(offsets(&[("snap", 1)]), [("snap", 1, 0x10)]);
    }

    #[test]
    fn of_a_name_only_the_highest_shared_version_counts() {
        let all = [("eth", 68), ("eth", 70), ("eth", 69), ("eth", 71), ("eth", 72), ("snap", 1)];
        assert_eq!(offsets(&all), [("eth", 70, 0x10), ("snap", 1, 0x22)]);
        assert_eq!(offsets(&[("eth", 69), ("eth", 69), ("eth", 68)]), [("eth", 69, 0x10)]);
    }

    #[test]
    fn what_is_not_shared_takes_nothing() {
        assert_eq!(offsets(&[]), []);
        let strangers = [("aaa", 2), ("eth", 67), ("les", 4), ("ETH", 69), ("bzz", 1), ("snap", 2)];
        assert_eq!(offsets(&strangers), []);
        assert_eq!(
            offsets(&[("aaa", 2), ("les", 4), ("snap", 1), ("zzz", 3)]),
            [("snap", 1, 0x10), ("zzz", 3, 0x18)]
        );
    }

    /// E8: ids of the base protocol, between and beyond the ranges belong to nobody.
    #[test]
    fn an_id_belongs_to_one_capability_or_to_none() {
        let theirs = [("eth".to_owned(), 69), ("snap".to_owned(), 1)];
        let shared = negotiate(&ours(), &theirs);
        let owner = |id| {
            let mut found = shared.iter().filter_map(|one| Some((one.index, one.code(id)?)));
            let first = found.next();
            assert_eq!(found.next(), None, "two owners of {id:#x}");
            first
        };
        for (id, code) in [(0x0f, None), (0x10, Some((1, 0))), (0x21, Some((1, 17))), (0x22, Some((3, 0)))] {
            assert_eq!(owner(id), code, "{id:#x}");
        }
        assert_eq!(owner(0x29), Some((3, 7)));
        for id in (0x2a..=0x200).chain([0x0110, 0xff10, u16::MAX]) {
            assert_eq!(owner(id), None, "{id:#x}");
        }
    }
}
