//! The program, as whoever starts it sees it.

mod monitoring;
mod process;
mod program;
