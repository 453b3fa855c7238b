//! What can be said of the charts without a cluster, by each Helm that people use.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use stowage_cluster::{Built, HELM, HELM3, Progress};

use crate::{
    product,
    suite::{Prints, Suite, finish},
    workspace::Workspace,
};

/// In the order in which they are installed.
const CHARTS: [&str; 2] = ["stowage-crds", "stowage"];

/// Where a chart keeps values to be tried with, as chart-testing has it: `ci/*-values.yaml`.
const CASES: &str = "ci";

/// Helm as it is now, and the one before it.
pub(super) struct Helms {
    pub(super) four: Built,
    three: Built,
}

/// One Helm.
struct Helm(PathBuf);

/// A chart, and the files of values that it is tried with beside its own.
struct Chart {
    folder: PathBuf,
    cases: Vec<PathBuf>,
}

/// Checks each chart with each Helm.
pub(super) fn check(workspace: &Workspace, helms: &Helms, suite: &mut Suite) -> Result<()> {
    for name in CHARTS {
        let chart = Chart::read(product::charts(workspace).join(name))?;
        let helms = [("Helm 4", Helm::of(&helms.four)), ("Helm 3", Helm::of(&helms.three))];
        for (version, helm) in &helms {
            suite.step(&format!("{version} lints {name}"), Prints::NoTests, |log| helm.lint(&chart, log))?;
            suite.step(&format!("{version} renders {name} twice the same"), Prints::NoTests, |_| {
                chart.ensure_alike([helm, helm], |one, other| one == other)
            })?;
            suite.step(&format!("{version} refuses an unknown value of {name}"), Prints::NoTests, |_| {
                helm.ensure_refused(&chart)
            })?;
        }
        let [(_, four), (_, three)] = &helms;
        suite.step(&format!("both Helms make the same of {name}"), Prints::NoTests, |_| {
            chart.ensure_alike([four, three], |one, other| lines(one) == lines(other))
        })?;
        suite.step(&format!("each value of {name} is tried and has an effect"), Prints::NoTests, |_| {
            chart.ensure_tried(four)
        })?;
    }
    Ok(())
}

impl Helms {
    /// Finds or builds them.
    pub(super) fn ensure(progress: &Progress) -> Result<Self> {
        Ok(Self { four: HELM.ensure(progress)?, three: HELM3.ensure(progress)? })
    }
}

impl Helm {
    fn of(built: &Built) -> Self {
        Self(built.program("helm"))
    }

    fn command(&self, verb: &[&str], chart: &Chart, case: Option<&Path>) -> Command {
        let mut helm = Command::new(&self.0);
        helm.args(verb).arg(&chart.folder);
        if let Some(case) = case {
            helm.arg("--values").arg(case);
        }
        helm
    }

    fn lint(&self, chart: &Chart, log: &File) -> Result<()> {
        chart.tried().try_for_each(|case| finish(&mut self.command(&["lint", "--strict"], chart, case), log))
    }

    fn render(&self, chart: &Chart, case: Option<&Path>) -> Result<String> {
        let mut template = self.command(&["template", "release-name"], chart, case);
        let output = template.output().context("cannot start helm")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn ensure_refused(&self, chart: &Chart) -> Result<()> {
        let mut template = self.command(&["template", "release-name"], chart, None);
        let output = template.args(["--set", "nope=1"]).output().context("cannot start helm")?;
        ensure!(!output.status.success(), "a value that no chart has was taken");
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            said.contains("additional properties 'nope' not allowed"),
            "refused for another reason: {said}"
        );
        Ok(())
    }
}

impl Chart {
    fn read(folder: PathBuf) -> Result<Self> {
        let there = match fs::read_dir(folder.join(CASES)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.with_context(|| format!("cannot read {CASES} of {}", folder.display()))?),
        };
        let paths = there.into_iter().flatten().map(|entry| Ok(entry?.path()));
        let mut cases = paths.collect::<Result<Vec<_>>>()?;
        cases.retain(|path| path.to_string_lossy().ends_with("-values.yaml"));
        cases.sort();
        Ok(Self { folder, cases })
    }

    /// With its own values, and with each file.
    fn tried(&self) -> impl Iterator<Item = Option<&Path>> {
        std::iter::once(None).chain(self.cases.iter().map(|case| Some(case.as_path())))
    }

    fn ensure_alike(&self, [one, other]: [&Helm; 2], alike: fn(&str, &str) -> bool) -> Result<()> {
        self.tried().try_for_each(|case| {
            let (first, second) = (one.render(self, case)?, other.render(self, case)?);
            let values = case.map_or_else(|| "its own values".to_owned(), |case| case.display().to_string());
            ensure!(
                alike(&first, &second),
                "{} with {values}: {}",
                self.folder.display(),
                parting(&first, &second)
            );
            Ok(())
        })
    }

    /// Fails where the files together leave a value as it is by default, or where one does nothing.
    fn ensure_tried(&self, helm: &Helm) -> Result<()> {
        let own = read_values(&self.folder.join("values.yaml"))?;
        let by_default = helm.render(self, None)?;
        let mut left: Vec<String> = scalars(&own).into_iter().map(|(path, _)| path).collect();
        for case in &self.cases {
            let values = read_values(case)?;
            left.retain(|path| !values.pointer(path).is_some_and(|value| Some(value) != own.pointer(path)));
            let idle = idle(&values, &by_default, &helm.render(self, Some(case))?);
            ensure!(idle.is_empty(), "{} has no effect with {}", idle.join(", "), case.display());
        }
        ensure!(left.is_empty(), "no file in {CASES} sets {}", left.join(", "));
        Ok(())
    }
}

/// What stands in a rendering: Helm 3 leaves out some of the empty lines between two objects.
fn lines(rendering: &str) -> Vec<&str> {
    rendering.lines().filter(|line| !line.trim().is_empty()).collect()
}

/// Where two renderings part.
fn parting(one: &str, other: &str) -> String {
    let differ = lines(one).into_iter().zip(lines(other)).find(|(one, other)| one != other);
    differ.map_or_else(
        || "one rendering goes on where the other ends, or has other empty lines".to_owned(),
        |(one, other)| format!("one rendering has {one:?} where the other has {other:?}"),
    )
}

/// The values that no line has which is not there by default too.
fn idle(values: &Value, by_default: &str, rendering: &str) -> Vec<String> {
    let old = lines(by_default);
    let new: Vec<_> = lines(rendering).into_iter().filter(|line| !old.contains(line)).collect();
    let idle = scalars(values).into_iter().filter(|(_, text)| !new.iter().any(|line| line.contains(text)));
    idle.map(|(path, _)| path).collect()
}

/// A file of values; a chart without one has none.
fn read_values(path: &Path) -> Result<Value> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => bail!("cannot read {}: {error}", path.display()),
        Ok(text) => serde_saphyr::from_str(&text).with_context(|| format!("{} is no YAML", path.display())),
    }
}

/// Every text and number below `value`, by its JSON pointer; an empty map or list is one too.
fn scalars(value: &Value) -> Vec<(String, String)> {
    let below = |(name, value): (String, &Value)| {
        let name = name.replace('~', "~0").replace('/', "~1");
        let inner = scalars(value).into_iter();
        inner.map(move |(path, text)| (format!("/{name}{path}"), text)).collect::<Vec<_>>()
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().map(|(name, value)| (name.clone(), value)).flat_map(below).collect()
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).flat_map(below).collect()
        }
        Value::Null => Vec::new(),
        Value::String(text) => vec![(String::new(), text.clone())],
        Value::Object(_) | Value::Array(_) => vec![(String::new(), String::new())],
        Value::Bool(_) | Value::Number(_) => vec![(String::new(), value.to_string())],
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    /// A folder with these files; those in folders of their own have them made.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    /// A Helm that runs this script.
    fn helm(script: &str) -> (tempfile::TempDir, Helm) {
        let dir = folder(&[("helm", &format!("#!/bin/sh\n{script}\n"))]);
        let path = dir.path().join("helm");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (dir, Helm(path))
    }

    /// A Helm whose rendering is the chart's own values and then those of the case.
    fn echo() -> (tempfile::TempDir, Helm) {
        helm("cat \"$3/values.yaml\" $5")
    }

    // Rule xtask-11.
    #[test]
    fn only_a_refusal_of_the_value_itself_is_one() {
        let refused = "echo \"- at '': additional properties 'nope' not allowed\" >&2; exit 1";
        for (script, refuses, because) in [
            (refused, true, "the schema names the value"),
            ("exit 0", false, "it is taken"),
            ("echo no such chart >&2; exit 1", false, "it fails for another reason"),
        ] {
            let (dir, helm) = helm(script);
            let chart = Chart::read(dir.path().to_owned()).unwrap();
            assert_eq!(helm.ensure_refused(&chart).is_ok(), refuses, "{because}");
        }
    }

    // Rule xtask-11.
    #[test]
    fn a_value_that_changes_no_line_has_no_effect() {
        let values =
            json!({"log": {"level": "debug"}, "ports": [{"name": "web"}], "seconds": 77, "none": {}});
        let by_default = "level: info\nport: web\n";
        let said = |rendering: &str| idle(&values, by_default, rendering);
        assert_eq!(said("level: debug\nport: [web]\nwait: 77\n"), Vec::<String>::new());
        assert_eq!(said("level: info\nport: web\nwait: 77\n"), ["/log/level", "/ports/0/name"]);
    }

    #[test]
    fn every_value_is_found_by_its_path() {
        let values = json!({"a/b": "x", "list": ["y", {"z": 1}], "empty": {}, "unset": null});
        for (path, text) in scalars(&values) {
            let found = values.pointer(&path).unwrap();
            assert!(text.is_empty() || found.to_string().contains(&text), "{path}: {found}");
        }
        assert_eq!(scalars(&values).len(), 4);
    }

    #[test]
    fn only_files_of_values_are_cases() {
        let dir = folder(&[("ci/b-values.yaml", ""), ("ci/a-values.yaml", ""), ("ci/notes.md", "")]);
        let chart = Chart::read(dir.path().to_owned()).unwrap();
        let names: Vec<_> = chart.cases.iter().map(|case| case.file_name().unwrap()).collect();
        assert_eq!(names, ["a-values.yaml", "b-values.yaml"]);
        assert_eq!(chart.tried().count(), 3);
    }

    // Rule xtask-11.
    #[test]
    fn a_value_that_no_file_sets_is_named_by_its_path() {
        let (_dir, helm) = echo();
        let said = |cases: &[(&str, &str)]| {
            let own = ("values.yaml", "log: {level: info, format: json}\nwait: 5\n");
            let dir = folder(&[&[own], cases].concat());
            let tried = Chart::read(dir.path().to_owned()).unwrap().ensure_tried(&helm);
            tried.map_err(|error| error.to_string())
        };
        let (level, rest) = ("log: {level: debug}\n", "log: {format: text}\nwait: 6\n");
        assert_eq!(said(&[("ci/a-values.yaml", level), ("ci/b-values.yaml", rest)]), Ok(()));
        let error = said(&[("ci/a-values.yaml", level)]).unwrap_err();
        assert_eq!(error, "no file in ci sets /log/format, /wait");
        let error = said(&[("ci/a-values.yaml", rest), ("ci/b-values.yaml", "wait: 5\n")]).unwrap_err();
        assert!(
            error.starts_with("/wait has no effect with ") && error.ends_with("b-values.yaml"),
            "{error}"
        );
    }

    // Rule xtask-11.
    #[test]
    fn renderings_that_part_are_told_where() {
        let (_dir, helm) = echo();
        let dir = folder(&[("values.yaml", "moon: full\n")]);
        let chart = Chart::read(dir.path().to_owned()).unwrap();
        chart.ensure_alike([&helm, &helm], |one, other| one == other).unwrap();
        assert!(chart.ensure_alike([&helm, &helm], |_, _| false).is_err());
        let said = parting("moon: full\n\nsun: up\n", "moon: full\nsun: down\n");
        assert_eq!(said, r#"one rendering has "sun: up" where the other has "sun: down""#);
    }
}
