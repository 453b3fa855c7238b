//! What the objects of the chart `stowage` hold, as Helm renders them.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use stowage_cluster::Built;

use crate::{
    chart::said,
    product::charts,
    suite::{Prints, Suite},
    values::{Configuration, groups},
    workspace::Workspace,
};

/// The release and its namespace: unlike the name of anything in the chart.
const OURS: [&str; 2] = [RELEASE, NAMESPACE];
const RELEASE: &str = "beacon";
const NAMESPACE: &str = "harbour";

/// A label that every object should get.
const COMMON: (&str, &str) = ("fleet", "baltic");

/// The chart, and what renders it.
struct Chart {
    helm: PathBuf,
    folder: PathBuf,
}

/// Checks one thing of what was rendered.
type Check = fn(&Workspace, &Chart) -> Result<()>;

const CHECKS: [(&str, Check); 8] = [
    ("pods of the chart are restricted, and have a token only where they say so", restricted),
    ("objects of the chart have their namespace and the common labels", labelled),
    ("an unknown value is refused in every group", refused),
    ("each alert of the chart links to its runbook", linked),
    ("the chart warns of other kinds named NodePool", warned),
    ("the manager takes the configuration of the chart", taken),
    ("without an election the chart makes one manager, and never a second beside it", alone),
    ("names of objects are texts, also those of a release that is called like a number", textual),
];

/// Runs the checks, a step each.
pub(super) fn check(workspace: &Workspace, helm: &Built, suite: &mut Suite) -> Result<()> {
    let chart = Chart { helm: helm.program("helm"), folder: charts(workspace).join("stowage") };
    CHECKS
        .iter()
        .try_for_each(|(name, check)| suite.step(name, Prints::NoTests, |_| check(workspace, &chart)))
}

impl Chart {
    fn render(&self, [release, namespace]: [&str; 2], arguments: &[&str]) -> Result<Output> {
        let mut helm = Command::new(&self.helm);
        helm.args(["template", release, "--namespace", namespace]).arg(&self.folder).args(arguments);
        helm.output().context("cannot start helm")
    }

    /// The objects of a rendering with these arguments.
    fn objects(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        self.objects_of(OURS, arguments)
    }

    fn objects_of(&self, release: [&str; 2], arguments: &[&str]) -> Result<Vec<Value>> {
        let output = self.render(release, arguments)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        objects(&String::from_utf8(output.stdout)?)
    }

    /// The objects of a rendering without values, and of one with every value.
    fn extremes(&self, release: [&str; 2]) -> Result<[Vec<Value>; 2]> {
        let full = self.folder.join("ci/full-values.yaml").to_string_lossy().into_owned();
        Ok([self.objects_of(release, &[])?, self.objects_of(release, &["--values", &full])?])
    }

    /// What Helm says of arguments that have to be refused.
    fn refusal(&self, arguments: &[&str]) -> Result<String> {
        let output = self.render(OURS, arguments)?;
        ensure!(!output.status.success(), "{} was taken", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The objects in a text of many documents, without the empty ones.
fn objects(text: &str) -> Result<Vec<Value>> {
    let mut objects: Vec<Value> =
        serde_saphyr::from_multiple(text).context("what helm renders is no YAML")?;
    objects.retain(|object| !object.is_null());
    ensure!(!objects.is_empty(), "helm rendered nothing");
    Ok(objects)
}

fn name(object: &Value) -> String {
    format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"))
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// The part of an object that describes a pod.
fn pod(object: &Value) -> Option<&Value> {
    match text(object, "/kind") {
        "Pod" => Some(object),
        "Deployment" | "Job" => object.pointer("/spec/template"),
        _ => None,
    }
}

fn restricted(_: &Workspace, chart: &Chart) -> Result<()> {
    let objects = chart.objects(&[])?;
    let accounts = objects.iter().filter(|object| text(object, "/kind") == "ServiceAccount");
    for account in accounts {
        ensure!(account.get("automountServiceAccountToken") == Some(&json!(false)), "{}", name(account));
    }
    let mut accounts = BTreeSet::new();
    for (object, pod) in objects.iter().filter_map(|object| Some((object, pod(object)?))) {
        let faults = faults(pod);
        ensure!(faults.is_empty(), "{}: {}", name(object), faults.join(", "));
        accounts.insert(text(pod, "/spec/serviceAccountName"));
    }
    // The check asks what the manager may do, with the manager's account.
    ensure!(accounts == BTreeSet::from([RELEASE, "beacon-release"]), "{accounts:?}");
    Ok(())
}

/// What a pod lacks.
fn faults(pod: &Value) -> Vec<String> {
    let container = "/spec/containers/0/securityContext";
    let wanted = [
        ("/spec/automountServiceAccountToken".to_owned(), json!(true)),
        ("/spec/enableServiceLinks".to_owned(), json!(false)),
        ("/spec/securityContext/runAsNonRoot".to_owned(), json!(true)),
        ("/spec/securityContext/seccompProfile/type".to_owned(), json!("RuntimeDefault")),
        (format!("{container}/allowPrivilegeEscalation"), json!(false)),
        (format!("{container}/readOnlyRootFilesystem"), json!(true)),
        (format!("{container}/capabilities/drop"), json!(["ALL"])),
    ];
    let faults = wanted.into_iter().filter(|(path, value)| pod.pointer(path) != Some(value));
    faults.map(|(path, value)| format!("{path} is not {value}")).collect()
}

fn labelled(_: &Workspace, chart: &Chart) -> Result<()> {
    let (key, value) = COMMON;
    let on =
        ["serviceMonitor", "rules", "dashboard"].map(|part| format!("--set=metrics.{part}.enabled=true"));
    let label = format!("--set=commonLabels.{key}={value}");
    let arguments: Vec<_> = on.iter().chain([&label]).map(String::as_str).collect();
    for object in &chart.objects(&arguments)? {
        for labels in [Some(object), pod(object)].into_iter().flatten() {
            let found = labels.pointer("/metadata/labels").unwrap_or(&Value::Null);
            ensure!(found[key] == value, "{} has no common label", name(object));
            ensure!(found["app.kubernetes.io/instance"] == RELEASE, "{} has no instance", name(object));
        }
        let namespace = text(object, "/metadata/namespace");
        // The events of cluster-scoped objects are in a namespace of their own.
        let legal = ["", "default", NAMESPACE].contains(&namespace);
        ensure!(legal, "{} is in the namespace {namespace:?}", name(object));
    }
    Ok(())
}

fn refused(workspace: &Workspace, chart: &Chart) -> Result<()> {
    let configuration = Configuration::read(&charts(workspace).join("stowage/generated"))?;
    // Of Kubernetes' own types one field stands for all: a unit test looks at the whole schema.
    let foreign =
        ["tolerations[0]", "affinity.nodeAffinity", "resources", "podSecurityContext.seccompProfile"];
    let groups = groups(&configuration)?;
    let groups = groups.iter().map(String::as_str).chain(foreign);
    for path in groups.map(|group| format!("{group}.moon")).chain(["moon".to_owned()]) {
        let said = chart.refusal(&["--set", &format!("{path}=full")])?;
        ensure!(said.contains("additional properties 'moon' not allowed"), "{path}: {said}");
    }
    Ok(())
}

fn linked(workspace: &Workspace, chart: &Chart) -> Result<()> {
    let base = "https://runbooks.example";
    let objects = chart
        .objects(&["--set=metrics.rules.enabled=true", &format!("--set=metrics.rules.runbooks={base}")])?;
    let rules = objects.iter().find(|object| text(object, "/kind") == "PrometheusRule");
    let rules = rules.and_then(|rules| rules.pointer("/spec/groups/0/rules")?.as_array());
    let mut links = BTreeSet::new();
    for rule in rules.context("there are no rules")? {
        let link = text(rule, "/annotations/runbook_url");
        let file =
            link.strip_prefix(&format!("{base}/")).with_context(|| format!("{link:?} is elsewhere"))?;
        ensure!(file == format!("{}.md", text(rule, "/alert")), "{file} is another alert's");
        links.insert(file.to_owned());
    }
    let pages = fs::read_dir(workspace.root().join("docs/runbooks")).context("cannot read docs/runbooks")?;
    let pages = pages.map(|page| Ok(page?.file_name().to_string_lossy().into_owned()));
    let pages: BTreeSet<_> = pages.collect::<Result<_>>()?;
    ensure!(links == pages, "alerts without a page, or the reverse: {:?}", &links ^ &pages);
    Ok(())
}

fn warned(_: &Workspace, chart: &Chart) -> Result<()> {
    // The notes are no object: an object of ours says the same.
    let probe = r#"--set-json=extraObjects=["kind: Probe\nnotes: {{ include \"stowage.foreignPools\" . | toJson }}"]"#;
    let notes = |arguments: &[&str]| -> Result<String> {
        let objects = chart.objects(&[&[probe], arguments].concat())?;
        let probe = objects.iter().find(|object| text(object, "/kind") == "Probe");
        Ok(text(probe.context("there is no probe")?, "/notes").to_owned())
    };
    ensure!(notes(&[])?.is_empty(), "it warns of nothing");
    let other = "karpenter.sh/v1/NodePool";
    let said = notes(&["--api-versions", other])?;
    ensure!(said.contains(other), "it does not warn of {other}: {said:?}");
    let all =
        fs::read_to_string(chart.folder.join("templates/NOTES.txt")).context("cannot read the notes")?;
    ensure!(all.contains(r#"include "stowage.foreignPools" ."#), "the notes do not say it");
    Ok(())
}

fn taken(workspace: &Workspace, chart: &Chart) -> Result<()> {
    let file = workspace.output("test").join("config.yaml");
    for objects in chart.extremes(OURS)? {
        let configs = objects.iter().filter(|object| text(object, "/kind") == "ConfigMap");
        let Some(config) =
            configs.map(|config| text(config, "/data/config.yaml")).find(|text| !text.is_empty())
        else {
            bail!("no ConfigMap has a configuration");
        };
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        let checked = said(workspace, &["config", "check", &file.to_string_lossy()])?;
        // The manager prints it with every default. Of a value that it does not know nothing would come back.
        let [given, understood]: [Value; 2] =
            [serde_saphyr::from_str(config)?, serde_saphyr::from_str(&checked)?];
        ensure!(given == understood, "the chart says {given}, the manager understands {understood}");
    }
    Ok(())
}

fn alone(_: &Workspace, chart: &Chart) -> Result<()> {
    let strategy = |arguments: &[&str]| -> Result<String> {
        let objects = chart.objects(arguments)?;
        let deployment = objects.iter().find(|object| text(object, "/kind") == "Deployment");
        Ok(text(deployment.context("there is no Deployment")?, "/spec/strategy/type").to_owned())
    };
    let (disabled, one) = ("--set=config.leaderElection.mode=Disabled", "--set=replicas=1");
    ensure!(strategy(&[])? == "RollingUpdate", "a rollout takes the manager away first");
    ensure!(strategy(&[disabled, one])? == "Recreate", "a rollout makes a second manager");
    let said = chart.refusal(&[disabled, "--set=replicas=3"])?;
    for named in ["replicas is 3", "config.leaderElection.mode is Disabled", "Set replicas to 1"] {
        ensure!(said.contains(named), "it does not say {named:?}: {said}");
    }
    Ok(())
}

fn textual(_: &Workspace, chart: &Chart) -> Result<()> {
    for object in chart.extremes(["123", "456"])?.iter().flatten() {
        let numbers = numbers(object, "");
        ensure!(numbers.is_empty(), "{}: {}", name(object), numbers.join(", "));
    }
    Ok(())
}

/// Where an object has the number that the release or its namespace is called.
fn numbers(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Number(number) if ["123", "456"].contains(&number.to_string().as_str()) => {
            vec![path.to_owned()]
        }
        Value::Object(map) => {
            map.iter().flat_map(|(name, value)| numbers(value, &format!("{path}/{name}"))).collect()
        }
        Value::Array(list) => (0..)
            .zip(list)
            .flat_map(|(index, value): (usize, _)| numbers(value, &format!("{path}/{index}")))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule xtask-16.
    #[test]
    fn what_a_pod_lacks_is_named() {
        let sound = json!({"spec": {
            "automountServiceAccountToken": true,
            "enableServiceLinks": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            }}],
        }});
        assert_eq!(faults(&sound), Vec::<String>::new());
        let mut loose = sound;
        loose["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = json!(false);
        loose["spec"]["securityContext"]["runAsNonRoot"] = Value::Null;
        let named = faults(&loose);
        assert_eq!(named.len(), 2, "{named:?}");
        assert!(named[1].contains("readOnlyRootFilesystem"), "{named:?}");
    }

    // Rule xtask-16.
    #[test]
    fn a_name_that_became_a_number_is_found_wherever_it_is() {
        let object = json!({"metadata": {"name": 123}, "list": [{"port": 80}, 456], "text": "123"});
        assert_eq!(numbers(&object, ""), ["/list/1", "/metadata/name"]);
    }

    #[test]
    fn documents_without_an_object_are_none() {
        let found = objects("---\n# nothing\n---\nkind: Moon\n---\n").unwrap();
        assert_eq!(found, [json!({"kind": "Moon"})]);
        assert!(objects("---\n").is_err());
    }
}
