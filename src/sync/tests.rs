//! The sync against peers that are slow, silent, short, wrong or gone: first the plan alone under a
//! virtual clock, then the driver under tokio's paused one.

mod driving;
mod hostile;
mod planning;
mod receipt_world;
mod receipting;
mod rejecting;
mod sim;
mod world;
