//! How the program ends when it does not do what was asked: exit code and one line.

use std::fmt::{self, Write};

/// Why it did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Tried, and it did not come about: exit code 1.
    Failed(String),
    /// Options, files, folders, addresses or ports that cannot be used: exit code 2.
    Unusable(String),
}

impl Failure {
    pub fn failed(why: impl fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }

    pub fn unusable(why: impl fmt::Display) -> Self {
        Self::Unusable(why.to_string())
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Unusable(_) => 2,
        }
    }
}

/// One line, whatever the message quotes: files, paths, peers.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(why) | Self::Unusable(why)) = self;
        why.chars().try_for_each(|c| f.write_char(if c.is_control() { ' ' } else { c }))
    }
}

/// A refusal of clap's in one line: what is wrong, without the usage.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let said = said.collect::<Vec<_>>().join(" ");
    said.strip_prefix("error: ").unwrap_or(&said).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_several_lines_is_printed_as_one() {
        let failure = Failure::failed("first\nsecond\r\n\u{1b}[31mthird");
        assert_eq!(failure.to_string(), "first second   [31mthird");
        assert_eq!((failure.exit_code(), Failure::unusable("x").exit_code()), (1, 2));
    }
}
