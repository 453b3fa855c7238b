//! `cargo xtask crds`: the CRDs as files that plain `kubectl apply -f crds/` takes.

use anyhow::{Context, Result, ensure};

use crate::{
    generated::{Folder, Others},
    workspace::Workspace,
};

/// What marks each file, and says how to change it.
const MARK: &str =
    "# Generated from operators/api by `cargo xtask crds`: change the types and run it again.\n";

/// Client-side `kubectl apply` keeps the whole object in one annotation of at most 262,144 bytes; JSON is somewhat longer
/// than YAML.
const BYTES: usize = 200_000;

/// The folder crds/ as it should be.
pub(crate) fn folder(workspace: &Workspace) -> Result<Folder> {
    let files = stowage_api::crds().into_iter().map(|crd| {
        let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
        let yaml = serde_saphyr::to_string(&crd).with_context(|| format!("cannot write {name}"))?;
        ensure!(
            yaml.len() <= BYTES,
            "{name} has {} bytes, at most {BYTES}: shorten its descriptions",
            yaml.len()
        );
        Ok((name, format!("{MARK}{yaml}")))
    });
    let path = workspace.root().join("crds");
    Ok(Folder {
        path,
        others: Others::None,
        command: "cargo xtask crds",
        files: files.collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_kind_has_a_file_that_reads_as_its_definition() {
        let folder = folder(&Workspace::load().unwrap()).unwrap();
        let crds = stowage_api::crds();
        assert_eq!(folder.files.len(), crds.len());
        for crd in crds {
            let text = &folder.files[&format!("stowage.dev_{}.yaml", crd.spec.names.plural)];
            let read: Value = serde_saphyr::from_str(text).unwrap();
            assert_eq!(read, serde_json::to_value(&crd).unwrap());
            assert!(text.starts_with("# Generated "), "{text:.80}");
        }
    }
}
