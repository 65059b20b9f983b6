//! The expressions that containers bring in their labels. Nobody who runs the agent has looked at
//! them, so their cost is bounded before they are used.
//!
//! An expression with counted repetitions can cost thousands of steps for each byte of a line, and
//! all containers are read by one thread. So such an expression is compiled to a complete automaton
//! (a DFA): one step for each byte, whatever the expression and the line. What does not fit into a
//! small automaton is refused when the container is met. Nothing is left to be found out while
//! lines come.
//!
//! The memory of all containers' automata together is bounded, too. Containers with the same text
//! share one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};
use regex_syntax::hir::{Hir, HirKind, Look};

/// Bytes of an expression's text. Parsing takes a multiple of it.
const LONGEST: usize = 1024;
/// Bytes of one automaton, and of what building it takes beside. A time with its date, a zone and a
/// level takes 260 KiB; building what is larger than this ends after 15 ms.
const LARGEST: usize = 320 * 1024;
/// Bytes of all automata.
const ALL: usize = 4 << 20;
/// Different expressions at a time, refused ones included: each was built once, or was tried.
const MOST: usize = 64;

/// The expressions that containers have now.
#[derive(Debug)]
pub(super) struct Expressions {
    /// Bytes that all automata may have.
    room: usize,
    known: Mutex<HashMap<String, Weak<Expression>>>,
}

/// A container's expression, compiled or refused. Its container keeps it, also where it is refused,
/// so that the same text is not tried again for the next container.
pub struct Expression {
    text: String,
    compiled: Result<dense::DFA<Vec<u32>>, Refusal>,
}

/// Why an expression is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("an expression must not be longer than {LONGEST} bytes")]
    Long,
    #[error("{0}")]
    Malformed(String),
    #[error("an expression must not need more than {} KiB of memory", LARGEST >> 10)]
    Large,
    #[error("the expressions in all containers' labels need more than {} MiB of memory", ALL >> 20)]
    NoRoom,
    #[error("there are more than {MOST} different expressions in containers' labels")]
    Many,
}

impl Default for Expressions {
    fn default() -> Self {
        Self::with_room(ALL)
    }
}

impl Expressions {
    fn with_room(room: usize) -> Self {
        Self {
            room,
            known: Mutex::default(),
        }
    }

    /// The expression of this text.
    pub(super) fn get(&self, text: &str) -> Arc<Expression> {
        let refused = |refusal| {
            Arc::new(Expression {
                text: String::new(),
                compiled: Err(refusal),
            })
        };
        if text.len() > LONGEST {
            return refused(Refusal::Long);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(expression) = known.get(text).and_then(Weak::upgrade) {
            return expression;
        }
        known.retain(|_, expression| expression.strong_count() > 0);
        if known.len() >= MOST {
            return refused(Refusal::Many);
        }
        let used: usize = known.values().filter_map(Weak::upgrade).map(|it| it.size()).sum();
        let expression = Arc::new(Expression {
            text: text.to_owned(),
            compiled: compile(text, self.room.saturating_sub(used)),
        });
        known.insert(text.to_owned(), Arc::downgrade(&expression));
        expression
    }
}

impl Expression {
    /// Why it must not be used.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.compiled.as_ref().err()
    }

    /// Whether it matches anywhere in `text`. A refused one matches nothing.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let Ok(automaton) = &self.compiled else {
            return false;
        };
        // An error is a byte at which the automaton gives up, and it was built without any.
        let found = automaton.try_search_fwd(&Input::new(text).earliest(true));
        found.is_ok_and(|found| found.is_some())
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Bytes that it holds.
    fn size(&self) -> usize {
        self.compiled.as_ref().map_or(0, |automaton| automaton.memory_usage())
    }
}

/// Without the automaton's table of thousands of numbers.
impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression")
            .field("text", &self.text)
            .field("refusal", &self.refusal())
            .finish_non_exhaustive()
    }
}

/// The syntax is that of the configuration's own expressions, but that `\b` and its like know ASCII
/// words only: an automaton cannot look at whole letters before and behind.
fn compile(text: &str, room: usize) -> Result<dense::DFA<Vec<u32>>, Refusal> {
    // A line need not be UTF-8.
    let syntax = syntax::Config::new().utf8(false);
    let parsed = syntax::parse_with(text, &syntax).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let limit = LARGEST.min(room);
    let too_large = || {
        if room < LARGEST {
            Refusal::NoRoom
        } else {
            Refusal::Large
        }
    };
    let states = thompson::Compiler::new()
        .configure(
            thompson::Config::new()
                .utf8(false)
                .which_captures(WhichCaptures::None)
                .nfa_size_limit(Some(LARGEST)),
        )
        .build_from_hir(&with_ascii_boundaries(parsed))
        .map_err(|_| Refusal::Large)?;
    dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Unanchored)
                // Where a match is found first does not matter, only whether there is one.
                .match_kind(MatchKind::All)
                .dfa_size_limit(Some(limit))
                .determinize_size_limit(Some(limit)),
        )
        .build_from_nfa(&states)
        .map_err(|_| too_large())
}

/// Groups go as well: nobody asks for them. The depth is bounded by the parser.
fn with_ascii_boundaries(hir: Hir) -> Hir {
    let all = |parts: Vec<Hir>| parts.into_iter().map(with_ascii_boundaries).collect();
    match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(match look {
            Look::WordUnicode => Look::WordAscii,
            Look::WordUnicodeNegate => Look::WordAsciiNegate,
            Look::WordStartUnicode => Look::WordStartAscii,
            Look::WordEndUnicode => Look::WordEndAscii,
            Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
            Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
            other => other,
        }),
        HirKind::Repetition(mut repetition) => {
            repetition.sub = Box::new(with_ascii_boundaries(*repetition.sub));
            Hir::repetition(repetition)
        }
        HirKind::Capture(capture) => with_ascii_boundaries(*capture.sub),
        HirKind::Concat(parts) => Hir::concat(all(parts)),
        HirKind::Alternation(parts) => Hir::alternation(all(parts)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::expression;

    /// What somebody would write, and lines that it is for.
    const USUAL: [(&str, &str); 10] = [
        (r"^\d{4}-\d{2}-\d{2}", "2026-11-20 start"),
        (r"^\S", "Exception in thread"),
        (r"^\w+ fails", "größe fails"),
        (r"^(?:TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL)\b", "WARN: x"),
        (
            r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?\s+(?:TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL)",
            "2026-11-20T15:04:58.123Z  INFO x",
        ),
        (r"^\w+\s+\d+\s+\d\d:\d\d:\d\d", "Nov 20 15:04:58 x"),
        (r"(?i)exception|traceback", "an EXCEPTION"),
        (r"^\[", "[x"),
        (r"\bpanicked at", "thread 'main' panicked at"),
        ("", ""),
    ];

    #[test]
    fn usual_expressions_match_what_the_configurations_own_match() {
        let expressions = Expressions::default();
        let kept: Vec<_> = USUAL.iter().map(|(text, _)| expressions.get(text)).collect();
        for (compiled, (text, line)) in kept.iter().zip(USUAL) {
            assert_eq!(compiled.refusal(), None, "{text}");
            assert!(compiled.is_match(line.as_bytes()), "{text} {line}");
            let plain = expression(text).unwrap();
            let lines = USUAL.iter().map(|(_, line)| line.as_bytes());
            for line in lines.chain([b"".as_slice(), b"  at a", b"\xff\xfe", b"xpanicked at\n"]) {
                let said = String::from_utf8_lossy(line);
                assert_eq!(compiled.is_match(line), plain.is_match(line), "{text} {said}");
            }
        }
        assert!(kept.iter().map(|it| it.size()).sum::<usize>() < ALL);
    }

    #[test]
    fn what_would_cost_much_is_refused() {
        let expressions = Expressions::default();
        for text in [
            r"a[ab]{10000}[^ab]",
            r"a[ab]{300}[^ab]",
            r"(a|b)*a(a|b){14}",
            r"[01]*1[01]{30}",
            r"^\w{20}",
            r"(((a{100}){100}){100})",
        ] {
            let refused = expressions.get(text);
            assert_eq!(refused.refusal(), Some(&Refusal::Large), "{text}");
            assert!(!refused.is_match(b"aaa"), "{text}");
        }
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(expressions.get(&long).refusal(), Some(&Refusal::Long));
        let malformed = expressions.get("(");
        assert!(matches!(malformed.refusal(), Some(Refusal::Malformed(_))));
    }

    #[test]
    fn equal_texts_share_one_and_what_no_container_has_is_gone() {
        let expressions = Expressions::default();
        let first = expressions.get("^a");
        assert!(Arc::ptr_eq(&first, &expressions.get("^a")));
        let refused = expressions.get("a{100000}");
        assert!(Arc::ptr_eq(&refused, &expressions.get("a{100000}")));
        drop((first, refused));
        expressions.get("^b");
        assert_eq!(expressions.known.lock().unwrap().len(), 1);
    }

    #[test]
    fn many_different_ones_are_refused_until_others_go() {
        let expressions = Expressions::default();
        let mut kept: Vec<_> = (0..MOST).map(|n| expressions.get(&format!("^{n}"))).collect();
        assert!(kept.iter().all(|it| it.refusal().is_none()));
        assert_eq!(expressions.get("^more").refusal(), Some(&Refusal::Many));
        kept.pop();
        assert_eq!(expressions.get("^more").refusal(), None);
    }

    #[test]
    fn all_together_are_bounded() {
        let text = |n| format!(r"^\d+ \d{{2}} {n}");
        let one = Expressions::default().get(&text(1)).size();
        let expressions = Expressions::with_room(3 * one);
        let kept = [1, 2, 3, 4].map(|n| expressions.get(&text(n)));
        let size: usize = kept.iter().map(|it| it.size()).sum();
        let refusals = kept.each_ref().map(|it| it.refusal());
        assert_eq!((refusals[0], refusals[3]), (None, Some(&Refusal::NoRoom)));
        assert!(one > 0 && size <= 3 * one, "{one} {size}");
    }

    /// The time that a match takes where nobody else has the core meanwhile.
    fn least(mut is_match: impl FnMut() -> bool) -> Duration {
        let one = |_| {
            let start = Instant::now();
            std::hint::black_box(is_match());
            start.elapsed()
        };
        (0..50).map(one).min().unwrap_or_default()
    }

    #[test]
    fn a_byte_costs_the_same_whatever_the_expression() {
        let expressions = Expressions::default();
        let line = vec![b'a'; 64 * 1024];
        // The most states that an accepted one has, and a simple one that looks at each byte, too.
        let costly = expressions.get(r"(a|b)*a(a|b){9}[^ab]");
        let simple = expressions.get("^a*b");
        assert_eq!((costly.refusal(), simple.refusal()), (None, None));
        let simple = least(|| simple.is_match(&line));
        let costly = least(|| costly.is_match(&line));
        println!("{:.1} times", costly.as_secs_f64() / simple.as_secs_f64());
        // 300 states at a time would cost 300 times as much.
        assert!(costly < simple * 20, "{costly:?} to {simple:?}");
    }
}
