//! The API server's audit log as a witness.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::PathBuf,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{NAMESPACE, Outcome};

/// What the API server was asked since a moment.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    start: u64,
}

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asked.
    pub user: String,
    /// What for, as RBAC names it.
    pub verb: String,
    /// The resource, with its subresource behind a slash.
    pub resource: String,
    /// The object's name; empty for a list or a creation.
    pub name: String,
    /// The HTTP status.
    pub code: u64,
    /// When it came.
    pub at: Timestamp,
}

/// Verbs that change something.
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

impl Request {
    /// Whether it asked for a change. A Lease is renewed every 2 s: that is a sign of life.
    pub fn is_write(&self) -> bool {
        WRITES.contains(&self.verb.as_str()) && self.resource != "leases"
    }

    /// Whether it was not refused.
    pub fn was_carried_out(&self) -> bool {
        self.code < 400
    }

    fn parse(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = event.get("objectRef").cloned().unwrap_or_default();
        let field = |name: &str| object.get(name).map(text).unwrap_or_default();
        let (resource, subresource) = (field("resource"), field("subresource"));
        Some(Self {
            user: event.pointer("/user/username").map(text)?,
            verb: event.get("verb").map(text)?,
            resource: if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") },
            name: field("name"),
            code: event.pointer("/responseStatus/code")?.as_u64()?,
            at: event.get("requestReceivedTimestamp")?.as_str()?.parse().ok()?,
        })
    }
}

impl Audit {
    pub(crate) fn from_now(path: PathBuf) -> Outcome<Self> {
        let start = path.metadata()?.len();
        Ok(Self { path, start })
    }

    /// Everything since the log began.
    pub fn whole(path: PathBuf) -> Self {
        Self { path, start: 0 }
    }

    /// The requests so far. A watch appears when it ends.
    pub fn requests(&self) -> Outcome<Vec<Request>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.start))?;
        // The last line may be half written.
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        Ok(lines.filter_map(|line| Request::parse(&line)).collect())
    }

    /// What one user has tried to change so far, refused or not.
    pub fn attempts_of(&self, user: &str) -> Outcome<Vec<Request>> {
        Ok(self
            .requests()?
            .into_iter()
            .filter(|request| request.user == user && request.is_write())
            .collect())
    }

    /// What accounts of ours were forbidden so far.
    pub fn forbidden(&self) -> Outcome<Vec<Request>> {
        let ours = format!("system:serviceaccount:{NAMESPACE}:");
        let denied = |request: &Request| request.code == 403 && request.user.starts_with(&ours);
        Ok(self.requests()?.into_iter().filter(denied).collect())
    }

    /// What one user has changed so far. A write that lost to another one, and so was refused, has changed nothing.
    pub fn writes_of(&self, user: &str) -> Outcome<Vec<Request>> {
        Ok(self.attempts_of(user)?.into_iter().filter(Request::was_carried_out).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LINE: &str = r#"{"user":{"username":"alice"},"verb":"patch","objectRef":{"resource":"nodepools","subresource":"status","name":"p"},"responseStatus":{"code":403},"requestReceivedTimestamp":"2026-11-25T01:02:03.000456Z"}"#;

    #[test]
    fn a_line_says_who_asked_for_what_and_how_it_went() {
        let expected = Request {
            user: "alice".to_owned(),
            verb: "patch".to_owned(),
            resource: "nodepools/status".to_owned(),
            name: "p".to_owned(),
            code: 403,
            at: "2026-11-25T01:02:03.000456Z".parse().unwrap(),
        };
        assert_eq!(Request::parse(LINE), Some(expected));
    }

    #[test]
    fn only_what_came_after_the_beginning_is_seen() {
        let path = std::env::temp_dir().join(format!("audit-{}.log", std::process::id()));
        let mut file = File::create(&path).unwrap();
        writeln!(file, "{LINE}").unwrap();
        let audit = Audit::from_now(path.clone()).unwrap();
        assert_eq!(audit.requests().unwrap(), []);
        write!(file, "{LINE}\n{{\"user\":").unwrap();
        assert_eq!(audit.attempts_of("alice").unwrap().len(), 1);
        assert_eq!(audit.writes_of("alice").unwrap(), [], "what was refused has changed nothing");
        assert_eq!(audit.writes_of("bob").unwrap(), []);
        assert_eq!(Audit::whole(path.clone()).requests().unwrap().len(), 2);
        std::fs::remove_file(path).unwrap();
    }
}
