//! `cargo xtask demo`: the product from nothing to labels on nodes, with what happens to them shown by kubectl.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use clap::Args;
use stowage_cluster::{Access, HELM, Helm, KUBERNETES, Kubectl, Name, Progress, Spec, wait_for};

use crate::{
    cluster, image,
    product::{self, Product},
    workspace::Workspace,
};

/// The sample that is applied; the README shows the same pool.
const SAMPLE: &str = "docs/samples/nodepool.yaml";

/// The pool in it, and a label that it sets.
const POOL: &str = "nodepools.stowage.dev/high-io";
const LABEL: &str = "example.com/workload";

/// Its end, and the leave for it.
const DELETE: [&str; 3] = ["delete", POOL, "--timeout=60s"];
const RELEASE: [&str; 5] = ["patch", POOL, "--type=merge", "-p", r#"{"spec":{"deletionPolicy":"Release"}}"#];

/// How long the product may take for what takes it a moment.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// A context of your kubeconfig, instead of the project's own cluster.
    #[arg(long, requires = "image")]
    context: Option<String>,
    /// The image for that cluster, as NAME:TAG or NAME@DIGEST; its nodes must be able to pull it.
    #[arg(long, requires = "context")]
    image: Option<String>,
}

/// A cluster that the demo can talk to.
struct Stage<'a> {
    kubectl: &'a Kubectl,
    workspace: &'a Workspace,
    /// The node that is looked at.
    node: String,
}

/// Runs the demo; whatever it made stays, and it says how to take that away.
pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode> {
    let start = Instant::now();
    let progress = Progress::new();
    let goodbye = match (&args.context, &args.image) {
        (Some(context), Some(image)) => on_foreign(context, image, &progress)?,
        _ => on_own(&progress)?,
    };
    say(&format!("\n{}{:>8.1} s  in all\n\n{goodbye}\n", progress.table(), start.elapsed().as_secs_f64()))?;
    Ok(ExitCode::SUCCESS)
}

fn on_own(progress: &Progress) -> Result<String> {
    let name = Name::try_new(cluster::DEFAULT)?;
    let running = cluster::up(&name, &Spec::default(), progress)?;
    let helm = Helm::new(&HELM.ensure(progress)?, Access::Kubeconfig(running.kubeconfig()));
    let workspace = Workspace::load()?;
    let archive = workspace.output("image").join("stowage.tar");
    let built = progress.stage("build the image", |_| image::build(&workspace, archive))?;
    running.load_image(&built.archive, progress)?;
    show(&running.kubectl(), &helm, &built.reference, &workspace, progress)?;
    Ok("The cluster goes on running, with the pool on it.\n\
        Look around:  cargo xtask cluster kubectl get nodepools.stowage.dev\n\
        Stop it:      cargo xtask cluster down"
        .to_owned())
}

fn on_foreign(context: &str, image: &str, progress: &Progress) -> Result<String> {
    let access = Access::Context(context.to_owned());
    let kubectl = Kubectl::new(&KUBERNETES.ensure(progress)?, access.clone());
    let helm = Helm::new(&HELM.ensure(progress)?, access);
    let product = Product { kubectl: &kubectl, helm: &helm, image };
    product.ensure_absent()?;
    show(&kubectl, &helm, image, &Workspace::load()?, progress)?;
    let crds = product::crds().join(" ");
    Ok(format!(
        "Take it away:  helm --kube-context {context} -n stowage-system uninstall stowage stowage-crds\n\
         and the rest:  kubectl --context {context} delete {crds} namespace/stowage-system"
    ))
}

fn show(
    kubectl: &Kubectl,
    helm: &Helm,
    image: &str,
    workspace: &Workspace,
    progress: &Progress,
) -> Result<()> {
    Product { kubectl, helm, image }.install(workspace, progress)?;
    let nodes = kubectl.run(&[
        "get",
        "nodes",
        "--selector",
        "kubernetes.io/os=linux",
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ])?;
    ensure!(!nodes.is_empty(), "the cluster has no node with the label kubernetes.io/os=linux");
    let stage = Stage { kubectl, workspace, node: nodes };
    progress.stage("pool, drift, deletion", |_| stage.play())
}

impl Stage<'_> {
    fn play(&self) -> Result<()> {
        let node = self.node.as_str();
        // What an earlier demo left would make the pool's label the node's own.
        if !self.kubectl.run(&["get", POOL, "--ignore-not-found", "-o", "name"])?.is_empty() {
            self.kubectl.run(&RELEASE)?;
            self.kubectl.run(&DELETE)?;
        }
        tell("A node has a label of its own that the pool will replace.")?;
        self.kubectl(&["label", "node", node, &format!("{LABEL}=batch"), "--overwrite"])?;

        tell("The pool gives every Linux node its labels.")?;
        self.apply()?;
        self.wait("io")?;
        self.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", POOL])?;
        self.kubectl(&["get", "nodepools.stowage.dev"])?;
        self.nodes()?;

        tell("Somebody changes one by hand: it comes back.")?;
        self.kubectl(&["label", "node", node, &format!("{LABEL}=oops"), "--overwrite"])?;
        self.wait("io")?;
        self.nodes()?;

        tell("A pool with nodes is not deleted by mistake.")?;
        self.refused(&DELETE)?;

        tell("With leave it goes: the node has what it had, and nothing else of the pool.")?;
        self.kubectl(&RELEASE)?;
        self.kubectl(&DELETE)?;
        self.wait("batch")?;
        self.nodes()?;

        tell("Once more, to look around.")?;
        self.kubectl(&["label", "node", node, &format!("{LABEL}-")])?;
        self.apply()?;
        self.wait("io")
    }

    fn apply(&self) -> Result<()> {
        let sample = self.workspace.root().join(SAMPLE);
        self.kubectl(&["apply", "-f", &sample.to_string_lossy()])
    }

    fn nodes(&self) -> Result<()> {
        self.kubectl(&["get", "nodes", "-L", LABEL, "-L", "stowage.dev/nodepool"])
    }

    /// Shows the command as a person would type it, and what it printed.
    fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        let output = self.kubectl.run(arguments)?;
        let root = format!("{}/", self.workspace.root().display());
        say(&format!("$ kubectl {}\n{output}", typed(arguments).replace(&root, "")))
    }

    /// The same for a command that has to fail.
    fn refused(&self, arguments: &[&str]) -> Result<()> {
        match self.kubectl.run(arguments) {
            Ok(output) => bail!("`kubectl {}` was to be refused: {output}", arguments.join(" ")),
            Err(stowage_cluster::Error::Program { output, .. }) => {
                say(&format!("$ kubectl {}\n{output}\n", typed(arguments)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the node's label has this value.
    fn wait(&self, value: &str) -> Result<()> {
        let path = format!("jsonpath={{.metadata.labels.{}}}", LABEL.replace('.', "\\."));
        let found = wait_for(&format!("{LABEL}={value} on {}", self.node), LIMIT, || {
            let seen = self
                .kubectl
                .run(&["get", "node", &self.node, "-o", &path])
                .map_err(|error| error.to_string())?;
            if seen == value { Ok(()) } else { Err(format!("{LABEL}={seen}")) }
        });
        match found {
            Ok(()) => Ok(()),
            Err(error) => bail!("{error}\nSee: kubectl -n stowage-system logs deployment/stowage"),
        }
    }
}

/// A command line as a shell takes it.
fn typed(arguments: &[&str]) -> String {
    let quoted = arguments.iter().map(|argument| {
        if argument.contains('{') { format!("'{argument}'") } else { (*argument).to_owned() }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// What comes next, as a comment above the commands.
fn tell(sentence: &str) -> Result<()> {
    say(&format!("\n# {sentence}\n"))
}

fn say(text: &str) -> Result<()> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}
