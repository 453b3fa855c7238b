//! What can go wrong between a client and the API server.

use std::time::Duration;

/// How a request goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It never arrives.
    Lost,
    /// It is carried out, and its answer never arrives.
    AnswerLost,
    /// It arrives, and nothing ever comes back.
    Hang,
    /// It arrives after this time, and is carried out even if nobody waits for it any more. No answer arrives.
    Late(Duration),
    /// A watch that ends at once, without an event.
    Ended,
    /// The server refuses it with this code and this message.
    Refused(u16, &'static str),
}

/// Which requests go wrong, and how.
#[derive(Clone, Debug)]
pub struct Fault {
    pub(crate) verb: &'static str,
    pub(crate) path: &'static str,
    pub(crate) passed: usize,
    pub(crate) times: usize,
    pub(crate) effect: Effect,
}

impl Fault {
    /// The first request with this verb (as RBAC spells it) whose path ends in `path`.
    pub fn new(verb: &'static str, path: &'static str, effect: Effect) -> Self {
        Self { verb, path, passed: 0, times: 1, effect }
    }

    /// Lets `passed` such requests pass first.
    #[must_use]
    pub fn after(self, passed: usize) -> Self {
        Self { passed, ..self }
    }

    /// That many in a row, not only one.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// How this request goes wrong, if it does. Counts it.
    pub(crate) fn hits(&mut self, verb: &str, path: &str) -> Option<Effect> {
        if self.times == 0 || self.verb != verb || !path.ends_with(self.path) {
            return None;
        }
        if self.passed > 0 {
            self.passed -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.effect.clone())
    }
}
