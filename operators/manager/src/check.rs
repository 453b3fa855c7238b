//! `stowage check`: what `helm test` runs, with the controllers' own account.

use std::fmt::Write;

use stowage_controllers::KINDS;
use stowage_runtime::{PERMISSIONS, Permission, Runtime};

use crate::{Result, print};

/// Asks the API server for every permission that the code declares; one that is denied is named with the cure.
pub(crate) async fn check(runtime: &Runtime) -> Result {
    let asking = runtime.applier("check");
    let mut table = String::new();
    let mut denied = 0;
    for permission in KINDS.iter().flat_map(|kind| kind.permissions).chain(PERMISSIONS) {
        let verbs = asking.denied(permission).await?;
        denied += verbs.len();
        let verbs: Vec<_> = verbs.iter().map(|verb| verb.as_str()).collect();
        let answer =
            if verbs.is_empty() { "allowed".to_owned() } else { format!("DENIED {}", verbs.join(", ")) };
        writeln!(table, "{:<40} {answer}", resource(permission))?;
    }
    print(&table)?;
    if denied > 0 {
        return Err(
            format!("{denied} permissions are missing: install the chart of this version again").into()
        );
    }
    Ok(())
}

/// As `kubectl auth can-i` takes it.
fn resource(permission: &Permission) -> String {
    let Permission { group, resource, .. } = permission;
    match resource.split_once('/') {
        Some((resource, subresource)) if !group.is_empty() => format!("{resource}.{group}/{subresource}"),
        Some(_) | None if group.is_empty() => (*resource).to_owned(),
        Some(_) | None => format!("{resource}.{group}"),
    }
}
