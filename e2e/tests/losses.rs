//! What a pool gave its nodes outlives the nodes' troubles, and costs no write.

/// With the project's own cluster, whose nodes can be lost.
mod audited {
    use serde_json::{Value, json};
    use stowage_api::keys::NODEPOOL_LABEL;
    use stowage_cluster::wait_for;
    use stowage_e2e::{Audit, LIMIT, Lab, Outcome, SERVICE_ACCOUNT, finally, is_settled, pool};

    /// Waits until all nodes are ready and one manager is, with no other left: the next test begins as this one did.
    fn wait_until_whole(lab: &Lab) -> Outcome {
        let found = wait_for("three nodes and one manager", LIMIT, || {
            lab.nodes().map_err(|error| error.to_string())?;
            lab.scale_manager(1).map_err(|error| error.to_string())
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
            let waits = |resource: &str| {
                log.contains(&format!("cannot watch {resource}: the API server gave no answer"))
            };
            if waits("nodes") && waits("nodepools.stowage.dev") { Ok(log) } else { Err(log) }
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

        cluster.partition_node(&lost).unwrap();
        // Nobody works until the node's pods are given up; what is asked for meanwhile is done by the next manager.
        let replaced = || {
            lab.apply(&tide("high"))?;
            lab.wait_for_pool("islands", "a pool that the next manager has settled:", |object: &Value| {
                is_settled(object) && object["status"]["nodes"]["notReady"] == 1
            })?;
            for node in &nodes {
                assert_eq!(lab.node(node)?.label("islands.example/tide"), Some("high"), "{node}");
            }
            Ok(())
        };
        finally(replaced, || Ok(cluster.return_node(&lost)?)).unwrap();
        wait_for("the end of the manager that was cut off", LIMIT, || {
            let pods = lab.manager_pods().map_err(|error| error.to_string())?;
            let names: Vec<_> = pods.iter().map(|pod| pod["metadata"]["name"].clone()).collect();
            if names.contains(&json!(cut_off)) { Err(format!("{names:?}")) } else { Ok(()) }
        })
        .unwrap();
        wait_until_whole(&lab).unwrap();
        let back = |object: &Value| object["status"]["nodes"]["ready"] == 3 && is_settled(object);
        lab.wait_for_pool("islands", "a node that is back in", back).unwrap();

        for node in &nodes {
            assert_eq!(lab.node(node).unwrap().label("islands.example/tide"), Some("high"), "{node}");
        }

        // From here on there is one manager: the next change is one write of each node.
        let audit = lab.audit().unwrap();
        lab.settle(&tide("slack")).unwrap();
        let once: Vec<_> = nodes.iter().map(|node| (*node, 1)).collect();
        wait_for("one change of each node in the audit log", LIMIT, || {
            let seen = patches(&audit, &nodes).map_err(|error| error.to_string())?;
            if seen == once { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .unwrap();
        lab.delete_pool("islands").unwrap();
    }
}
