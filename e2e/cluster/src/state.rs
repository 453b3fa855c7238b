//! What is known of a cluster after the program that started it has ended: a folder per cluster, with one JSON file that
//! is written before the first process starts, and a record per process that the process wrote itself.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    cgroup::Hierarchy,
    error::{Doing, Error, Result},
    program::wait_for,
    spec::Spec,
};

/// The version of [`State`]'s form; another one is not read.
const VERSION: u32 = 1;

/// Longer than any command holds the lock.
const LOCK_LIMIT: Duration = Duration::from_secs(300);

/// The longest name: it becomes part of a cgroup directory, a context and a path.
const NAME_LIMIT: usize = 40;

/// The name of a cluster: lower-case letters, digits and `-`, at most 40 characters, starting with a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// The folder of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    name: Name,
    path: PathBuf,
}

/// Keeps other programs from changing clusters of this user at the same time, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _folder: File,
}

/// How far `up` came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// `up` has begun and not ended: it runs right now, or it was interrupted.
    Starting,
    /// `up` ended well.
    Up,
}

/// The cluster as it was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// The boot of the machine that the recorded processes belong to.
    pub(crate) boot: String,
    /// How far `up` came.
    pub phase: Phase,
    /// What was asked for.
    pub spec: Spec,
    /// Where the API is served on 127.0.0.1.
    pub port: u16,
    /// Where the caller of `up` stood: cgroup directories are found through this, not worked out again.
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// The folder of the Kubernetes programs that this cluster runs.
    pub(crate) programs: PathBuf,
}

impl Name {
    /// Checks a name.
    pub fn try_new(name: &str) -> Result<Self> {
        let legal = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
        };
        let starts = name.starts_with(|character: char| character.is_ascii_lowercase());
        if !starts || name.len() > NAME_LIMIT || !name.chars().all(legal) {
            return Err(Error::refused(
                format!("{name:?} is no name for a cluster"),
                format!("use at most {NAME_LIMIT} of a-z, 0-9 and -, starting with a letter"),
            ));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Folder {
    /// The folder of the cluster `name`: `$XDG_STATE_HOME/stowage/NAME`, by default `~/.local/state/stowage/NAME`.
    pub fn of(name: Name) -> Result<Self> {
        let path = parent_folder()?.join(name.as_str());
        Ok(Self { name, path })
    }

    /// The cluster's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the cluster's control groups, below the caller's own: another one for each folder of state, where
    /// the same name may stand for another cluster.
    pub(crate) fn cgroup(&self) -> String {
        let digest = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
        format!("stowage-{}-{:.6}", self.name.as_str(), base16ct::lower::encode_string(&digest))
    }

    /// The record of the process `name`.
    pub(crate) fn record(&self, name: &str) -> PathBuf {
        self.path.join("run").join(name)
    }

    /// The names of the processes that recorded themselves.
    pub(crate) fn records(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path.join("run")).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The log of the program `program` on the machine `host`.
    pub fn log(&self, host: &str, program: &str) -> PathBuf {
        self.path.join("log").join(host).join(format!("{program}.log"))
    }

    /// The folder of keys and certificates.
    pub(crate) fn pki(&self) -> PathBuf {
        self.path.join("pki")
    }

    /// What the machine `host` keeps on disk.
    pub(crate) fn disk(&self, host: &str) -> PathBuf {
        self.path.join("hosts").join(host)
    }

    /// One of this crate's own programs, as the cluster runs it.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.path.join("bin").join(name)
    }

    /// The image that holds every pod's namespaces.
    pub(crate) fn pause_image(&self) -> PathBuf {
        self.path.join("pause.tar")
    }

    /// The archives of images that were loaded.
    pub(crate) fn images(&self) -> PathBuf {
        self.path.join("images")
    }

    /// Makes the folder and what stands in it.
    pub(crate) fn create(&self) -> Result<()> {
        for part in ["bin", "hosts", "images", "log", "pki", "run"] {
            create_dir(&self.path.join(part))?;
        }
        Ok(())
    }

    /// Removes the folder and all in it.
    pub(crate) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).doing(|| format!("remove {}", self.path.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn file(&self) -> PathBuf {
        self.path.join("state.json")
    }

    /// Reads the state; nothing where no cluster of this name was started.
    pub fn state(&self) -> Result<Option<State>> {
        let path = self.file();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.doing(|| format!("read {}", path.display()))?,
        };
        let damaged = |detail: String| Error::State { path: path.clone(), detail };
        let state: State = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if state.version != VERSION {
            return Err(damaged(format!("version {} instead of {VERSION}", state.version)));
        }
        Ok(Some(state))
    }

    /// Writes the state so that a reader, or a crash, sees the old or the new one and nothing between.
    pub(crate) fn write(&self, state: &State) -> Result<()> {
        let text = serde_json::to_string_pretty(state).doing(|| "write the state as JSON".to_owned())?;
        let path = self.file();
        let new = path.with_extension("json.new");
        fs::write(&new, text).doing(|| format!("write {}", new.display()))?;
        fs::rename(&new, &path).doing(|| format!("put {} in place", path.display()))
    }
}

impl State {
    /// The state of a cluster that is about to be started on this boot of the machine.
    pub(crate) fn starting(
        spec: Spec,
        port: u16,
        hierarchies: Vec<Hierarchy>,
        programs: PathBuf,
    ) -> Result<Self> {
        Ok(Self {
            version: VERSION,
            boot: this_boot()?,
            phase: Phase::Starting,
            spec,
            port,
            hierarchies,
            programs,
        })
    }
}

impl Lock {
    /// Waits until no other program changes clusters of this user; `up`, the longest, takes a minute at most.
    ///
    /// The folder of all clusters is locked, rather than a file of its own that would be left behind.
    pub(crate) fn acquire() -> Result<Self> {
        let path = parent_folder()?;
        create_dir(&path)?;
        let folder = File::open(&path).doing(|| format!("open {}", path.display()))?;
        wait_for("the end of another command on clusters", LOCK_LIMIT, || lock(&folder))?;
        Ok(Self { _folder: folder })
    }
}

/// Takes an advisory lock, or says why not yet.
pub(crate) fn lock(file: &File) -> std::result::Result<(), String> {
    file.try_lock().map_err(|error| format!("another program holds the lock ({error})"))
}

/// The names of the clusters that have a folder.
pub fn names() -> Result<Vec<Name>> {
    let entries = fs::read_dir(parent_folder()?).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names.iter().filter_map(|name| Name::try_new(name).ok()).collect())
}

/// The identity of the machine's present boot: process ids of another one mean nothing.
pub(crate) fn this_boot() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path).doing(|| format!("read {path}"))?.trim().to_owned())
}

/// Makes a folder and those above it.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).doing(|| format!("make {}", path.display()))
}

/// `$variable`, or `below` in the user's home.
pub(crate) fn user_folder(variable: &str, below: &str) -> Result<PathBuf> {
    chosen(env::var_os(variable), env::var_os("HOME"), below).ok_or_else(|| {
        Error::refused(format!("neither {variable} nor HOME is set"), format!("set {variable} to a folder"))
    })
}

/// An empty variable is as good as none.
fn chosen(named: Option<OsString>, home: Option<OsString>, below: &str) -> Option<PathBuf> {
    let set = |value: Option<OsString>| value.filter(|value| !value.is_empty()).map(PathBuf::from);
    set(named).or_else(|| Some(set(home)?.join(below)))
}

/// The folder of all clusters of this user.
pub(crate) fn parent_folder() -> Result<PathBuf> {
    Ok(user_folder("XDG_STATE_HOME", ".local/state")?.join("stowage"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder { name: Name::try_new("lab").unwrap(), path: dir.path().join("lab") };
        folder.create().unwrap();
        (dir, folder)
    }

    #[test]
    fn a_name_that_is_no_path_or_label_is_refused() {
        let cases = [
            ("", "nothing"),
            ("1a", "starts with a digit"),
            ("a/b", "leaves its folder"),
            ("..", "leaves its folder"),
            ("Lab", "capitals"),
            ("a2345678901234567890123456789012345678901", "too long"),
        ];
        for (name, because) in cases {
            let error = Name::try_new(name).expect_err(because).to_string();
            assert!(error.contains("starting with a letter"), "{because}: {error}");
        }
        for name in ["lab-2", "a234567890123456789012345678901234567890"] {
            assert_eq!(Name::try_new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let (_dir, folder) = folder();
        assert_eq!(folder.state().unwrap(), None);
        let state = State::starting(Spec::default(), 16_443, Vec::new(), "/tools/abc".into()).unwrap();
        folder.write(&state).unwrap();
        assert_eq!(folder.state().unwrap(), Some(state));
    }

    #[test]
    fn a_state_of_another_version_is_refused_with_the_cure() {
        let (_dir, folder) = folder();
        let mut state = State::starting(Spec::default(), 16_443, Vec::new(), "/tools/abc".into()).unwrap();
        state.version = VERSION + 1;
        folder.write(&state).unwrap();
        let error = folder.state().unwrap_err().to_string();
        assert!(error.contains("version 2 instead of 1") && error.contains("`down`"), "{error}");
    }

    #[test]
    fn a_damaged_state_is_refused_with_the_cure() {
        let (_dir, folder) = folder();
        fs::write(folder.file(), "{").unwrap();
        let error = folder.state().unwrap_err().to_string();
        assert!(error.contains("state.json is damaged") && error.contains("`down`"), "{error}");
    }

    // Rule cluster-6.
    #[test]
    fn the_same_name_in_another_folder_has_other_control_groups() {
        let ((_one, one), (_other, other)) = (folder(), folder());
        assert_eq!(one.name(), other.name());
        assert_ne!(one.cgroup(), other.cgroup());
    }

    #[test]
    fn records_are_listed_in_order() {
        let (_dir, folder) = folder();
        for name in ["n2", "n1", "relay"] {
            fs::write(folder.record(name), "1 1\n").unwrap();
        }
        assert_eq!(folder.records(), ["n1", "n2", "relay"]);
    }

    #[test]
    fn a_folder_is_the_one_that_is_named_or_lies_in_the_users_home() {
        let cases = [
            ("both", Some("/named"), Some("/home/x"), Some("/named")),
            ("home alone", None, Some("/home/x"), Some("/home/x/.cache")),
            ("an empty name", Some(""), Some("/home/x"), Some("/home/x/.cache")),
            ("an empty home", None, Some(""), None),
            ("neither", None, None, None),
        ];
        for (because, named, home, expected) in cases {
            let found = chosen(named.map(Into::into), home.map(Into::into), ".cache");
            assert_eq!(found, expected.map(PathBuf::from), "{because}");
        }
    }

    #[test]
    fn one_program_at_a_time_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::open(dir.path()).unwrap();
        let first = open();
        lock(&first).unwrap();
        let error = lock(&open()).unwrap_err();
        assert!(error.contains("another program"), "{error}");
        drop(first);
        lock(&open()).unwrap();
    }

    // Rule cluster-4.
    #[test]
    fn a_folder_is_removed_with_all_in_it_and_a_failure_is_none_in_silence() {
        let (_dir, folder) = folder();
        fs::write(folder.record("n1"), "1 1\n").unwrap();
        folder.remove().unwrap();
        assert!(!folder.path().exists());
        folder.remove().unwrap();
        fs::write(folder.path(), "no folder").unwrap();
        let error = folder.remove().unwrap_err().to_string();
        assert!(error.contains("lab"), "{error}");
    }
}
