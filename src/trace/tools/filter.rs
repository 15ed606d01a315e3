//! `peer=16Uiu kind=GetBlockHeaders state!=ok wait>5ms`: one small language for all questions.
//!
//! Terms are joined by spaces, and all of them must hold. Pure.

use std::str::FromStr;

/// An expression may be so long.
pub const BYTES_MAX: usize = 4096;

/// What can be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Peer,
    Proto,
    Kind,
    Id,
    Dir,
    State,
    Wait,
    Conn,
}

const KEYS: [(&str, Key); 8] = [
    ("peer", Key::Peer),
    ("proto", Key::Proto),
    ("kind", Key::Kind),
    ("id", Key::Id),
    ("dir", Key::Dir),
    ("state", Key::State),
    ("wait", Key::Wait),
    ("conn", Key::Conn),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Equal,
    Unequal,
    Greater,
    Less,
    AtLeast,
    AtMost,
    Contains,
}

/// The longer ones first: `>=` begins with `>`.
const OPS: [(&str, Op); 7] = [
    ("!=", Op::Unequal),
    (">=", Op::AtLeast),
    ("<=", Op::AtMost),
    ("=", Op::Equal),
    (">", Op::Greater),
    ("<", Op::Less),
    ("~", Op::Contains),
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// In lower case.
    Word(String),
    Number(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    key: Key,
    op: Op,
    value: Value,
}

/// An expression. The empty one lets everything through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<Term>,
}

/// What an expression is asked about. What is absent is equal to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The peer id; `=` takes its first or last characters as well.
    pub peer: Option<&'a str>,
    /// The exchange.
    pub proto: Option<&'a str>,
    /// The kind of request; the type of a message or an actor.
    pub kind: Option<&'a str>,
    /// The id; `=` takes its first part (`1` for `1.42`) as well.
    pub id: Option<&'a str>,
    /// `out` or `in`.
    pub dir: Option<&'a str>,
    /// `open`, or how it ended.
    pub state: Option<&'a str>,
    /// How long it took, or has taken, in nanoseconds.
    pub wait: Option<u64>,
    /// The connection.
    pub conn: Option<u32>,
}

/// An expression that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// It is too long.
    #[error("a filter may have {BYTES_MAX} bytes")]
    TooLong,
    /// A term of it is not understood.
    #[error("filter term \"{term}\" at {position}: {why}")]
    Term {
        /// The term.
        term: String,
        /// Where it begins, counted in characters from 1.
        position: usize,
        /// What is wrong with it.
        why: String,
    },
}

impl Filter {
    /// Whether an argument looks like a term rather than the name of a file.
    pub fn is_term(text: &str) -> bool {
        KEYS.iter().any(|(name, _)| {
            let rest = text.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name));
            rest.is_some() && OPS.iter().any(|(op, _)| text[name.len()..].starts_with(op))
        })
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether all terms hold.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        self.terms.iter().all(|term| term.holds(subject))
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        if text.len() > BYTES_MAX {
            return Err(FilterError::TooLong);
        }
        let mut terms = Vec::new();
        for word in text.split_whitespace() {
            // Both point into the same string.
            let offset = word.as_ptr() as usize - text.as_ptr() as usize;
            let position = text[..offset].chars().count() + 1;
            terms.push(term(word).map_err(|why| FilterError::Term {
                term: word.to_owned(),
                position,
                why,
            })?);
        }
        Ok(Self { terms })
    }
}

fn term(word: &str) -> Result<Term, String> {
    let end = word.find(['=', '!', '<', '>', '~']).ok_or("an operator is missing: = != > < >= <= ~")?;
    let (name, rest) = word.split_at(end);
    let key = KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, key)| *key);
    let Some(key) = key else {
        let known = KEYS.map(|(name, _)| name).join(" ");
        return Err(format!("\"{name}\" is not one of {known}"));
    };
    let op = OPS.iter().find(|(sign, _)| rest.starts_with(sign)).copied();
    let Some((sign, op)) = op else { return Err("not an operator: = != > < >= <= ~".to_owned()) };
    let value = &rest[sign.len()..];
    if value.is_empty() {
        return Err(format!("a value is missing behind \"{sign}\""));
    }
    let ordered = matches!(op, Op::Greater | Op::Less | Op::AtLeast | Op::AtMost);
    let value = match key {
        Key::Wait if op != Op::Contains => Value::Number(duration(value)?),
        Key::Conn if op != Op::Contains => {
            Value::Number(value.parse().map_err(|_| format!("\"{value}\" is not a number"))?)
        }
        Key::Wait | Key::Conn => return Err("~ is for words".to_owned()),
        _ if ordered => return Err(format!("{sign} is for wait and conn")),
        Key::Dir => match value.to_ascii_lowercase().as_str() {
            "out" | "outbound" => Value::Word("out".to_owned()),
            "in" | "inbound" => Value::Word("in".to_owned()),
            _ => return Err("dir is out or in".to_owned()),
        },
        // `TimedOut` and `timed_out` are the same.
        Key::State => Value::Word(squeeze(value)),
        _ => Value::Word(value.to_lowercase()),
    };
    Ok(Term { key, op, value })
}

/// In lower case and without `_`, so that names are found as code and as files write them.
fn squeeze(word: &str) -> String {
    word.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

/// `5ms`, `1.5s`, `20us`, `7ns`, `2m`: in nanoseconds.
pub fn duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a duration such as 5ms, 1.5s or 200us");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        _ => return Err(wrong()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || part.is_empty() || part.len() > 9 || part.contains('.') {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part = part.parse::<u64>().map_err(|_| wrong())? as f64 / 10_f64.powi(part.len() as i32);
    let ns = whole.checked_mul(scale).ok_or_else(wrong)?;
    ns.checked_add((part * scale as f64).round() as u64).ok_or_else(wrong)
}

impl Term {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        match &self.value {
            Value::Number(number) => {
                let actual = match self.key {
                    Key::Wait => subject.wait,
                    _ => subject.conn.map(u64::from),
                };
                actual.map_or(self.op == Op::Unequal, |actual| self.compares(actual, *number))
            }
            Value::Word(word) => {
                let actual = match self.key {
                    Key::Peer => subject.peer,
                    Key::Proto => subject.proto,
                    Key::Kind => subject.kind,
                    Key::Id => subject.id,
                    Key::Dir => subject.dir,
                    _ => subject.state,
                };
                let found = actual.is_some_and(|actual| self.is(actual, word));
                found != (self.op == Op::Unequal)
            }
        }
    }

    fn compares(&self, actual: u64, number: u64) -> bool {
        match self.op {
            Op::Equal | Op::Contains => actual == number,
            Op::Unequal => actual != number,
            Op::Greater => actual > number,
            Op::Less => actual < number,
            Op::AtLeast => actual >= number,
            Op::AtMost => actual <= number,
        }
    }

    fn is(&self, actual: &str, word: &str) -> bool {
        let actual = if self.key == Key::State { squeeze(actual) } else { actual.to_lowercase() };
        if self.op == Op::Contains {
            return actual.contains(word);
        }
        match self.key {
            Key::Peer => is_peer(&actual, word),
            Key::Id => actual == word || actual.strip_prefix(word).is_some_and(|rest| rest.starts_with('.')),
            _ => actual == word,
        }
    }
}

/// A peer by its whole id, its beginning, its end, or both as tables show it: `16Uiu2…abcdef`.
fn is_peer(actual: &str, word: &str) -> bool {
    match word.split_once('…') {
        Some((start, end)) => actual.starts_with(start) && actual.ends_with(end),
        None => actual.starts_with(word) || actual.ends_with(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject<'static> {
        Subject {
            peer: Some("16Uiu2HAmAAAABBBBCCCC"),
            proto: Some("eth"),
            kind: Some("GetBlockHeaders"),
            id: Some("1.42"),
            dir: Some("out"),
            state: Some("timed_out"),
            wait: Some(7_000_000),
            conn: Some(3),
        }
    }

    fn holds(text: &str) -> bool {
        text.parse::<Filter>().unwrap_or_else(|error| panic!("{text}: {error}")).matches(&subject())
    }

    #[test]
    fn each_key_and_operator_means_what_it_says() {
        for text in [
            "",
            "peer=16Uiu2",
            "peer=BBCCCC",
            "peer=16Uiu2…BBCCCC",
            "peer~aaaabbbb",
            "peer!=12D3",
            "proto=ETH",
            "kind=getblockheaders kind~Headers",
            "id=1.42",
            "id=1",
            "dir=out dir=outbound dir!=in",
            "state=TimedOut state=timed_out STATE!=Ok",
            "wait>5ms wait<=7ms wait>=7ms wait=7ms wait!=8ms wait<0.1s",
            "conn=3 conn>2 conn<4 conn!=4",
            "  proto=eth \t conn=3\n",
        ] {
            assert!(holds(text), "{text}");
        }
        for text in [
            "peer=BBBB",
            "proto=et",
            "kind=Headers",
            "id=1.4",
            "id!=1",
            "dir=in",
            "state=ok",
            "state!=timed_out",
            "wait>7ms",
            "wait<7ms",
            "conn=4",
            "proto=eth conn=4",
            "kind~bodies",
        ] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn what_is_absent_is_equal_to_nothing() {
        let nothing = Subject::default();
        for (text, expected) in [
            ("peer=a", false),
            ("peer!=a", true),
            ("peer~a", false),
            ("wait>1ns", false),
            ("wait!=1ns", true),
            ("conn=0", false),
        ] {
            assert_eq!(text.parse::<Filter>().expect(text).matches(&nothing), expected, "{text}");
        }
    }

    #[test]
    fn a_wrong_term_is_named_with_its_place() {
        for (text, said) in [
            ("proto=eth speed>3", "filter term \"speed>3\" at 11: \"speed\" is not one of peer proto"),
            ("é proto=eth", "filter term \"é\" at 1: an operator is missing"),
            ("proto=eth  kind=", "filter term \"kind=\" at 12: a value is missing behind \"=\""),
            ("wait>5", "\"5\" is not a duration such as 5ms"),
            ("wait>5parsec", "is not a duration"),
            ("wait>1.2.3s", "is not a duration"),
            ("wait>99999999999999m", "is not a duration"),
            ("conn=x", "\"x\" is not a number"),
            ("conn~3", "~ is for words"),
            ("peer>3", "> is for wait and conn"),
            ("dir=up", "dir is out or in"),
            ("peer!3", "not an operator"),
            ("=3", "\"\" is not one of"),
        ] {
            let error = text.parse::<Filter>().expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert_eq!("x".repeat(BYTES_MAX + 1).parse::<Filter>(), Err(FilterError::TooLong));
    }

    #[test]
    fn every_truncation_of_a_long_expression_is_taken_or_refused() {
        let text = "peer=16Uiu2…BBCCCC proto=eth kind~Headers id=1.42 dir=out state!=Ok wait>=5.25ms conn<=3";
        let mut taken = 0;
        for (end, _) in text.char_indices() {
            taken += u32::from(text[..end].parse::<Filter>().is_ok());
        }
        assert!(text.parse::<Filter>().is_ok() && taken > 8);
    }

    #[test]
    fn durations_are_read_to_the_nanosecond() {
        for (text, ns) in [
            ("7ns", 7),
            ("1.5us", 1_500),
            ("5ms", 5_000_000),
            ("0.25s", 250_000_000),
            ("2m", 120_000_000_000),
        ] {
            assert_eq!(duration(text), Ok(ns));
        }
        for text in ["", "s", ".5s", "5.s", "-5s", "5 s", "1e3s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn terms_are_told_from_files() {
        for text in ["peer=x", "wait>5ms", "State!=Ok", "kind~x"] {
            assert!(Filter::is_term(text), "{text}");
        }
        for text in ["a.jsonl", "peer", "peers=1", "dir/file=1", "é=1", ""] {
            assert!(!Filter::is_term(text), "{text}");
        }
    }
}
