//! What is known of the uninstall only after it.

/// With the audit log of the project's own cluster as the witness.
mod audited {
    use stowage_e2e::{Audit, Lab};

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
