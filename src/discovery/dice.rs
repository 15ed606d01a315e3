//! Reproducible choices: a small generator whose seed is handed in.

/// SplitMix64 over a seed. Good enough to choose nodes and targets; never for keys.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same choices.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// One of `0..len`, or `None` if there is nothing to choose from.
    pub fn pick(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| (self.roll() % len as u64) as usize)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.roll().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut one, mut same, mut other) = (Dice::new(7), Dice::new(7), Dice::new(8));
        let rolls: Vec<_> = (0..8).map(|_| one.roll()).collect();
        assert_eq!(rolls, (0..8).map(|_| same.roll()).collect::<Vec<_>>());
        assert_ne!(rolls, (0..8).map(|_| other.roll()).collect::<Vec<_>>());
        assert_eq!(one.pick(0), None);
        assert!((0..100).all(|_| one.pick(3).is_some_and(|index| index < 3)));
    }
}
