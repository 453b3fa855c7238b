//! The programs of the cluster, built from published Go modules with the ordinary Go client.
//!
//! Each group of programs is a small module of its own, so that it builds alone and only when it is needed. A built tool
//! lies in `$STOWAGE_CACHE/tools/KEY`, where the key is a digest of all that went into it: unchanged means found.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::{
    error::{Doing, Error, Result},
    image::architecture,
    program::{command, command_line, end_of, run, wait_for},
    progress::{Progress, Stage},
    state::{self, create_dir, user_folder},
};

/// The oldest Go that builds them: what their go.mod files ask for.
pub(crate) const GO_MINIMUM: (u32, u32) = (1, 26);

/// The version of Kubernetes that clusters run.
pub const KUBERNETES_VERSION: &str = "v1.36.4";

/// Stamped as the build date: a true one would make every link a new one.
const BUILD_DATE: &str = "2026-08-20T00:00:00Z";

/// How the Go client builds: one line for each package that it compiles, no path of this machine in the program.
const FLAGS: [&str; 3] = ["build", "-v", "-trimpath"];

/// No symbols: a third of the size.
const LINKER_FLAGS: &str = "-s -w";

/// What decides about a program and could otherwise come from the user's own environment. A module's `go` line must never
/// fetch another toolchain.
const ENVIRONMENT: [(&str, &str); 4] =
    [("GOTOOLCHAIN", "local"), ("CGO_ENABLED", "0"), ("GOFLAGS", "-mod=readonly"), ("GOOS", "linux")];

/// Longer than all tools together take on a slow machine.
const BUILD_LIMIT: Duration = Duration::from_secs(3600);

/// One group of programs.
#[derive(Debug)]
pub struct Tool {
    /// The program's name.
    pub name: &'static str,
    package: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// Variables that the linker sets.
    stamps: &'static [(&'static str, &'static str)],
    /// Other names that the program answers to.
    links: &'static [&'static str],
    /// Data files of a module that are kept beside the program: the module, and the paths in it.
    data: Option<(&'static str, &'static [&'static str])>,
}

macro_rules! module_files {
    ($folder:literal $(, $more:literal)*) => {
        &[
            ("go.mod", include_str!(concat!("../tools/", $folder, "/go.mod"))),
            ("go.sum", include_str!(concat!("../tools/", $folder, "/go.sum"))),
            $(($more, include_str!(concat!("../tools/", $folder, "/", $more))),)*
        ]
    };
}

/// API server, controller-manager, scheduler, kubelet, kube-proxy and kubectl as one binary.
pub const KUBERNETES: Tool = Tool {
    name: "kubernetes",
    package: ".",
    files: module_files!("kubernetes", "main.go"),
    stamps: &[
        ("k8s.io/component-base/version.gitVersion", KUBERNETES_VERSION),
        ("k8s.io/component-base/version.gitMajor", "1"),
        ("k8s.io/component-base/version.gitMinor", "36"),
        ("k8s.io/component-base/version.gitTreeState", "clean"),
        ("k8s.io/component-base/version.buildDate", BUILD_DATE),
        ("k8s.io/client-go/pkg/version.gitVersion", KUBERNETES_VERSION),
        ("k8s.io/client-go/pkg/version.gitMajor", "1"),
        ("k8s.io/client-go/pkg/version.gitMinor", "36"),
        ("k8s.io/client-go/pkg/version.gitTreeState", "clean"),
        ("k8s.io/client-go/pkg/version.buildDate", BUILD_DATE),
    ],
    links: &[
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kubectl",
    ],
    data: None,
};

/// The store behind the API server.
pub const ETCD: Tool = Tool {
    name: "etcd",
    package: "go.etcd.io/etcd/server/v3",
    files: module_files!("etcd"),
    stamps: &[],
    links: &[],
    data: None,
};

/// Fake nodes by the thousand.
pub const KWOK: Tool = Tool {
    name: "kwok",
    package: "sigs.k8s.io/kwok/cmd/kwok",
    files: module_files!("kwok"),
    stamps: &[],
    links: &[],
    data: Some((
        "sigs.k8s.io/kwok",
        &[
            "kustomize/stage/node/fast/node-initialize.yaml",
            "kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
            "kustomize/stage/pod/fast/pod-complete.yaml",
            "kustomize/stage/pod/fast/pod-delete.yaml",
            "kustomize/stage/pod/fast/pod-ready.yaml",
        ],
    )),
};

/// Nodes of bursts to elsewhere.
pub const VIRTUAL_KUBELET: Tool = Tool {
    name: "virtual-kubelet",
    package: "github.com/virtual-kubelet/virtual-kubelet/cmd/virtual-kubelet",
    files: module_files!("virtual-kubelet"),
    // Its nodes say that they run Kubernetes v1.36.4-vk-v1.13.0.
    stamps: &[("main.buildVersion", "v1.13.0"), ("main.k8sVersion", KUBERNETES_VERSION)],
    links: &[],
    data: None,
};

/// The chart client.
pub const HELM: Tool = Tool {
    name: "helm",
    package: "helm.sh/helm/v4/cmd/helm",
    files: module_files!("helm"),
    stamps: &[("helm.sh/helm/v4/internal/version.version", "v4.2.4")],
    links: &[],
    data: None,
};

/// The chart client before this one, which many still use: the charts are to work with both.
pub const HELM3: Tool = Tool {
    name: "helm3",
    package: "helm.sh/helm/v3/cmd/helm",
    files: module_files!("helm3"),
    stamps: &[
        ("helm.sh/helm/v3/internal/version.version", "v3.21.4"),
        // The Kubernetes that it takes for the cluster where it sees none: 1.20 unless said, which the charts refuse.
        ("helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor", "1"),
        ("helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor", "36"),
        ("helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor", "1"),
        ("helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor", "36"),
    ],
    // What Helm is called by, whichever of the two it is.
    links: &["helm"],
    data: None,
};

/// A folder of built programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built(PathBuf);

impl Built {
    /// The path of a program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// The programs in a folder that [`Tool::ensure`] once returned.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self(folder)
    }
}

impl Tool {
    /// Whether the tool is in the cache.
    pub(crate) fn is_built(&self) -> bool {
        let place = || Ok::<_, Error>(cache_folder()?.join("tools").join(self.key(&go_version()?)));
        place().is_ok_and(|built| built.is_dir())
    }

    /// Finds the tool in the cache, or builds it.
    pub fn ensure(&self, progress: &Progress) -> Result<Built> {
        let go = go_version()?;
        let cache = cache_folder()?.join("tools");
        let built = cache.join(self.key(&go));
        if built.is_dir() {
            return Ok(Built(built));
        }
        create_dir(&cache)?;
        // Two programs that need the same tool at once: the second waits and then finds it.
        let lock = fs::File::open(&cache).doing(|| format!("open {}", cache.display()))?;
        wait_for("the end of another build of tools", BUILD_LIMIT, || state::lock(&lock))?;
        if built.is_dir() {
            return Ok(Built(built));
        }
        progress.stage(&format!("build {}", self.name), |stage| self.build(&built, stage))?;
        Ok(Built(built))
    }

    /// A digest of all that decides what the built program is.
    fn key(&self, go: &str) -> String {
        let mut digest = Sha256::new();
        let files = self.files.iter().flat_map(|(name, text)| [*name, *text]);
        let stamps = self.stamps.iter().flat_map(|(variable, value)| [*variable, *value]);
        let data = self
            .data
            .iter()
            .flat_map(|(module, paths)| std::iter::once(*module).chain(paths.iter().copied()));
        let environment = ENVIRONMENT.iter().flat_map(|(variable, value)| [*variable, *value]);
        let how = FLAGS.iter().copied().chain([LINKER_FLAGS, architecture()]).chain(environment);
        for part in
            [self.name, self.package, go].into_iter().chain(how).chain(files).chain(stamps).chain(data)
        {
            // The length keeps two different lists from giving the same bytes.
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        format!("{}-{:.16}", self.name, base16ct::lower::encode_string(&digest.finalize()))
    }

    /// Builds into a folder beside `built` and moves it into place whole, so that a killed build is no build.
    fn build(&self, built: &Path, stage: &Stage) -> Result<()> {
        let work = built.with_extension("building");
        if work.exists() {
            fs::remove_dir_all(&work).doing(|| format!("remove {}", work.display()))?;
        }
        create_dir(&work)?;
        for (name, text) in self.files {
            write(&work.join(name), text)?;
        }
        let packages = run(go(&work).args(["list", "-deps", self.package]))?;
        stage.set_total(packages.lines().count().try_into().unwrap_or(u64::MAX));
        self.compile(&work, stage)?;
        for link in self.links {
            symlink(self.name, work.join(link)).doing(|| format!("link {link} to {}", self.name))?;
        }
        self.copy_data(&work)?;
        fs::rename(&work, built).doing(|| format!("put {} in place", built.display()))
    }

    fn compile(&self, work: &Path, stage: &Stage) -> Result<()> {
        let stamps: Vec<_> =
            self.stamps.iter().map(|(variable, value)| format!("-X {variable}={value}")).collect();
        let mut build = go(work);
        build.args(FLAGS).arg("-ldflags").arg(format!("{LINKER_FLAGS} {}", stamps.join(" ")));
        build.arg("-o").arg(self.name).arg(self.package);
        let line = command_line(&build);
        let failed =
            |status: String, output: String| Error::Program { command: line.clone(), status, output };
        let mut child = build
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed("not started".to_owned(), error.to_string()))?;
        let mut printed = String::new();
        for text in child.stderr.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            let text = text.doing(|| format!("read what `{line}` prints"))?;
            printed.push_str(&text);
            printed.push('\n');
            stage.advance();
        }
        let status = child.wait().doing(|| format!("wait for `{line}`"))?;
        if status.success() { Ok(()) } else { Err(failed(status.to_string(), end_of(&printed, 4_000))) }
    }

    fn copy_data(&self, work: &Path) -> Result<()> {
        let Some((module, paths)) = self.data else { return Ok(()) };
        let source = run(go(work).args(["list", "-m", "-f", "{{.Dir}}", module]))?;
        for path in paths {
            let from = Path::new(source.trim()).join(path);
            let text = fs::read_to_string(&from).doing(|| format!("read {}", from.display()))?;
            let name = from.file_name().unwrap_or_default();
            write(&work.join(name), &text)?;
        }
        Ok(())
    }

    /// The data files of a built tool, in the order of their table.
    pub(crate) fn data_files(&self, built: &Built) -> Vec<PathBuf> {
        let paths = self.data.iter().flat_map(|(_, paths)| paths.iter());
        paths.filter_map(|path| Path::new(path).file_name()).map(|name| built.0.join(name)).collect()
    }
}

/// `$STOWAGE_CACHE`, by default `~/.cache/stowage`: what takes long to make and may be removed at any time.
pub fn cache_folder() -> Result<PathBuf> {
    let named = std::env::var_os("STOWAGE_CACHE").filter(|value| !value.is_empty()).map(PathBuf::from);
    named.map_or_else(|| Ok(user_folder("XDG_CACHE_HOME", ".cache")?.join("stowage")), Ok)
}

/// What `go env GOVERSION` says, as in `go1.26.8`.
pub(crate) fn go_version() -> Result<String> {
    run(command("go").args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local"))
        .map(|text| text.trim().to_owned())
}

/// The Go client, in a module's folder.
fn go(module: &Path) -> Command {
    let mut go = command("go");
    go.current_dir(module).envs(ENVIRONMENT.iter().copied()).env("GOARCH", architecture());
    for variable in ["GOWORK", "GOEXPERIMENT", "GOAMD64", "GOARM64"] {
        go.env_remove(variable);
    }
    go
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).doing(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: Tool = Tool {
        name: "tiny",
        package: ".",
        files: &[
            ("go.mod", "module stowage.invalid/tiny\ngo 1.26.0\n"),
            ("main.go", "package main\nvar v string\nfunc main() { println(v) }\n"),
        ],
        stamps: &[("main.v", "one")],
        links: &["small"],
        data: None,
    };

    // Rule cluster-2.
    #[test]
    fn whatever_goes_into_a_tool_changes_its_key() {
        let key = TINY.key("go1.26.8");
        assert!(key.starts_with("tiny-"), "{key}");
        let others = [
            ("another Go", TINY.key("go1.26.9")),
            (
                "another file",
                Tool { files: &[("go.mod", "module stowage.invalid/tiny\n")], ..TINY }.key("go1.26.8"),
            ),
            ("another stamp", Tool { stamps: &[("main.v", "two")], ..TINY }.key("go1.26.8")),
            ("a stamp cut elsewhere", Tool { stamps: &[("main.vo", "ne")], ..TINY }.key("go1.26.8")),
            ("another package", Tool { package: "./x", ..TINY }.key("go1.26.8")),
        ];
        for (because, other) in others {
            assert_ne!(other, key, "{because}");
        }
    }

    // Rule cluster-2.
    #[test]
    fn a_build_is_stamped_linked_and_put_in_place_whole() {
        let dir = tempfile::tempdir().unwrap();
        let built = dir.path().join("tiny-1");
        // What a killed build leaves.
        fs::create_dir(built.with_extension("building")).unwrap();
        Progress::silent().stage("tiny", |stage| TINY.build(&built, stage)).unwrap();
        assert_eq!(fs::read_link(built.join("small")).unwrap(), Path::new("tiny"));
        let output = Command::new(built.join("small")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "one\n");
        assert!(!built.with_extension("building").exists());
    }

    // Rule cluster-2.
    #[test]
    fn a_build_that_fails_shows_the_compilers_words_and_leaves_no_tool() {
        let dir = tempfile::tempdir().unwrap();
        let built = dir.path().join("tiny-2");
        let broken = Tool {
            files: &[
                ("go.mod", "module stowage.invalid/tiny\ngo 1.26.0\n"),
                ("main.go", "package main\nfunc main() { undefinedName() }\n"),
            ],
            ..TINY
        };
        let error =
            Progress::silent().stage("tiny", |stage| broken.build(&built, stage)).unwrap_err().to_string();
        assert!(error.contains("go build") && error.contains("undefinedName"), "{error}");
        assert!(!built.exists());
    }
}
