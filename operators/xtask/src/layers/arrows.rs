//! The imports of our crates, held against the table.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, Node, Package, PackageId};

use super::table::{EVERYWHERE, IMPURE, Outside, Room};
use crate::workspace::Workspace;

/// What one crate imports outside of its tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imports {
    /// The folder, without `operators/`: the name of its room.
    pub(crate) room: String,
    /// The crate's name.
    pub(crate) name: String,
    /// Rooms of ours.
    pub(crate) ours: BTreeSet<String>,
    /// Crates of others, named in its manifest.
    pub(crate) outside: BTreeSet<String>,
    /// Crates that are in its program in the end, by whatever way.
    pub(crate) below: BTreeSet<String>,
}

impl Imports {
    /// The imports of each crate of the workspace.
    pub(crate) fn of_workspace(workspace: &Workspace) -> Vec<Self> {
        let graph = Graph::new(&workspace.metadata);
        workspace.crates().iter().map(|package| graph.imports(package)).collect()
    }
}

/// Who depends on whom, by the ids that cargo uses.
struct Graph<'a> {
    metadata: &'a Metadata,
    nodes: BTreeMap<&'a PackageId, &'a Node>,
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
        Self { metadata, nodes: nodes.map(|node| (&node.id, node)).collect() }
    }

    fn imports(&self, package: &Package) -> Imports {
        let direct = self.direct(&package.id, &[DependencyKind::Normal, DependencyKind::Build]);
        let (ours, outside): (Vec<_>, Vec<_>) =
            direct.into_iter().partition(|id| self.metadata.workspace_members.contains(id));
        Imports {
            room: room(self.metadata, package),
            name: package.name.to_string(),
            ours: ours.into_iter().map(|id| room(self.metadata, &self.metadata[id])).collect(),
            outside: outside.into_iter().map(|id| self.metadata[id].name.to_string()).collect(),
            below: self.below(&package.id),
        }
    }

    fn direct(&self, id: &PackageId, kinds: &[DependencyKind]) -> Vec<&'a PackageId> {
        let dependencies = self.nodes.get(id).into_iter().flat_map(|node| &node.deps);
        let counts = dependencies
            .filter(|dependency| dependency.dep_kinds.iter().any(|info| kinds.contains(&info.kind)));
        counts.map(|dependency| &dependency.pkg).collect()
    }

    fn below(&self, id: &PackageId) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut open = self.direct(id, &[DependencyKind::Normal]);
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(self.direct(id, &[DependencyKind::Normal]));
            }
        }
        seen.into_iter().map(|id| self.metadata[id].name.to_string()).collect()
    }
}

fn room(metadata: &Metadata, package: &Package) -> String {
    let folder = package.manifest_path.parent().unwrap_or(&package.manifest_path);
    let folder = folder.strip_prefix(&metadata.workspace_root).unwrap_or(folder);
    folder.strip_prefix("operators").unwrap_or(folder).to_string()
}

/// Every import that the table does not have, and every crate that is not named as its folder.
pub(crate) fn check(table: &'static [Room], imports: &[Imports]) -> Vec<String> {
    imports.iter().flat_map(|imports| check_one(table, imports)).collect()
}

fn check_one(table: &'static [Room], imports: &Imports) -> Vec<String> {
    let Imports { room: name, name: package, ours, outside, below } = imports;
    let mut findings = Vec::new();
    let folder = name.rsplit('/').next().unwrap_or(name);
    if *package != format!("stowage-{folder}") {
        findings.push(format!("{name}: its crate is named {package}, not stowage-{folder}"));
    }
    let Some(room) = Room::find(table, name) else {
        findings.push(format!("{name}: the table of rooms does not have it"));
        return findings;
    };
    let arrow = |to: &String| format!("{name} must not import {to}");
    let legal = room.imports();
    findings.extend(ours.iter().filter(|to| !legal.contains(&to.as_str())).map(arrow));
    match room.outside {
        Outside::Pure(these) => {
            let legal = |to: &str| these.contains(&to) || EVERYWHERE.contains(&to);
            findings.extend(outside.iter().filter(|to| !legal(to)).map(arrow));
            let impure = below.iter().filter(|to| IMPURE.contains(&to.as_str()) && !outside.contains(*to));
            findings.extend(impure.map(|to| {
                format!("{name} is pure, and {to} is below it: see `cargo tree -p {package} -i {to}`")
            }));
        }
        Outside::AllBut(these) => {
            findings.extend(outside.iter().filter(|to| these.contains(&to.as_str())).map(arrow));
        }
    }
    findings
}

/// The table beside what was found.
pub(crate) fn shown(table: &'static [Room], imports: &[Imports]) -> String {
    let rows = imports.iter().map(|found| {
        let room = Room::find(table, &found.room);
        let pure = room.is_some_and(|room| matches!(room.outside, Outside::Pure(_)));
        let ours: Vec<_> = found.ours.iter().map(String::as_str).collect();
        [
            found.room.clone(),
            if pure { "pure" } else { "" }.to_owned(),
            format!("{} direct, {} in all", found.outside.len(), found.below.len()),
            listed(&ours),
            listed(&room.map_or_else(Vec::new, Room::imports)),
        ]
    });
    let head = ["room", "", "crates of others", "imports", "may import"].map(str::to_owned);
    aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

fn listed(rooms: &[&str]) -> String {
    if rooms.is_empty() { "-".to_owned() } else { rooms.join(" ") }
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0)
    });
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Room] = &[
        Room { names: &["mercury", "moon"], ours: &[], outside: Outside::Pure(&["jiff"]) },
        Room { names: &["sky/sun"], ours: &[&["mercury"], &["moon"]], outside: Outside::AllBut(&["kube"]) },
    ];

    fn imports(room: &str, ours: &[&str], outside: &[&str], below: &[&str]) -> Imports {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let name = format!("stowage-{}", room.rsplit('/').next().unwrap());
        Imports { room: room.to_owned(), name, ours: set(ours), outside: set(outside), below: set(below) }
    }

    // Rule xtask-6.
    #[test]
    fn only_the_arrows_of_the_table_may_be_drawn() {
        let cases = [
            ("as the table says", imports("sky/sun", &["moon"], &["tokio"], &["kube", "tokio"]), vec![]),
            ("a room", imports("moon", &["sky/sun"], &[], &[]), vec!["moon must not import sky/sun"]),
            ("a crate", imports("sky/sun", &[], &["kube"], &["kube"]), vec!["sky/sun must not import kube"]),
            ("all may import it", imports("moon", &[], &["jiff", "serde"], &["jiff", "serde"]), vec![]),
            (
                "not in its list",
                imports("moon", &[], &["regex"], &["regex"]),
                vec!["moon must not import regex"],
            ),
            (
                "by a way",
                imports("moon", &[], &["jiff"], &["jiff", "tokio"]),
                vec!["moon is pure, and tokio is below it: see `cargo tree -p stowage-moon -i tokio`"],
            ),
            ("no row", imports("mars", &[], &[], &[]), vec!["mars: the table of rooms does not have it"]),
        ];
        for (because, found, wanted) in cases {
            assert_eq!(check(TABLE, &[found]), wanted, "{because}");
        }
    }

    #[test]
    fn a_crate_has_the_name_of_its_folder() {
        let renamed = Imports { name: "stowage-luna".to_owned(), ..imports("moon", &[], &[], &[]) };
        assert_eq!(check(TABLE, &[renamed]), ["moon: its crate is named stowage-luna, not stowage-moon"]);
    }

    #[test]
    fn the_table_is_shown_with_what_was_found() {
        let found =
            [imports("moon", &[], &["jiff"], &["jiff"]), imports("sky/sun", &["moon"], &[], &["jiff"])];
        let wanted = "\
room           crates of others    imports  may import
moon     pure  1 direct, 1 in all  -        -
sky/sun        0 direct, 1 in all  moon     mercury moon
";
        assert_eq!(shown(TABLE, &found), wanted);
    }

    #[test]
    fn cargos_own_words_are_read() {
        let dependency = |name: &str, kind: &str| {
            format!(
                r#"{{"name": "{name}", "pkg": "{name}", "dep_kinds": [{{"kind": {kind}, "target": null}}]}}"#
            )
        };
        let (normal, build, dev) = ("null", r#""build""#, r#""dev""#);
        let nodes = [
            (
                "sun",
                [dependency("moon", normal), dependency("cc", build), dependency("proptest", dev)].join(","),
            ),
            ("moon", [dependency("jiff", normal), dependency("cc", build)].join(",")),
            ("jiff", String::new()),
        ];
        let nodes = nodes
            .map(|(id, deps)| format!(r#"{{"id": "{id}", "dependencies": [], "deps": [{deps}]}}"#))
            .join(",");
        let package = |id: &str, name: &str, folder: &str| {
            format!(
                r#"{{"id": "{id}", "name": "{name}", "version": "1.0.0", "dependencies": [], "targets": [],
                    "features": {{}}, "manifest_path": "{folder}/Cargo.toml"}}"#
            )
        };
        let packages = [
            package("sun", "stowage-sun", "/house/sky/sun"),
            package("moon", "stowage-moon", "/house/operators/moon"),
            package("jiff", "jiff", "/cargo/jiff"),
            package("cc", "cc", "/cargo/cc"),
            package("proptest", "proptest", "/cargo/proptest"),
        ]
        .join(",");
        let metadata = cargo_metadata::MetadataCommand::parse(format!(
            r#"{{"version": 1, "workspace_root": "/house", "target_directory": "/house/target",
                "workspace_members": ["sun", "moon"], "packages": [{packages}],
                "resolve": {{"root": null, "nodes": [{nodes}]}}}}"#
        ))
        .unwrap();
        let found = Imports::of_workspace(&Workspace { metadata });
        assert_eq!(
            found,
            [
                imports("moon", &[], &["cc", "jiff"], &["jiff"]),
                imports("sky/sun", &["moon"], &["cc"], &["jiff", "stowage-moon"])
            ]
        );
    }
}
