//! What is known of the uninstall only after it.

/// With the audit log of the project's own cluster as the witness.
mod audited {
    use std::collections::BTreeSet;

    use k8s_openapi::api::rbac::v1::PolicyRule;
    use serde_json::Value;
    use stowage_e2e::{Audit, Lab, NAMESPACE, Outcome, RELEASE, SERVICE_ACCOUNT};

    /// Verbs and resources that the chart grants to the manager.
    fn granted(lab: &Lab) -> Outcome<BTreeSet<(String, String)>> {
        let chart = Lab::chart(RELEASE);
        let template = ["template", RELEASE, chart.to_str().ok_or("a path that is no text")?];
        let part = ["--namespace", NAMESPACE, "--show-only", "templates/rbac.yaml"];
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(&lab.helm.run(&[template.as_slice(), &part].concat())?)?;
        // A binding has no rules.
        let rules = objects.iter().filter_map(|object| object.get("rules").cloned());
        let rules: Vec<Vec<PolicyRule>> = rules.map(serde_json::from_value).collect::<Result<_, _>>()?;
        let mut granted = BTreeSet::new();
        for PolicyRule { resources, verbs, .. } in rules.into_iter().flatten() {
            for resource in resources.into_iter().flatten() {
                granted.extend(verbs.iter().map(|verb| (verb.clone(), resource.clone())));
            }
        }
        Ok(granted)
    }

    // Rule e2e-4. A watch is in the log only when it has ended, so this comes after the uninstall.
    #[test]
    fn every_right_that_was_granted_was_used() {
        let lab = Lab::open().unwrap();
        let requests = Audit::whole(lab.own().unwrap().audit_log()).requests().unwrap();
        let ours =
            requests.into_iter().filter(|request| request.user == SERVICE_ACCOUNT && request.code != 403);
        let used: BTreeSet<_> = ours
            .flat_map(|request| {
                // An apply that makes its object needs two rights and is one request; so is a watch that begins with all
                // objects, in whose place an API server that streams none is asked for a list.
                let also = match (request.verb.as_str(), request.code) {
                    ("patch", 201) => Some("create".to_owned()),
                    ("watch", _) => Some("list".to_owned()),
                    _ => None,
                };
                let verbs = [Some(request.verb), also];
                verbs.into_iter().flatten().map(move |verb| (verb, request.resource.clone()))
            })
            .collect();
        let granted = granted(&lab).unwrap();
        assert!(granted.len() > 10, "the witness is blind: {granted:?}");
        let unused: Vec<_> = granted.difference(&used).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    // Rule e2e-8.
    #[test]
    fn the_release_was_allowed_all_that_it_asked() {
        let lab = Lab::open().unwrap();
        let requests = Audit::whole(lab.own().unwrap().audit_log()).requests().unwrap();
        let of_release = requests.iter().filter(|request| request.user.ends_with(":stowage-release"));
        let of_release: Vec<_> = of_release.collect();
        assert!(of_release.iter().any(|request| request.is_write()), "it did nothing: {of_release:?}");
        let denied: Vec<_> = of_release.iter().filter(|request| request.code == 403).collect();
        assert!(denied.is_empty(), "{denied:?}");
    }
}
