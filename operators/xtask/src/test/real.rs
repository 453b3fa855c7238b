//! The part of the suite that needs a real cluster: the cluster's own tests, the charts, and the product through them.

use std::{ffi::OsString, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use stowage_cluster::{
    Access, Built, Cluster, ETCD, HELM, Helm, KUBERNETES, KWOK, Kubectl, Name, Progress, Spec,
    VIRTUAL_KUBELET,
};

use super::{
    Foreign, Places,
    charts::{self, Helms},
    rendered,
};
use crate::{
    cluster, image,
    product::Product,
    static_build,
    suite::{Prints, Suite},
    workspace::Workspace,
};

/// The cluster of the run: not the one that a person may have up.
const CLUSTER: &str = "test";

/// Fake nodes beside the three real ones: tests count them.
const FAKES: u32 = 5;

/// The module of tests that need the audit log or the nodes of the project's own cluster.
const AUDITED: &str = "audited::";

/// The package whose tests start, and break, clusters of their own.
const CLUSTERS: &str = "stowage-cluster";

/// What is left out on a user's cluster, by the beginning of its name. CI takes no other skip, and none on our own.
pub(super) const LEFT_OUT: [&str; 2] = [AUDITED, CLUSTERS];

/// The tests of the product, in this order: the later, the more they break.
const PRODUCT_TESTS: [&str; 11] = [
    "node_pool",
    "node_pool_keys",
    "node_pool_deletion",
    "manager",
    "upgrade",
    "rights",
    "unreadable",
    "failover",
    "losses",
    "uninstall",
    "aftermath",
];

/// Tests that run one at a time on a real cluster.
#[derive(Clone, Copy)]
struct Tests<'a> {
    package: &'a str,
    target: &'a str,
    /// What libtest takes to pick some of them.
    filter: &'a [&'a str],
}

/// What the tests find in their environment.
struct Given<'a> {
    places: &'a Places,
    environment: Vec<(&'static str, OsString)>,
}

/// Runs the lane on the project's own cluster. A step without which the rest means nothing ends it; the cluster is taken
/// down in any case.
pub(super) fn on_own(workspace: &Workspace, places: &Places, suite: &mut Suite) -> Result<()> {
    let mut built = None;
    suite.step("the cluster's programs", Prints::NoTests, |_| {
        built = Some(build(workspace)?);
        Ok(())
    })?;
    let Some((binaries, helms)) = built else { return Ok(()) };
    charts::check(workspace, &helms, suite)?;
    rendered::check(workspace, &helms.four, suite)?;

    let environment = vec![
        ("STOWAGE_CLUSTER", CLUSTER.into()),
        ("STOWAGE_BINARIES", binaries.into_os_string()),
        ("STOWAGE_XTASK", places.xtask.clone().into_os_string()),
    ];
    let given = Given { places, environment };
    given
        .run(&Tests { package: CLUSTERS, target: "real", filter: &["lifecycle", "virtual_nodes"] }, suite)?;

    let name = Name::try_new(CLUSTER)?;
    let mut running = None;
    suite.step("a cluster", Prints::NoTests, |_| {
        // One that a killed run left has seen things that the tests must not find.
        Cluster::down(name.clone(), &Progress::new())?;
        let spec = Spec { kwok: FAKES, ..Spec::default() };
        running = Some(cluster::up(&name, &spec, &Progress::new())?);
        Ok(())
    })?;
    let ran = running.map(|running| on_cluster(workspace, &given, &running, &helms.four, suite));
    suite.step("the cluster goes", Prints::NoTests, |_| Ok(Cluster::down(name, &Progress::new())?))?;
    ran.unwrap_or(Ok(()))
}

/// Runs on a cluster of the user's what can be seen there, and takes all of it away again. A cluster that has the product
/// is refused.
pub(super) fn on_foreign(
    workspace: &Workspace,
    places: &Places,
    foreign: &Foreign,
    suite: &mut Suite,
) -> Result<()> {
    let progress = Progress::new();
    let access = Access::Context(foreign.context.clone());
    let kubectl = Kubectl::new(&KUBERNETES.ensure(&progress)?, access.clone());
    let helm = Helm::new(&HELM.ensure(&progress)?, access);
    let product = Product { kubectl: &kubectl, helm: &helm, image: &foreign.image };
    product.ensure_absent()?;
    let mut installed = false;
    suite.step("charts", Prints::NoTests, |_| {
        product.install(workspace, &progress)?;
        installed = true;
        Ok(())
    })?;
    let given = Given { places, environment: vec![("STOWAGE_CONTEXT", foreign.context.clone().into())] };
    for target in PRODUCT_TESTS {
        let tests = Tests { package: "stowage-e2e", target, filter: &["--skip", AUDITED] };
        for test in given.list(&Tests { filter: &[AUDITED], ..tests })? {
            suite.skip(&test, "it needs the audit log or the nodes of the project's own cluster");
        }
        if installed && !given.list(&tests)?.is_empty() {
            given.run(&tests, suite)?;
        }
    }
    suite.skip(CLUSTERS, "its tests start, and break, clusters of their own");
    suite.step("the product goes", Prints::NoTests, |_| product.remove())
}

/// Builds what the lane starts.
fn build(workspace: &Workspace) -> Result<(PathBuf, Helms)> {
    let progress = Progress::new();
    for tool in [&KUBERNETES, &ETCD, &KWOK, &VIRTUAL_KUBELET] {
        tool.ensure(&progress)?;
    }
    Ok((static_build::build(workspace, cluster::PACKAGE)?, Helms::ensure(&progress)?))
}

/// The product on the running cluster, and last what breaks nodes.
fn on_cluster(
    workspace: &Workspace,
    given: &Given<'_>,
    running: &Cluster,
    helm: &Built,
    suite: &mut Suite,
) -> Result<()> {
    let mut installed = false;
    suite.step("image and charts", Prints::NoTests, |_| {
        let progress = Progress::new();
        let built = image::build(workspace, workspace.output("image").join("stowage.tar"))?;
        running.load_image(&built.archive, &progress)?;
        let helm = Helm::new(helm, Access::Kubeconfig(running.kubeconfig()));
        Product { kubectl: &running.kubectl(), helm: &helm, image: &built.reference }
            .install(workspace, &progress)?;
        installed = true;
        Ok(())
    })?;
    if installed {
        for target in PRODUCT_TESTS {
            given.run(&Tests { package: "stowage-e2e", target, filter: &[] }, suite)?;
        }
    }
    given.run(
        &Tests { package: CLUSTERS, target: "real", filter: &["nodes", "--skip", "virtual_nodes"] },
        suite,
    )
}

impl Given<'_> {
    fn run(&self, tests: &Tests<'_>, suite: &mut Suite) -> Result<()> {
        let Tests { package, target, filter } = tests;
        let name = format!("{package} {target} {}", filter.join(" "));
        suite.run(name.trim_end(), &mut self.cargo(tests, "--test-threads=1"), Prints::Tests)
    }

    /// The names of the tests that would run.
    fn list(&self, tests: &Tests<'_>) -> Result<Vec<String>> {
        let output = self.cargo(tests, "--list").output().context("cannot start cargo")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout)?;
        Ok(lines.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }

    fn cargo(&self, tests: &Tests<'_>, how: &str) -> Command {
        let Tests { package, target, filter } = tests;
        let mut cargo = self.places.command("cargo test --locked --features real-cluster --no-fail-fast");
        cargo.args(["--package", package, "--test", target, "--", how]).args(*filter);
        // Only what is said here decides whose cluster is used.
        cargo.env_remove("STOWAGE_CONTEXT").env_remove("STOWAGE_CLUSTER");
        cargo.envs(self.environment.iter().map(|(name, value)| (name, value)));
        cargo
    }
}
