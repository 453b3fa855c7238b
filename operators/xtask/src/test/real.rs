//! The part of the suite that needs a real cluster: the cluster's own tests, the charts, and the product through them.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use stowage_cluster::{Access, Built, Cluster, ETCD, HELM, Helm, KUBERNETES, KWOK, Name, Progress, Spec};

use super::Places;
use crate::{
    cluster, image,
    product::{Product, charts},
    static_build,
    suite::{Prints, Suite},
    workspace::Workspace,
};

/// The cluster of the run: not the one that a person may have up.
const CLUSTER: &str = "test";

/// Fake nodes beside the three real ones: tests count them.
const FAKES: u32 = 5;

/// The tests of the product, in this order: the later, the more they break.
const PRODUCT_TESTS: [&str; 4] = ["node_pool", "manager", "losses", "uninstall"];

/// Tests that run one at a time on a real cluster.
struct Tests<'a> {
    package: &'a str,
    target: &'a str,
    /// The module in that target, or all of it.
    module: &'a str,
}

/// What the tests find in their environment.
struct Given<'a> {
    places: &'a Places,
    binaries: PathBuf,
}

/// Runs the lane. A step without which the rest means nothing ends it; the cluster is taken down in any case.
pub(super) fn run(workspace: &Workspace, places: &Places, suite: &mut Suite) -> Result<()> {
    let mut built = None;
    suite.step("the cluster's programs", Prints::NoTests, |_| {
        built = Some(build(workspace)?);
        Ok(())
    })?;
    let Some((binaries, helm)) = built else { return Ok(()) };
    check_charts(workspace, &helm, suite)?;

    let given = Given { places, binaries };
    given.run(&Tests { package: "stowage-cluster", target: "real", module: "lifecycle" }, suite)?;

    let name = Name::try_new(CLUSTER)?;
    let mut running = None;
    suite.step("a cluster", Prints::NoTests, |_| {
        let spec = Spec { kwok: FAKES, ..Spec::default() };
        running = Some(cluster::up(&name, &spec, &Progress::new())?);
        Ok(())
    })?;
    if let Some(running) = running {
        on_cluster(workspace, &given, &running, &helm, suite)?;
    }
    suite.step("the cluster goes", Prints::NoTests, |_| Ok(Cluster::down(name, &Progress::new())?))
}

/// Builds what the lane starts.
fn build(workspace: &Workspace) -> Result<(PathBuf, Built)> {
    let progress = Progress::new();
    for tool in [&KUBERNETES, &ETCD, &KWOK] {
        tool.ensure(&progress)?;
    }
    Ok((static_build::build(workspace, cluster::PACKAGE)?, HELM.ensure(&progress)?))
}

/// What Helm says of the charts without a cluster.
fn check_charts(workspace: &Workspace, helm: &Built, suite: &mut Suite) -> Result<()> {
    for chart in ["stowage-crds", "stowage"] {
        let folder = charts(workspace).join(chart);
        let mut lint = Command::new(helm.program("helm"));
        suite.run(
            &format!("lint chart {chart}"),
            lint.args(["lint", "--strict"]).arg(&folder),
            Prints::NoTests,
        )?;
        suite.step(&format!("render chart {chart} twice"), Prints::NoTests, |_| {
            let render = || render(helm, &folder);
            ensure!(render()? == render()?, "two renderings of {chart} differ");
            Ok(())
        })?;
    }
    Ok(())
}

fn render(helm: &Built, chart: &Path) -> Result<Vec<u8>> {
    let mut template = Command::new(helm.program("helm"));
    let output =
        template.args(["template", "release-name"]).arg(chart).output().context("cannot start helm")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
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
            given.run(&Tests { package: "stowage-e2e", target, module: "" }, suite)?;
        }
    }
    given.run(&Tests { package: "stowage-cluster", target: "real", module: "nodes" }, suite)
}

impl Given<'_> {
    fn run(&self, tests: &Tests<'_>, suite: &mut Suite) -> Result<()> {
        let Tests { package, target, module } = tests;
        let mut cargo = self.places.command("cargo test --locked --features real-cluster --no-fail-fast");
        cargo.args(["--package", package, "--test", target, "--", "--test-threads=1", module]);
        let environment: [(&str, &OsStr); 3] = [
            ("STOWAGE_CLUSTER", CLUSTER.as_ref()),
            ("STOWAGE_BINARIES", self.binaries.as_os_str()),
            ("STOWAGE_XTASK", self.places.xtask.as_os_str()),
        ];
        let name = format!("{package} {target} {module}");
        suite.run(name.trim_end(), cargo.envs(environment), Prints::Tests)
    }
}
