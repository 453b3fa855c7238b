//! What a pool gave its nodes outlives the nodes' troubles, and costs no write.

/// With the project's own cluster, whose nodes can be lost.
mod audited {
    use serde_json::{Value, json};
    use stowage_api::keys::NODEPOOL_LABEL;
    use stowage_cluster::wait_for;
    use stowage_e2e::{Audit, LIMIT, Lab, MANAGERS, Outcome, SERVICE_ACCOUNT, finally, is_settled, pool};

    /// Waits until all nodes are ready and every manager is: the next test begins as this one did.
    fn wait_until_whole(lab: &Lab) -> Outcome {
        let found = wait_for("three nodes and all managers", LIMIT, || {
            lab.nodes().map_err(|error| error.to_string())?;
            lab.scale_manager(MANAGERS).map_err(|error| error.to_string())
        });
        Ok(found?)
    }

    /// How often we have changed each of these nodes.
    fn patches<'a>(audit: &Audit, nodes: &[&'a str]) -> Outcome<Vec<(&'a str, usize)>> {
        let mut writes = audit.writes_of(SERVICE_ACCOUNT)?;
        writes.retain(|request| request.resource == "nodes");
        let of = |node: &str| writes.iter().filter(|request| request.name == node).count();
        Ok(nodes.iter().map(|node| (*node, of(node))).collect())
    }

    // Rule e2e-6.
    #[test]
    fn a_kubelet_restart_and_a_power_off_keep_the_labels_and_write_no_node() {
        let lab = Lab::open().unwrap();
        let cluster = lab.own().unwrap();
        lab.settle(&pool("sturdy", &["n3"], &json!({"sturdy.example/hull": "double"}))).unwrap();
        let before = lab.node("n3").unwrap();
        let audit = lab.audit().unwrap();

        cluster.restart_kubelet("n3").unwrap();
        cluster.kill_node("n3").unwrap();
        let counted = |object: &Value| object["status"]["nodes"]["notReady"] == 1;
        lab.wait_for_pool("sturdy", "a node that is missed in", counted).unwrap();
        cluster.return_node("n3").unwrap();
        let counted = |object: &Value| object["status"]["nodes"]["ready"] == 1;
        lab.wait_for_pool("sturdy", "a node that is back in", counted).unwrap();

        let after = lab.node("n3").unwrap();
        assert_eq!(after.label("sturdy.example/hull"), Some("double"));
        assert_eq!((after.label(NODEPOOL_LABEL), &after.annotations), (Some("sturdy"), &before.annotations));
        let writes = audit.writes_of(SERVICE_ACCOUNT).unwrap();
        assert!(writes.iter().all(|request| request.resource != "nodes"), "{writes:?}");
        lab.delete_pool("sturdy").unwrap();
    }

    // Rule e2e-11.
    #[test]
    fn a_manager_that_starts_without_an_api_server_says_so_waits_and_then_works() {
        let lab = Lab::open().unwrap();
        let [labelled, ..] = &lab.nodes().unwrap();
        lab.settle(&pool("early", &[labelled], &json!({"early.example/bird": "1"}))).unwrap();
        let (node, _) = lab.manager_place().unwrap();

        let frozen = lab.freeze_api().unwrap();
        lab.kill_program(&node, "stowage").unwrap();
        let said = wait_for("what the new manager waits for", LIMIT, || {
            let log = lab.manager_log_on(&node).map_err(|error| error.to_string())?;
            let waits = log.contains("the version of the API server is not known")
                && log.contains("the API server gave no answer");
            if waits { Ok(log) } else { Err(log) }
        })
        .unwrap();
        assert_eq!(said.matches("stowage starts").count(), 1, "{said}");
        drop(frozen);

        wait_for("the API server", LIMIT, || {
            let worn = pool("early", &[labelled], &json!({"early.example/bird": "2"}));
            lab.apply(&worn).map_err(|error| error.to_string())
        })
        .unwrap();
        lab.wait_for_label(labelled, "early.example/bird", Some("2")).unwrap();
        wait_until_whole(&lab).unwrap();
        lab.delete_pool("early").unwrap();
    }

    // Rule e2e-12.
    #[test]
    fn a_manager_that_is_cut_off_with_its_node_is_replaced_and_has_no_last_word_when_it_returns() {
        let lab = Lab::open().unwrap();
        let cluster = lab.own().unwrap();
        let nodes = lab.nodes().unwrap();
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let tide = |value: &str| pool("islands", &nodes, &json!({"islands.example/tide": value}));
        lab.settle(&tide("low")).unwrap();
        let (lost, cut_off) = lab.manager_place().unwrap();
        let audit = lab.audit().unwrap();

        cluster.partition_node(&lost).unwrap();
        // What is asked for meanwhile is done by the next leader.
        let replaced = || {
            lab.apply(&tide("high"))?;
            lab.wait_for_pool("islands", "a pool that the next leader has settled:", |object: &Value| {
                is_settled(object) && object["status"]["nodes"]["notReady"] == 1
            })?;
            for node in &nodes {
                assert_eq!(lab.node(node)?.label("islands.example/tide"), Some("high"), "{node}");
            }
            Ok(())
        };
        finally(replaced, || Ok(cluster.return_node(&lost)?)).unwrap();
        let (_, leader) = lab.manager_place().unwrap();
        assert_ne!(leader, cut_off);
        wait_until_whole(&lab).unwrap();
        let back = |object: &Value| object["status"]["nodes"]["ready"] == 3 && is_settled(object);
        lab.wait_for_pool("islands", "a node that is back in", back).unwrap();

        // The one that was cut off has had no word since: each change was one write of each node.
        let times = |count: usize| nodes.iter().map(|node| (*node, count)).collect::<Vec<_>>();
        assert_eq!(patches(&audit, &nodes).unwrap(), times(1));
        lab.settle(&tide("slack")).unwrap();
        wait_for("one more change of each node in the audit log", LIMIT, || {
            let seen = patches(&audit, &nodes).map_err(|error| error.to_string())?;
            if seen == times(2) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .unwrap();
        lab.delete_pool("islands").unwrap();
    }
}
