//! Two managers, of which one writes: what happens when it ends, is killed, and is killed again and again.

/// With the project's own cluster, on whose nodes programs can be killed.
mod audited {
    use std::collections::BTreeMap;

    use fastrand::Rng;
    use jiff::{SignedDuration, Timestamp};
    use serde_json::{Value, json};
    use stowage_api::keys::NODEPOOL_LABEL;
    use stowage_cluster::wait_for;
    use stowage_e2e::{
        LIMIT, Lab, MANAGERS, NAMESPACE, Node, Outcome, finally, is_settled, plain_node, pool, pool_selecting,
    };

    /// Where nobody gives the Lease back, it has to run out.
    const AFTER_LOSS: SignedDuration = SignedDuration::from_secs(20);
    /// After a polite end it is given back.
    const AFTER_END: SignedDuration = SignedDuration::from_secs(2);

    const SELECTED: &str = "harbour.example/pier";
    const CONTESTED: &str = "harbour.example/berth";

    /// Waits for a term that began after `moment`; returns how long after.
    fn next_term(lab: &Lab, moment: Timestamp) -> Outcome<SignedDuration> {
        let found = wait_for("another leader", LIMIT, || {
            let term = lab.term().map_err(|error| error.to_string())?;
            if term.since > moment { Ok(term.since.duration_since(moment)) } else { Err(format!("{term:?}")) }
        });
        Ok(found?)
    }

    // Rule e2e-13.
    #[test]
    fn work_goes_on_within_two_seconds_of_a_polite_end_and_twenty_of_any_other() {
        let lab = Lab::open().unwrap();
        let cluster = lab.own().unwrap();
        let [node, ..] = &lab.nodes().unwrap();
        let tide = |value: &str| pool("relay", &[node], &json!({"relay.example/tide": value}));
        lab.settle(&tide("0")).unwrap();
        lab.scale_manager(MANAGERS).unwrap();

        let (_, pod) = lab.manager_place().unwrap();
        let asked = Timestamp::now();
        lab.kubectl.run(&["--namespace", NAMESPACE, "delete", "pod", &pod, "--wait=false"]).unwrap();
        let took = next_term(&lab, asked).unwrap();
        assert!(took <= AFTER_END, "{took:#}");
        lab.settle(&tide("1")).unwrap();
        lab.scale_manager(MANAGERS).unwrap();

        // A container that starts again in its pod is the same candidate: it may lead at once.
        let (place, _) = lab.manager_place().unwrap();
        let killed = Timestamp::now();
        lab.kill_program(&place, "stowage").unwrap();
        lab.settle(&tide("2")).unwrap();
        let took = Timestamp::now().duration_since(killed);
        assert!(took <= AFTER_LOSS, "{took:#}");
        lab.scale_manager(MANAGERS).unwrap();

        // One that stands still with its node is not.
        let (place, _) = lab.manager_place().unwrap();
        let frozen = Timestamp::now();
        cluster.freeze_node(&place).unwrap();
        let replaced = || {
            let took = next_term(&lab, frozen)?;
            assert!(took <= AFTER_LOSS, "{took:#}");
            Ok(())
        };
        finally(replaced, || Ok(cluster.return_node(&place)?)).unwrap();
        lab.settle(&tide("3")).unwrap();
        lab.scale_manager(MANAGERS).unwrap();
        lab.delete_pool("relay").unwrap();
    }

    fn pier(name: &str) -> Value {
        let fields = json!({
            "labels": {CONTESTED: name, format!("harbour.example/{name}"): "yes"},
            "annotations": {"harbour.example/log": name},
        });
        pool_selecting(name, (SELECTED, name), &fields)
    }

    fn is_moored(lab: &Lab, ships: &BTreeMap<String, &str>) -> Result<(), String> {
        for (ship, pier) in ships {
            let node = lab.node(ship).map_err(|error| error.to_string())?;
            let seen = [CONTESTED, NODEPOOL_LABEL].map(|key| node.label(key));
            if seen != [Some(*pier); 2] {
                return Err(format!("{ship} at {pier}: {seen:?}"));
            }
        }
        Ok(())
    }

    /// Kills the manager that leads, or the other: one that has just been killed may lead no more.
    fn kill_one(lab: &Lab, random: &mut Rng) -> Outcome {
        let pods = lab.manager_pods()?;
        let places: Vec<_> = pods.iter().filter_map(|pod| pod.pointer("/spec/nodeName")?.as_str()).collect();
        let place = random.choice(&places).ok_or("no manager")?;
        // It is back within a second or two.
        let killed = wait_for("a manager that runs", LIMIT, || {
            lab.kill_program(place, "stowage").map_err(|error| error.to_string())
        });
        Ok(killed?)
    }

    // Rule e2e-14.
    #[test]
    fn nothing_is_lost_when_managers_are_killed_again_and_again_amid_moves() {
        const MOVES: u64 = 200;
        const KILLS: u64 = 30;
        let (lab, mut random) = (Lab::open().unwrap(), Rng::with_seed(7));
        let names: Vec<_> = (0..10).map(|number| format!("ship-{number}")).collect();
        for name in &names {
            let labels = json!({SELECTED: "east", CONTESTED: format!("own-{name}")});
            lab.kubectl.send("create", &plain_node(name, &labels)).unwrap();
        }
        for name in ["east", "west"] {
            lab.settle(&pier(name)).unwrap();
        }
        let mut ships: BTreeMap<String, &str> = names.iter().map(|name| (name.clone(), "east")).collect();
        wait_for("all ships at the east pier", LIMIT, || is_moored(&lab, &ships)).unwrap();

        let mut left = KILLS;
        for number in 0..MOVES {
            let name = random.choice(&names).unwrap();
            let pier = if random.bool() { "east" } else { "west" };
            lab.set_label(name, SELECTED, Some(pier)).unwrap();
            ships.insert(name.clone(), pier);
            // Each move is as likely as any other to have a kill, and the last ones have those that are left.
            if random.u64(..MOVES - number) < left {
                left -= 1;
                kill_one(&lab, &mut random).unwrap();
            }
        }
        assert_eq!(left, 0);
        wait_for("every ship at its last pier", LIMIT, || is_moored(&lab, &ships)).unwrap();
        for name in ["east", "west"] {
            lab.wait_for_pool(name, "a settled pool", is_settled).unwrap();
            lab.delete_pool(name).unwrap();
        }
        for name in &names {
            let Node { labels, annotations } = lab.node(name).unwrap();
            let own = labels.get(CONTESTED).map(String::as_str);
            assert_eq!(own, Some(format!("own-{name}").as_str()), "the replaced value is lost");
            let ours: Vec<_> =
                labels.keys().chain(annotations.keys()).filter(|key| key.contains("stowage.dev")).collect();
            assert!(ours.is_empty(), "{name}: {ours:?}");
            assert!(
                !labels.contains_key("harbour.example/east") && !labels.contains_key("harbour.example/west")
            );
            lab.delete("node", name).unwrap();
        }
        lab.scale_manager(MANAGERS).unwrap();
    }
}
