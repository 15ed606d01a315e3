//! Chain specifications: genesis, forks, ids.

/// Genesis, forks and ids of a chain.
#[derive(Debug, Clone)]
pub struct ChainSpec {}
