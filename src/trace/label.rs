//! Words known at compile time, by number: what an event can carry in two bytes.
//!
//! One table for the process: it only ever holds `&'static str`s, so it is bounded by the program.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use super::record::Name;

/// The number of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Label(pub(super) u16);

macro_rules! fixed {
    ($($name:ident = $word:literal,)*) => {
        /// Words with numbers of their own, so that the hot path looks nothing up.
        const FIXED: &[&str] = &["", $($word),*];

        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u16)]
        enum Number { NONE, $($name),* }

        impl Label {
            /// No word.
            pub(crate) const NONE: Self = Self(Number::NONE as u16);
            $(pub(crate) const $name: Self = Self(Number::$name as u16);)*
        }
    };
}

fixed! {
    OK = "ok",
    BUSY = "busy",
    UNSUPPORTED = "unsupported",
    TIMED_OUT = "timed_out",
    DISCONNECTED = "disconnected",
    WRONG_KIND = "wrong_kind",
    MALFORMED = "malformed",
    PANICKED = "panicked",
    SHUTDOWN = "shutdown",
    CANCELLED = "cancelled",
    LATE = "late",
    DUPLICATE = "duplicate",
    UNKNOWN = "unknown",
    FULL = "full",
    STOPPED = "stopped",
    FAILED = "failed",
    SERVING = "serving",
    OWED = "owed",
    TAKEN = "taken",
    DROPPED = "dropped",
    LOCAL = "local",
    REMOTE = "remote",
    TRANSPORT = "transport",
    QUEUED = "queued",
    WRITTEN = "written",
    DELIVERED = "delivered",
    ENCODED = "encoded",
}

/// Words met at run time, behind the fixed ones.
static MET: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// Places for words that a thread has met, found by their address; one that another has taken is
/// looked up in the table.
const KNOWN: usize = 128;

thread_local! {
    static CACHE: [Cell<(&'static str, Label)>; KNOWN] = const { [const { Cell::new(("", Label::NONE)) }; KNOWN] };
}

impl Label {
    /// The number of a word. More than 65,000 different ones are all "…".
    #[inline]
    pub(crate) fn of(word: &'static str) -> Self {
        let address = word.as_ptr() as usize;
        let place = (address ^ address >> 7) % KNOWN;
        CACHE.with(|known| {
            // Two places: two words that are used in turns never drive each other out.
            let beside = place ^ 1;
            for place in [place, beside] {
                let (met, label) = known[place].get();
                if std::ptr::eq(met, word) {
                    return label;
                }
            }
            let label = Self::meet(word);
            known[beside].set(known[place].replace((word, label)));
            label
        })
    }

    /// The number of a type's name.
    pub(crate) fn of_type<T: ?Sized>() -> Self {
        Self::of(std::any::type_name::<T>())
    }

    fn meet(word: &'static str) -> Self {
        let mut met = MET.lock().unwrap_or_else(PoisonError::into_inner);
        let at = met.iter().position(|known| *known == word).unwrap_or_else(|| {
            met.push(word);
            met.len() - 1
        });
        u16::try_from(FIXED.len() + at).map_or(Self::NONE, Self)
    }

    /// The word, as files carry it: of a type's path only the last part.
    pub(crate) fn word(self) -> String {
        let index = usize::from(self.0);
        match FIXED.get(index) {
            Some(word) => (*word).to_owned(),
            None => {
                let met = MET.lock().unwrap_or_else(PoisonError::into_inner);
                met.get(index - FIXED.len()).map_or_else(|| "…".to_owned(), |word| short(word))
            }
        }
    }
}

/// Characters of a word at most: names of nested types grow without measure.
const WORD_CHARS: usize = 64;

/// `a::b::Type<c::d::Other>` to `Type<Other>`; `<a::Type as b::Trait>::method` to `Type.method`;
/// closures get a `+`.
fn short(path: &str) -> String {
    let path = path.replace("::{{closure}}", "+").replace("dyn ", "");
    let (mut out, mut part) = (String::new(), String::new());
    let mut chars = path.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ':' if chars.peek() == Some(&':') => part.clear(),
            ':' => {}
            '<' | '>' | ',' | ' ' | '(' | ')' | '[' | ']' | '&' | ';' => {
                out.push_str(&part);
                part.clear();
                out.push(c);
            }
            c => part.push(c),
        }
    }
    out.push_str(&part);
    if let Some((of, method)) = out.strip_prefix('<').and_then(|out| out.rsplit_once('>')) {
        let of = of.rsplit_once(" for ").map_or(of, |(_, of)| of);
        let of = of.split_once(" as ").map_or(of, |(of, _)| of);
        out = format!("{of}.{method}");
    }
    if out.chars().count() > WORD_CHARS {
        out = out.chars().take(WORD_CHARS - 1).chain(['…']).collect();
    }
    out
}

/// Resolves labels to shared words, remembering them.
#[derive(Debug, Default)]
pub(crate) struct Words {
    known: Vec<Option<Name>>,
}

impl Words {
    /// The word of a label; `None` for no word.
    pub(crate) fn get(&mut self, label: Label) -> Option<Name> {
        if label == Label::NONE {
            return None;
        }
        let index = usize::from(label.0);
        if self.known.len() <= index {
            self.known.resize(index + 1, None);
        }
        Some(Arc::clone(self.known[index].get_or_insert_with(|| label.word().into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_again_and_types_are_short() {
        assert_eq!(Label::OK.word(), "ok");
        assert_eq!(Label::ENCODED.word(), "encoded");
        let label = Label::of("a word of this test");
        assert_eq!((label, label.word().as_str()), (Label::of("a word of this test"), "a word of this test"));
        assert_eq!(Label::of_type::<Option<std::vec::Vec<u8>>>().word(), "Option<Vec<u8>>");
        let timer = || 1;
        fn name<T>(_: &T) -> Label {
            Label::of_type::<T>()
        }
        assert_eq!(name(&timer).word(), "words_are_found_again_and_types_are_short+");
        assert_eq!(short("<a::b::Manager as actix::Actor>::started::{{closure}}"), "Manager.started+");
        assert_eq!(short("a::<impl x::Handler<y::Bye> for z::Manager>::handle"), "Manager.handle");
        assert_eq!(short("/yamux/1.0.0"), "/yamux/1.0.0");
        assert!(short(&"Vec<".repeat(100)).chars().count() <= WORD_CHARS);
        assert_eq!(Words::default().get(Label::NONE), None);
        assert_eq!(Words::default().get(label).as_deref(), Some("a word of this test"));
    }
}
