//! What a person sees of long work: a bar on a terminal, a line now and then elsewhere, and at the end of each stage the
//! time it took.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a stage says that it goes on where no bar can be drawn: CI logs stay short, and nobody takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(120);

/// Collects the stages of one command.
#[derive(Debug)]
pub struct Progress {
    voice: Voice,
    finished: Mutex<Vec<(String, Duration)>>,
}

/// One stage under way.
#[derive(Debug)]
pub struct Stage {
    what: String,
    start: Instant,
    bar: ProgressBar,
    voice: Voice,
    last_line: Mutex<Instant>,
}

/// How stages are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    /// Bars on a terminal, and a line at the end of each stage.
    Bars,
    /// Lines.
    Lines,
    /// Not at all.
    Silent,
}

impl Voice {
    fn say(self, line: &str) {
        if self != Self::Silent {
            // Nothing can be said about a standard error that is closed.
            _ = writeln!(io::stderr().lock(), "{line}");
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Reports to standard error.
    pub fn new() -> Self {
        let voice = if io::stderr().is_terminal() { Voice::Bars } else { Voice::Lines };
        Self { voice, finished: Mutex::default() }
    }

    /// Keeps silent, and keeps the times.
    pub fn silent() -> Self {
        Self { voice: Voice::Silent, finished: Mutex::default() }
    }

    /// Does `work` under a name and reports how long it took, or that it failed.
    pub fn stage<T, E>(&self, what: &str, work: impl FnOnce(&Stage) -> Result<T, E>) -> Result<T, E> {
        let stage = Stage::begin(what, self.voice);
        let outcome = work(&stage);
        let took = stage.start.elapsed();
        stage.bar.finish_and_clear();
        let mark = if outcome.is_ok() { "ok" } else { "FAILED" };
        self.voice.say(&format!("{:>7.1} s  {what}: {mark}", took.as_secs_f64()));
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).push((what.to_owned(), took));
        outcome
    }

    /// One line between stages.
    pub fn note(&self, text: &str) {
        self.voice.say(&format!("           {text}"));
    }

    /// The finished stages, in order, with their times: a table for the end of a command.
    pub fn table(&self) -> String {
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = String::new();
        for (what, took) in finished.iter() {
            // Writing to a String cannot fail.
            _ = writeln!(table, "{:>8.1} s  {what}", took.as_secs_f64());
        }
        table
    }
}

impl Stage {
    fn begin(what: &str, voice: Voice) -> Self {
        let target = match voice {
            Voice::Bars => ProgressDrawTarget::stderr(),
            Voice::Lines | Voice::Silent => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target).with_message(what.to_owned());
        bar.set_style(style("{elapsed:>7}    {spinner} {msg}"));
        bar.enable_steady_tick(TICK);
        Self {
            what: what.to_owned(),
            start: Instant::now(),
            bar,
            voice,
            last_line: Mutex::new(Instant::now()),
        }
    }

    /// Says how many parts there are; the bar then shows a share.
    pub fn set_total(&self, parts: u64) {
        self.bar.set_length(parts);
        self.bar.set_style(style("{elapsed:>7}    {bar:30} {pos}/{len} {msg}"));
    }

    /// One part is done.
    pub fn advance(&self) {
        self.bar.inc(1);
        if let Some(line) = self.heartbeat(Instant::now()) {
            self.voice.say(&line);
        }
    }

    /// The line that is due, where lines are all that is seen.
    fn heartbeat(&self, now: Instant) -> Option<String> {
        if self.voice != Voice::Lines {
            return None;
        }
        let mut last_line = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(*last_line) < HEARTBEAT {
            return None;
        }
        *last_line = now;
        let total = self.bar.length().map(|total| format!("/{total}")).unwrap_or_default();
        let elapsed = now.saturating_duration_since(self.start).as_secs_f64();
        Some(format!("{elapsed:>7.1} s  {}: {}{total}", self.what, self.bar.position()))
    }
}

/// A template of ours that indicatif cannot read would be a bar without text, never a failed build.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_stage_in_order_failed_ones_too() {
        let progress = Progress::silent();
        progress.stage("first", |_| Ok::<_, ()>(())).unwrap();
        progress.stage("second", |_| Err::<(), _>("no")).unwrap_err();
        let table = progress.table();
        let names: Vec<_> = table.lines().filter_map(|line| line.split("  ").last()).collect();
        assert_eq!(names, ["first", "second"]);
    }

    #[test]
    fn where_no_bar_is_drawn_a_line_says_now_and_then_how_far_it_is() {
        let stage = Stage::begin("build", Voice::Lines);
        stage.set_total(7);
        stage.advance();
        stage.advance();
        let soon = stage.start + Duration::from_secs(1);
        let due = soon + HEARTBEAT;
        assert_eq!(stage.heartbeat(soon), None);
        assert_eq!(stage.heartbeat(due).unwrap(), "   16.0 s  build: 2/7");
        assert_eq!(stage.heartbeat(due + HEARTBEAT / 2), None);
        assert!(stage.heartbeat(due + HEARTBEAT).is_some());
        for voice in [Voice::Bars, Voice::Silent] {
            assert_eq!(Stage::begin("build", voice).heartbeat(due + HEARTBEAT), None, "{voice:?}");
        }
    }
}
