//! todo
use crate::trace::tools::picture::Picture;
use std::io::{self, Write};
/// Writes it.
pub fn mermaid(_picture: &Picture, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"todo")
}
