//! A right that is missing: it is named, what does not need it goes on, and all is well when it is back.

/// With the audit log of the project's own cluster as the witness.
mod audited {
    use serde_json::{Value, json};
    use stowage_cluster::wait_for;
    use stowage_e2e::{Audit, LIMIT, Lab, Outcome, Right, condition, pool};

    const EVENTS: Right =
        Right { namespace: Some("default"), group: "events.k8s.io", resource: "events", verb: "create" };
    const NODES: Right = Right { namespace: None, group: "", resource: "nodes", verb: "patch" };
    const STATUS: Right =
        Right { namespace: None, group: "stowage.dev", resource: "nodepools/status", verb: "patch" };

    /// Waits until the witness has seen such a request refused.
    fn wait_for_refusal(audit: &Audit, right: Right) -> Outcome {
        let found = wait_for("a forbidden request", LIMIT, || {
            let forbidden = audit.forbidden().map_err(|error| error.to_string())?;
            let ours = |(verb, resource): (&str, &str)| verb == right.verb && resource == right.resource;
            let seen = forbidden.iter().any(|request| ours((&request.verb, &request.resource)));
            if seen { Ok(()) } else { Err(format!("{forbidden:?}")) }
        });
        Ok(found?)
    }

    /// The chart's own test names the right.
    fn ensure_test_names(lab: &Lab, resource: &str, verb: &str) -> Outcome {
        let Err(said) = lab.helm_test() else { return Err("the chart's test has passed".into()) };
        let said = said.to_string();
        let denied = format!("DENIED {verb}");
        let named = said.lines().any(|line| line.contains(resource) && line.contains(&denied));
        if named { Ok(()) } else { Err(said.into()) }
    }

    // Rule e2e-4.
    #[test]
    fn without_the_right_to_patch_nodes_the_pool_says_so() {
        let lab = Lab::open().unwrap();
        let [node, ..] = &lab.nodes().unwrap();
        lab.without(NODES, || {
            let audit = lab.audit()?;
            lab.apply(&pool("barred", &[node], &json!({"barred.example/a": "1"})))?;
            let says_so = |object: &Value| {
                condition(object, "Ready").is_some_and(|ready| ready["reason"] == "Forbidden")
            };
            let barred = lab.wait_for_pool("barred", "the missing right in the status of", says_so)?;
            let message = condition(&barred, "Ready").unwrap_or_default()["message"].to_string();
            assert!(message.contains("grant the verb patch on nodes to this service account"), "{message}");
            wait_for_refusal(&audit, NODES)?;
            ensure_test_names(&lab, "nodes", "patch")
        })
        .unwrap();
        // A change wakes the pool, which would otherwise look again after minutes.
        lab.settle(&pool("barred", &[node], &json!({"barred.example/a": "2"}))).unwrap();
        lab.wait_for_label(node, "barred.example/a", Some("2")).unwrap();
        lab.delete_pool("barred").unwrap();
    }

    // Rule e2e-4.
    #[test]
    fn without_the_right_to_patch_a_status_the_nodes_get_their_labels_and_the_log_says_so() {
        let lab = Lab::open().unwrap();
        let [node, ..] = &lab.nodes().unwrap();
        lab.without(STATUS, || {
            let audit = lab.audit()?;
            lab.apply(&pool("mute", &[node], &json!({"mute.example/a": "1"})))?;
            lab.wait_for_label(node, "mute.example/a", Some("1"))?;
            wait_for_refusal(&audit, STATUS)?;
            let right = "grant the verb patch on nodepools.stowage.dev/status to this service account";
            lab.wait_for_log(&["WARN", "mute", right])?;
            ensure_test_names(&lab, "nodepools.stowage.dev/status", "patch")
        })
        .unwrap();
        lab.settle(&pool("mute", &[node], &json!({"mute.example/a": "2"}))).unwrap();
        lab.delete_pool("mute").unwrap();
    }

    // Rule e2e-4.
    #[test]
    fn without_the_right_to_create_events_all_goes_on_and_the_log_says_so() {
        let lab = Lab::open().unwrap();
        let [node, ..] = &lab.nodes().unwrap();
        lab.without(EVENTS, || {
            let audit = lab.audit()?;
            let silent = lab.settle(&pool("silent", &[node], &json!({"silent.example/a": "1"})))?;
            wait_for_refusal(&audit, EVENTS)?;
            lab.wait_for_log(&["WARN", "event not sent", r#"cannot create resource \"events\""#])?;
            assert_eq!(lab.events("NodesUpdated", &silent)?, Vec::<String>::new());
            ensure_test_names(&lab, "events.events.k8s.io", "create")
        })
        .unwrap();
        let silent = lab.settle(&pool("silent", &[node], &json!({"silent.example/a": "2"}))).unwrap();
        wait_for("an event about the pool", LIMIT, || {
            let events = lab.events("NodesUpdated", &silent).map_err(|error| error.to_string())?;
            if events.is_empty() { Err("none".to_owned()) } else { Ok(()) }
        })
        .unwrap();
        lab.delete_pool("silent").unwrap();
    }
}
