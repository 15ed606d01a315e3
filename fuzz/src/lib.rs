//! What every target asserts beside "no panic": what an input may cost.

use std::time::Duration;

use cpu_time::ThreadTime;

/// Allocations that do not come from the input: buffers of a fixed size, lazily made tables.
const ALLOCATED_BASE: u64 = 64 << 10;

/// Processor time that does not come from the input, and what a byte of it may take.
const TIME_BASE: Duration = Duration::from_millis(1);
const TIME_PER_BYTE: Duration = Duration::from_micros(10);

/// Asymmetric cryptography takes its time however short the input is, and the instrumented code
/// takes a multiple of it.
const TIME_OF_KEYS: Duration = Duration::from_millis(20);

/// What an input may cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Bytes that may be allocated at one time, per byte of input.
    pub allocated: u64,
    /// Whether points of the curve are computed.
    pub keys: bool,
}

impl Cost {
    /// Framing: twice the input.
    pub const FRAMING: Self = Self { allocated: 2, keys: false };
    /// Framing with keys in it.
    pub const KEYS: Self = Self { allocated: 2, keys: true };
}

/// How often something is run that takes too long. Only what takes long every time is a finding: the
/// processor time of a shared machine jumps by milliseconds for no reason of ours.
const TRIES: usize = 5;

/// Runs what handles `input_bytes` bytes, and fails if it costs more than it may. Only what the
/// thread itself does counts, so a busy machine is no finding.
pub fn within<T>(cost: Cost, input_bytes: usize, mut run: impl FnMut() -> T) -> T {
    let most = cost.allocated * input_bytes as u64 + ALLOCATED_BASE;
    let keys = if cost.keys { TIME_OF_KEYS } else { Duration::ZERO };
    let longest = TIME_BASE + keys + TIME_PER_BYTE * input_bytes as u32;
    let mut least = Duration::MAX;
    for _ in 0..TRIES {
        let mut value = None;
        let start = ThreadTime::now();
        let allocated = allocation_counter::measure(|| value = Some(run()));
        least = least.min(start.elapsed());
        assert!(allocated.bytes_max <= most, "{} bytes allocated for {input_bytes}", allocated.bytes_max);
        if least <= longest {
            return value.expect("it ran");
        }
    }
    panic!("{least:?} for {input_bytes} bytes, the least of {TRIES} times");
}

/// Takes decisions from the front of an input. What is not there is zero.
#[derive(Debug)]
pub struct Choices<'a>(pub &'a [u8]);

impl<'a> Choices<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    /// The next two bytes as a number.
    pub fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// As many of the next bytes as are there.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
