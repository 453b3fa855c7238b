//! What a pool gave its nodes outlives the nodes' troubles, and costs no write.

/// With the project's own cluster, whose nodes can be lost.
mod audited {
    use serde_json::json;
    use stowage_api::keys::NODEPOOL_LABEL;
    use stowage_e2e::{Lab, SERVICE_ACCOUNT, pool};

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
        let counted = |object: &serde_json::Value| object["status"]["nodes"]["notReady"] == 1;
        lab.wait_for_pool("sturdy", "a node that is missed in", counted).unwrap();
        cluster.return_node("n3").unwrap();
        let counted = |object: &serde_json::Value| object["status"]["nodes"]["ready"] == 1;
        lab.wait_for_pool("sturdy", "a node that is back in", counted).unwrap();

        let after = lab.node("n3").unwrap();
        assert_eq!(after.label("sturdy.example/hull"), Some("double"));
        assert_eq!((after.label(NODEPOOL_LABEL), &after.annotations), (Some("sturdy"), &before.annotations));
        let writes = audit.writes_of(SERVICE_ACCOUNT).unwrap();
        assert!(writes.iter().all(|request| request.resource != "nodes"), "{writes:?}");
        lab.delete_pool("sturdy").unwrap();
    }
}
