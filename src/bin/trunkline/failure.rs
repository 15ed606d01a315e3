//! How a command ends when it does not do what was asked: exit code and one line.

use std::fmt;

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Tried, and it did not come about: exit code 1.
    Failed(String),
    /// Options, files, addresses or ports that cannot be used; nothing was done: exit code 2.
    Unusable(String),
}

impl Failure {
    /// Tried, and it did not come about.
    pub(crate) fn failed(why: impl fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }

    /// Cannot be used.
    pub(crate) fn unusable(why: impl fmt::Display) -> Self {
        Self::Unusable(why.to_string())
    }

    /// What the process exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Unusable(_) => 2,
        }
    }
}

/// One line, whatever the message holds: it may quote files, paths and peers.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(why) | Self::Unusable(why)) = self;
        why.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

/// A refusal of clap's in one line: what is wrong and what would be similar, without the usage.
pub(crate) fn one_line(error: &clap::Error) -> String {
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

    #[test]
    fn a_refusal_of_an_option_is_one_line_without_the_usage() {
        let command = clap::Command::new("t").arg(clap::Arg::new("file").required(true));
        let error = command.try_get_matches_from(["t"]).unwrap_err();
        let line = one_line(&error);
        assert!(line.contains("required") && line.contains("<file>"), "{line}");
        assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
    }
}
