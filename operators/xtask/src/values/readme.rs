//! The README of the chart: what every value means.

use anyhow::Result;

use super::{
    Configuration,
    walk::{Content, Entry, entries},
};

/// What stands before the list.
const HEAD: &str = include_str!("readme.md");

/// The README as the file has it.
pub(crate) fn readme(configuration: &Configuration) -> Result<String> {
    let blocks = entries(configuration)?.iter().map(block).collect::<Vec<_>>();
    Ok(format!("{HEAD}\n{}\n", blocks.join("\n\n")))
}

/// An item of a list, below that of its group.
fn block(entry: &Entry) -> String {
    let indent = "  ".repeat(entry.depth());
    let facts = match &entry.content {
        Content::Group => String::new(),
        Content::Leaf { facts, default } => format!(": {}, default `{default}`", facts.join(", ")),
    };
    format!("{indent}- `{}`{facts}\n\n{indent}  {}", entry.path, entry.description)
}
