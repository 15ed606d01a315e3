//! How much a pool keeps.

/// The bounds of a [`Pool`](super::Pool), and what it asks of a transaction beyond the rules of the
/// chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLimits {
    /// Transactions in all. When full, the least wanted one of somebody else makes room, or the new
    /// one is refused.
    pub transactions_max: usize,
    /// Bytes of all of them, what belongs to blobs left out. When full, as above.
    pub bytes_max: usize,
    /// Blob transactions; when full, as above, but only a blob transaction makes room.
    pub blob_transactions_max: usize,
    /// Bytes of all blobs, commitments and proofs; when full, as above.
    pub blob_bytes_max: usize,
    /// Transactions of one sender; one more is refused. Many, because one sender may send many at once
    /// (a client test sends 2,000), but see `sender_share`.
    pub sender_max: usize,
    /// How many of a sender's next transactions count fully when room is made: those after them go
    /// before anybody else's.
    pub sender_share: usize,
    /// Transactions of one sender that wait for an earlier one; one more is refused.
    pub sender_queued_max: usize,
    /// Blob transactions of one sender; one more is refused. Sixteen, as geth has it.
    pub sender_blobs_max: usize,
    /// Transactions of one sender whose account runs another's code (EIP-7702); one more is refused.
    /// Anybody may empty such an account, and with it its chain of transactions here.
    pub delegating_sender_max: usize,
    /// How far a nonce may be ahead of the sender's next free one. Blob transactions may not at all.
    pub nonce_gap_max: u64,
    /// The least tip in wei. One, as geth has it: who pays nothing costs nothing to flood with.
    pub tip_min: u128,
    /// By how many percent each fee must rise for another transaction with the same nonce.
    pub replace_percent: u128,
    /// The same where one of the two has blobs: they are dear to hand on twice.
    pub replace_blob_percent: u128,
    /// Bytes of one transaction, what belongs to its blobs left out.
    pub transaction_bytes_max: usize,
    /// Hashes remembered of transactions refused lately or mined; the oldest is forgotten.
    pub recent_max: usize,
    /// Bytes of blob transactions kept after they were mined, for a reorg; the oldest is dropped.
    pub mined_blob_bytes_max: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            transactions_max: 4_096,
            bytes_max: 32 << 20,
            blob_transactions_max: 64,
            blob_bytes_max: 16 << 20,
            sender_max: 2_560,
            sender_share: 64,
            sender_queued_max: 64,
            sender_blobs_max: 16,
            delegating_sender_max: 16,
            nonce_gap_max: 64,
            tip_min: 1,
            replace_percent: 10,
            replace_blob_percent: 100,
            transaction_bytes_max: 128 << 10,
            recent_max: 8_192,
            mined_blob_bytes_max: 8 << 20,
        }
    }
}
