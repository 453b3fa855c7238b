//! Keys that a pool must not set on a node, because Kubernetes, a cloud or Stowage itself owns them.
//!
//! One table, read twice: [`is_reserved`] checks with it, and the CEL rule of the CRD is written
//! from it, so that the API server and the controller cannot disagree.

/// Domains whose keys are reserved, with those of every subdomain: `D/x` and `y.D/x`.
const DOMAINS: [&str; 2] = ["kubernetes.io", crate::keys::GROUP];

/// Prefixes whose keys are reserved, without their subdomains.
const PREFIXES: [&str; 5] =
    ["k8s.io", "kubernetes.azure.com", "cloud.google.com", "eks.amazonaws.com", "karpenter.sh"];

/// Keys that a cloud puts on each node at birth and that cannot be removed. The others of that
/// list lie under `kubernetes.io` and are covered by [`DOMAINS`].
const INTRINSIC_KEYS: [&str; 3] = ["os.architecture", "os.name", "os.version"];

/// Prefixes under a reserved domain that Kubernetes leaves to administrators.
const OPEN_PREFIXES: [&str; 2] = ["node-role.kubernetes.io", "node-restriction.kubernetes.io"];

/// Keys under a reserved domain that Kubernetes leaves to administrators.
const OPEN_KEYS: [&str; 1] = ["node.kubernetes.io/exclude-from-external-load-balancers"];

/// Reserved although their prefix is open: they decide where the control plane runs. The second is the
/// name of the first before Kubernetes 1.24, which older charts still tolerate.
const CONTROL_PLANE_ROLES: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// Whether a pool must not set a label, annotation or taint under `key`.
///
/// `key` is a label key by syntax; of other text the answer means nothing.
pub fn is_reserved(key: &str) -> bool {
    if INTRINSIC_KEYS.contains(&key) || CONTROL_PLANE_ROLES.contains(&key) {
        return true;
    }
    let Some((prefix, _)) = key.split_once('/') else { return false };
    if OPEN_KEYS.contains(&key) || OPEN_PREFIXES.contains(&prefix) {
        return false;
    }
    PREFIXES.contains(&prefix)
        || DOMAINS.iter().any(|domain| {
            prefix.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

/// The same question as [`is_reserved`] as a CEL expression about the variable `key`.
pub(crate) fn cel(key: &str) -> String {
    let or = |terms: Vec<String>| terms.join(" || ");
    let starts = |prefixes: &[&str]| {
        or(prefixes.iter().map(|prefix| format!("{key}.startsWith('{prefix}/')")).collect())
    };
    let is_one_of = |keys: &[&str]| or(keys.iter().map(|one| format!("{key} == '{one}'")).collect());
    let subdomains = or(DOMAINS.iter().map(|domain| format!("{key}.contains('.{domain}/')")).collect());
    format!(
        "{intrinsic} || {control_plane} || (({prefixes} || {domains} || {subdomains}) \
         && !({open_keys} || {open_prefixes}))",
        intrinsic = is_one_of(&INTRINSIC_KEYS),
        control_plane = is_one_of(&CONTROL_PLANE_ROLES),
        prefixes = starts(&PREFIXES),
        domains = starts(&DOMAINS),
        open_keys = is_one_of(&OPEN_KEYS),
        open_prefixes = starts(&OPEN_PREFIXES),
    )
}
