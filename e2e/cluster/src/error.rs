//! What can go wrong while a cluster is started, used or stopped; each message names the thing and, where one exists,
//! the cure.

use std::{io, path::PathBuf, time::Duration};

use crate::preflight::Findings;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on a cluster could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks something that the cluster needs; nothing was started.
    #[error("this machine cannot run the cluster:\n{0}")]
    Preflight(Findings),
    /// What was asked for cannot be done as things stand.
    #[error("{problem}: {cure}")]
    Refused {
        /// What is wrong.
        problem: String,
        /// What to do about it.
        cure: String,
    },
    /// A file or a system call failed.
    #[error("cannot {action}")]
    Io {
        /// What was tried, as in "read /proc/self/cgroup".
        action: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program could not be started, or ended with a failure.
    #[error("`{command}` failed ({status}): {output}")]
    Program {
        /// The command line.
        command: String,
        /// Its exit status, or why it could not be started.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// Something did not happen in time.
    #[error("{what} not seen within {} s; last seen: {last}", limit.as_secs())]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// The state at the end of the wait, with the end of the log that explains it.
        last: String,
    },
    /// A certificate or key could not be made.
    #[error("cannot make the certificate of {subject}")]
    Certificate {
        /// Whose certificate.
        subject: String,
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
    /// A file of the cluster's state does not have the form that this version writes.
    #[error("{} is damaged ({detail}): remove the cluster with `down`", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    /// A refusal with its cure.
    pub(crate) fn refused(problem: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Refused { problem: problem.into(), cure: cure.into() }
    }
}

/// Names the action that an I/O error belongs to.
pub(crate) trait Doing<T> {
    /// Wraps the error as "cannot `action`"; the text is only made on failure.
    fn doing(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Io { action: action(), source: error.into() })
    }
}
