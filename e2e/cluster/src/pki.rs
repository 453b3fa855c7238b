//! The cluster's own keys and certificates, and the kubeconfigs made of them.
//!
//! Who needs which certificate: <https://kubernetes.io/docs/setup/best-practices/certificates/>.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;

use crate::{
    error::{Doing, Error, Result},
    network::{API_SERVICE, CONTROL_PLANE},
};

/// The folder of keys and certificates of one cluster.
#[derive(Debug)]
pub(crate) struct Pki {
    folder: PathBuf,
    cluster: Authority,
    front_proxy: Authority,
    etcd: Authority,
}

#[derive(Debug)]
struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

/// Whom a certificate is for, and what it is good for.
struct Leaf<'a> {
    file: &'a str,
    name: &'a str,
    group: Option<&'a str>,
    usage: &'a [ExtendedKeyUsagePurpose],
    hosts: &'a [&'a str],
    addresses: &'a [Ipv4Addr],
}

const CLIENT: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ClientAuth];
const SERVER: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth];
const BOTH: &[ExtendedKeyUsagePurpose] =
    &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

impl Leaf<'_> {
    const fn client<'a>(file: &'a str, name: &'a str, group: Option<&'a str>) -> Leaf<'a> {
        Leaf { file, name, group, usage: CLIENT, hosts: &[], addresses: &[] }
    }
}

/// The group of all virtual-kubelets. They are no nodes to the API server, whose rules for those they could not live by:
/// they watch all Secrets, `ConfigMaps` and Services.
pub(crate) const VIRTUAL_KUBELETS: &str = "virtual-kubelets";

/// Users of the API that are not nodes.
const USERS: [Leaf<'static>; 6] = [
    Leaf::client("admin", "admin", Some("system:masters")),
    Leaf::client("apiserver-kubelet", "kube-apiserver-kubelet-client", Some("system:masters")),
    Leaf::client("controller-manager", "system:kube-controller-manager", None),
    // A user of its own, which the audit policy leaves out: its writes are 6 MB a minute.
    Leaf::client("kwok", "kwok", Some("system:masters")),
    Leaf::client("proxy", "system:kube-proxy", None),
    Leaf::client("scheduler", "system:kube-scheduler", None),
];

/// The users that get a kubeconfig for the network inside.
const INSIDE: [&str; 4] = ["controller-manager", "kwok", "proxy", "scheduler"];

impl Pki {
    /// Makes authorities, certificates, the key of service account tokens, and kubeconfigs.
    ///
    /// `context` names the administrator's context, `port` is where the API is served on 127.0.0.1.
    pub(crate) fn create(folder: &Path, context: &str, port: u16) -> Result<Self> {
        let folder = folder.to_owned();
        let pki = Self {
            cluster: Authority::create(&folder, "ca", "kubernetes-ca")?,
            front_proxy: Authority::create(&folder, "front-proxy-ca", "front-proxy-ca")?,
            etcd: Authority::create(&folder, "etcd-ca", "etcd-ca")?,
            folder,
        };
        let names = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
        ];
        let addresses = [Ipv4Addr::LOCALHOST, API_SERVICE, CONTROL_PLANE];
        let server = Leaf {
            file: "apiserver",
            name: "kube-apiserver",
            group: None,
            usage: SERVER,
            hosts: &names,
            addresses: &addresses,
        };
        pki.cluster.issue(&pki.folder, &server)?;
        for user in &USERS {
            pki.cluster.issue(&pki.folder, user)?;
        }
        pki.front_proxy
            .issue(&pki.folder, &Leaf::client("front-proxy-client", "front-proxy-client", None))?;
        pki.etcd.issue(&pki.folder, &Leaf::client("apiserver-etcd", "kube-apiserver-etcd-client", None))?;
        let etcd = Leaf {
            file: "etcd",
            name: "etcd",
            group: None,
            usage: BOTH,
            hosts: &["localhost"],
            addresses: &[Ipv4Addr::LOCALHOST],
        };
        pki.etcd.issue(&pki.folder, &etcd)?;
        let tokens = new_key("service account tokens")?;
        write(&pki.folder, "service-accounts.key", &tokens.serialize_pem())?;
        write(&pki.folder, "service-accounts.pub", &tokens.public_key_pem())?;

        let inside = format!("https://{CONTROL_PLANE}:6443");
        for user in INSIDE {
            pki.kubeconfig(user, user, "inside", &inside)?;
        }
        pki.kubeconfig("admin", "admin", context, &format!("https://127.0.0.1:{port}"))?;
        Ok(pki)
    }

    /// Makes the certificates and the kubeconfig of a node.
    pub(crate) fn node(&self, name: &str, address: Ipv4Addr) -> Result<()> {
        self.kubelet(name, &format!("system:node:{name}"), "system:nodes", address)
    }

    /// Makes the certificates and the kubeconfig of a virtual node.
    pub(crate) fn virtual_node(&self, name: &str, address: Ipv4Addr) -> Result<()> {
        self.kubelet(name, &format!("virtual-kubelet:{name}"), VIRTUAL_KUBELETS, address)
    }

    fn kubelet(&self, name: &str, user: &str, group: &str, address: Ipv4Addr) -> Result<()> {
        let (client, server) = (format!("node-{name}"), format!("kubelet-{name}"));
        self.cluster.issue(&self.folder, &Leaf::client(&client, user, Some(group)))?;
        let serving = Leaf {
            file: &server,
            name: user,
            group: Some(group),
            usage: SERVER,
            hosts: &[name],
            addresses: &[address],
        };
        self.cluster.issue(&self.folder, &serving)?;
        self.kubeconfig(&client, &client, "inside", &format!("https://{CONTROL_PLANE}:6443"))
    }

    /// Writes `file`.kubeconfig for the certificate `user`; all it needs is inside, so that it can be carried elsewhere.
    fn kubeconfig(&self, file: &str, user: &str, context: &str, server: &str) -> Result<()> {
        let data = |name: String| -> Result<String> {
            let path = self.folder.join(name);
            Ok(STANDARD.encode(fs::read(&path).doing(|| format!("read {}", path.display()))?))
        };
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": {
                "server": server, "certificate-authority-data": data("ca.crt".to_owned())?,
            }}],
            "users": [{"name": context, "user": {
                "client-certificate-data": data(format!("{user}.crt"))?,
                "client-key-data": data(format!("{user}.key"))?,
            }}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "current-context": context,
        });
        write(&self.folder, &format!("{file}.kubeconfig"), &format!("{config:#}\n"))
    }
}

impl Authority {
    fn create(folder: &Path, file: &str, name: &str) -> Result<Self> {
        let key = new_key(name)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(|source| failed(name, source))?;
        write(folder, &format!("{file}.crt"), &certificate.pem())?;
        write(folder, &format!("{file}.key"), &key.serialize_pem())?;
        Ok(Self { issuer: Issuer::new(params, key) })
    }

    fn issue(&self, folder: &Path, leaf: &Leaf<'_>) -> Result<()> {
        let key = new_key(leaf.name)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, leaf.name);
        if let Some(group) = leaf.group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = leaf.usage.to_vec();
        for host in leaf.hosts {
            let name = (*host).try_into().map_err(|source| failed(host, source))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params
            .subject_alt_names
            .extend(leaf.addresses.iter().map(|address| SanType::IpAddress(IpAddr::V4(*address))));
        let certificate = params.signed_by(&key, &self.issuer).map_err(|source| failed(leaf.name, source))?;
        write(folder, &format!("{}.crt", leaf.file), &certificate.pem())?;
        write(folder, &format!("{}.key", leaf.file), &key.serialize_pem())
    }
}

/// A P-256 key: the one kind that every part of Kubernetes takes and that is made in no time.
fn new_key(subject: &str) -> Result<KeyPair> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|source| failed(subject, source))
}

fn failed(subject: &str, source: rcgen::Error) -> Error {
    Error::Certificate { subject: subject.to_owned(), source }
}

/// Writes a file that only its owner may read.
fn write(folder: &Path, file: &str, text: &str) -> Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let path = folder.join(file);
    let action = || format!("write {}", path.display());
    let mut file =
        fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(&path).doing(action)?;
    file.write_all(text.as_bytes()).doing(action)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn openssl(folder: &Path, arguments: &[&str]) -> String {
        let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    }

    #[test]
    fn each_certificate_is_signed_by_its_authority_and_by_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::create(dir.path(), "lab", 16_443).unwrap();
        pki.node("n1", Ipv4Addr::new(10, 90, 0, 11)).unwrap();
        let signed = [
            ("ca", ["admin", "apiserver", "node-n1", "kubelet-n1", "kwok"].as_slice()),
            ("etcd-ca", &["etcd", "apiserver-etcd"]),
            ("front-proxy-ca", &["front-proxy-client"]),
        ];
        let pairs =
            signed.iter().flat_map(|(authority, leaves)| leaves.iter().map(move |leaf| (*authority, *leaf)));
        for ((authority, leaf), (other, _)) in
            pairs.flat_map(|pair| signed.iter().map(move |other| (pair, other)))
        {
            let seen =
                openssl(dir.path(), &["verify", "-CAfile", &format!("{other}.crt"), &format!("{leaf}.crt")]);
            assert_eq!(seen.contains(": OK"), authority == *other, "{leaf} against {other}: {seen}");
        }
    }

    #[test]
    fn a_node_is_known_by_its_user_and_group_and_serves_under_its_address() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::create(dir.path(), "lab", 16_443).unwrap();
        pki.node("n7", Ipv4Addr::new(10, 90, 0, 17)).unwrap();
        let client = openssl(
            dir.path(),
            &["x509", "-in", "node-n7.crt", "-noout", "-subject", "-ext", "extendedKeyUsage"],
        );
        for part in ["CN = system:node:n7", "O = system:nodes", "TLS Web Client Authentication"] {
            assert!(client.contains(part), "{part} is missing in {client}");
        }
        let server =
            openssl(dir.path(), &["x509", "-in", "kubelet-n7.crt", "-noout", "-ext", "subjectAltName"]);
        assert!(server.contains("DNS:n7, IP Address:10.90.0.17"), "{server}");
    }

    // Rule cluster-12.
    #[test]
    fn the_administrators_kubeconfig_can_be_carried_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        Pki::create(dir.path(), "stowage-lab", 17_000).unwrap();
        let text = fs::read_to_string(dir.path().join("admin.kubeconfig")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(config["current-context"], "stowage-lab");
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://127.0.0.1:17000");
        assert!(!text.contains(&*dir.path().to_string_lossy()), "a path of this machine stands in it");
    }

    // Rule cluster-12.
    #[test]
    fn keys_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Pki::create(dir.path(), "lab", 16_443).unwrap();
        for file in fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", file.path().display());
        }
    }
}
