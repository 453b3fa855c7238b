//! A node: containerd, kubelet and kube-proxy on a machine of its own, with its own /run, /etc, /var and control groups.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, path::Path, time::Duration};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    error::{Doing, Error, Result},
    host::{Daemon, Host},
    network::{DNS_SERVICE, PODS, node_address, pod_range},
    preflight::find,
    spec::{Size, Spec},
    state::{Folder, create_dir},
};

/// The image of the container that holds a pod's namespaces: on every node, and good for a pod that does nothing.
pub const PAUSE_IMAGE: &str = "stowage.invalid/pause:1";

/// containerd was there after 0.2 s.
const CONTAINERD_LIMIT: Duration = Duration::from_secs(60);

const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// Where Debian puts the network plugins.
const CNI_PLUGINS: &str = "/usr/lib/cni";

/// A node's place in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) number: u8,
    zone: u8,
}

impl Spec {
    /// The real nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        (1..=self.nodes).map(|number| Node::new(number, self.zones))
    }
}

impl Node {
    /// Node `number`, counted from 1, of a cluster with `zones` zones.
    pub(crate) fn new(number: u8, zones: u8) -> Self {
        Self { name: format!("n{number}"), number, zone: number.saturating_sub(1) % zones.max(1) + 1 }
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        node_address(self.number)
    }

    /// The object: made before the kubelet, so that the pod range is the one that its route leads to.
    pub(crate) fn object(&self) -> Value {
        let pods = pod_range(self.number);
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": {
                "topology.kubernetes.io/region": "region-1",
                "topology.kubernetes.io/zone": format!("zone-{}", self.zone),
            }},
            "spec": {"podCIDR": pods, "podCIDRs": [pods]},
        })
    }
}

/// A node's machine and what its programs need to know.
pub(crate) struct Machine<'a> {
    pub(crate) node: &'a Node,
    pub(crate) host: &'a Host,
    pub(crate) folder: &'a Folder,
    pub(crate) programs: &'a Path,
    pub(crate) size: &'a Size,
}

impl Machine<'_> {
    /// Gives the machine its file systems and starts containerd: all that needs no API server.
    pub(crate) fn boot(&self) -> Result<()> {
        self.mount()?;
        self.write_files()?;
        self.host.sysctl("net.ipv4.ip_forward=1")?;
        self.start_containerd()?;
        self.load_image(&self.folder.pause_image())
    }

    /// Starts kubelet and kube-proxy; the node's object must be there.
    pub(crate) fn join(&self) -> Result<()> {
        self.start_kubelet()?;
        let config = self.write_config("kube-proxy", &self.proxy_config())?;
        self.start("kube-proxy", vec![format!("--config={config}")])
    }

    /// Starts the kubelet.
    pub(crate) fn start_kubelet(&self) -> Result<()> {
        let config = self.write_config("kubelet", &self.kubelet_config()?)?;
        let kubeconfig = self.folder.pki().join(format!("node-{}.kubeconfig", self.node.name));
        self.start(
            "kubelet",
            vec![
                format!("--config={config}"),
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--hostname-override={}", self.node.name),
                format!("--node-ip={}", self.node.address()),
                "--root-dir=/var/lib/kubelet".to_owned(),
                "--v=2".to_owned(),
            ],
        )
    }

    /// Imports an image archive.
    pub(crate) fn load_image(&self, archive: &Path) -> Result<()> {
        let file = fs::File::open(archive).doing(|| format!("open {}", archive.display()))?;
        let mut import = self.host.command("ctr");
        import.args(["--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", "images", "import", "-"]);
        // Through standard input: the node does not see every folder of the machine.
        crate::program::run(import.stdin(file)).map(drop)
    }

    fn start(&self, program: &str, arguments: Vec<String>) -> Result<()> {
        self.host.daemon(&Daemon { program: self.programs.join(program), arguments })
    }

    /// /run goes first, and mtab is left alone: `mount` would otherwise make /run/mount on the machine itself.
    fn mount(&self) -> Result<()> {
        let mount = |arguments: &[&str]| self.host.run("mount", &[&["-n"], arguments].concat()).map(drop);
        mount(&["--make-rshared", "/"])?;
        mount(&["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"])?;
        self.host.sysctl(&format!("kernel.hostname={}", self.node.name))?;
        mount(&["-t", "sysfs", "-o", "nosuid,nodev,noexec", "sysfs", "/sys"])?;
        self.mount_cgroups()?;
        let disk = self.folder.disk(&self.node.name);
        for layered in ["/var", "/etc"] {
            let (upper, work) = (disk.join(format!("upper{layered}")), disk.join(format!("work{layered}")));
            create_dir(&upper)?;
            create_dir(&work)?;
            let options =
                format!("lowerdir={layered},upperdir={},workdir={}", upper.display(), work.display());
            mount(&["-t", "overlay", "-o", &options, "overlay", layered])?;
        }
        // Container file systems are overlays themselves, which cannot lie on an overlay.
        for (own, place) in [
            ("kubelet", "/var/lib/kubelet"),
            ("containerd", "/var/lib/containerd"),
            ("pods", "/var/log/pods"),
            ("containers", "/var/log/containers"),
        ] {
            let own = disk.join(own);
            create_dir(&own)?;
            self.host.create_dir(place)?;
            mount(&["--bind", &own.to_string_lossy(), place])?;
        }
        self.fake_memory()?;
        mount(&["--make-rshared", "/"])
    }

    fn mount_cgroups(&self) -> Result<()> {
        let mount =
            |arguments: &[&str]| self.host.run("mount", &[&["-n", "-t"], arguments].concat()).map(drop);
        let hierarchies = self.host.group().mounts();
        if hierarchies.is_empty() {
            return mount(&["cgroup2", "cgroup2", "/sys/fs/cgroup"]);
        }
        mount(&["tmpfs", "-o", "mode=755", "tmpfs", "/sys/fs/cgroup"])?;
        for (name, options) in hierarchies {
            let point = format!("/sys/fs/cgroup/{name}");
            self.host.create_dir(&point)?;
            mount(&["cgroup", "-o", options, "cgroup", &point])?;
        }
        Ok(())
    }

    /// A kubelet reports what /proc/meminfo says.
    fn fake_memory(&self) -> Result<()> {
        let Some(mib) = self.size.memory_mib else { return Ok(()) };
        let path = "/proc/meminfo";
        let real = fs::read_to_string(path).doing(|| format!("read {path}"))?;
        let fake = self.folder.disk(&self.node.name).join("meminfo");
        fs::write(&fake, meminfo_of(&real, u64::from(mib) << 10))
            .doing(|| format!("write {}", fake.display()))?;
        self.host.run("mount", &["-n", "--bind", &fake.to_string_lossy(), path]).map(drop)
    }

    fn write_files(&self) -> Result<()> {
        let host = self.host;
        // An empty resolv.conf: nothing on a node asks the machine's own name servers.
        for folder in ["/etc/cni/net.d", "/var/lib/cni"] {
            host.create_dir(folder)?;
        }
        host.replace("/etc/resolv.conf", "")?;
        host.replace("/etc/machine-id", &format!("{}\n", machine_id(&self.node.name)))?;
        host.write("/etc/cni/net.d/10-pods.conflist", &format!("{:#}\n", self.pod_network()))?;
        let runc =
            find("runc").ok_or_else(|| Error::refused("runc is not in PATH", "install the package runc"))?;
        host.write("/run/containerd.toml", &containerd_config(&runc))
    }

    /// A veth pair and a route for each pod, no bridge; addresses are kept in /run, so that a return starts clean.
    fn pod_network(&self) -> Value {
        let ranges = json!([[{"subnet": pod_range(self.node.number)}]]);
        json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
            {"type": "ptp", "ipMasq": false, "ipam": {
                "type": "host-local", "dataDir": "/run/cni-ipam", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}],
            }},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ]})
    }

    fn start_containerd(&self) -> Result<()> {
        let program = find("containerd")
            .ok_or_else(|| Error::refused("containerd is not in PATH", "install the package containerd"))?;
        let arguments = vec!["--config".to_owned(), "/run/containerd.toml".to_owned()];
        self.host.daemon(&Daemon { program, arguments })?;
        self.host.wait_for_daemon("containerd", "containerd's answer", CONTAINERD_LIMIT, || {
            if !self.host.path(CONTAINERD_SOCKET).exists() {
                return Err("no socket".to_owned());
            }
            self.host
                .run("ctr", &["--address", CONTAINERD_SOCKET, "version"])
                .map(drop)
                .map_err(|error| error.to_string())
        })
    }

    /// Configurations are written as JSON, which their readers take for the YAML that it is.
    fn write_config(&self, program: &str, config: &Value) -> Result<String> {
        let path = self.folder.disk(&self.node.name).join(format!("{program}.json"));
        fs::write(&path, format!("{config:#}\n")).doing(|| format!("write {}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn kubelet_config(&self) -> Result<Value> {
        let pki = |file: String| self.folder.pki().join(file);
        let name = &self.node.name;
        Ok(json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            // Refused by default since 1.35; the cure for machines that have no other.
            "failCgroupV1": false,
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": true,
            "enforceNodeAllocatable": ["pods"],
            "failSwapOn": false,
            "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
            "address": "0.0.0.0",
            "port": 10250,
            "healthzBindAddress": "127.0.0.1",
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": pki("ca.crt".to_owned())},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": pki(format!("kubelet-{name}.crt")),
            "tlsPrivateKeyFile": pki(format!("kubelet-{name}.key")),
            "clusterDNS": [DNS_SERVICE],
            "clusterDomain": "cluster.local",
            "resolvConf": "/dev/null",
            // The disk is the machine's: its fill level says nothing about the node.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%",
            },
            // Without CAP_SYS_RESOURCE nobody may ask for less.
            "oomScoreAdj": 0,
            "makeIPTablesUtilChains": false,
            "nodeStatusUpdateFrequency": "5s",
            "nodeLeaseDurationSeconds": 20,
            "maxPods": self.size.pods.unwrap_or(110),
            "systemReserved": self.reserved()?,
            // Tests kill containers: a minute of back-off each would be hours.
            "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        }))
    }

    /// A node has all processors of the machine; what pods are not to have is reserved.
    fn reserved(&self) -> Result<BTreeMap<&'static str, String>> {
        let Some(wanted) = self.size.cpu_millis else { return Ok(BTreeMap::new()) };
        let processors =
            std::thread::available_parallelism().doing(|| "count the processors".to_owned())?.get();
        let all = u32::try_from(processors).unwrap_or(u32::MAX).saturating_mul(1000);
        Ok(BTreeMap::from([("cpu", format!("{}m", all.saturating_sub(wanted)))]))
    }

    fn proxy_config(&self) -> Value {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clusterCIDR": PODS,
            "hostnameOverride": self.node.name,
            "bindAddress": self.node.address(),
            "metricsBindAddress": "127.0.0.1:10249",
            "healthzBindAddress": "127.0.0.1:10256",
            "clientConnection": {"kubeconfig": self.folder.pki().join("proxy.kubeconfig")},
            "conntrack": {"maxPerCore": 0, "tcpBeLiberal": true},
            "nftables": {"minSyncPeriod": "100ms"},
            "oomScoreAdj": 0,
        })
    }
}

/// Written for containerd 1.6 (bookworm) and 1.7; 2.x reads it as the older version it declares.
fn containerd_config(runc: &Path) -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
# Snapshotters that this kind of node never uses only slow the start.
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE no pod would start: runc may not lower oom_score_adj.
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{}"
        SystemdCgroup = false
"#,
        runc.display()
    )
}

/// A machine id that is the node's own and the same after each return: the kubelet reports it.
fn machine_id(name: &str) -> String {
    format!("{:.32}", base16ct::lower::encode_string(&Sha256::digest(name)))
}

/// /proc/meminfo with another total, and nothing above it.
fn meminfo_of(real: &str, kib: u64) -> String {
    let line = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let number = value.trim().trim_end_matches(" kB").parse::<u64>().ok();
        match (name, number) {
            ("MemTotal" | "MemFree" | "MemAvailable", Some(_)) => {
                format!("{:<16}{kib} kB\n", format!("{name}:"))
            }
            ("SwapTotal" | "SwapFree", Some(_)) => format!("{:<16}0 kB\n", format!("{name}:")),
            _ => format!("{line}\n"),
        }
    };
    real.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_take_turns_in_the_zones() {
        let zone = |number, zones| {
            Node::new(number, zones).object()["metadata"]["labels"]["topology.kubernetes.io/zone"].clone()
        };
        let seen: Vec<_> = (1..=4).map(|number| zone(number, 3)).collect();
        assert_eq!(seen, ["zone-1", "zone-2", "zone-3", "zone-1"]);
        assert_eq!(zone(3, 1), "zone-1");
    }

    #[test]
    fn a_smaller_node_keeps_the_form_of_meminfo() {
        let real = "MemTotal:       24576000 kB\nMemFree:        20000000 kB\nBuffers:            1000 kB\nSwapTotal:           99 kB\n";
        let expected = "MemTotal:       4194304 kB\nMemFree:        4194304 kB\nBuffers:            1000 kB\nSwapTotal:      0 kB\n";
        assert_eq!(meminfo_of(real, 4 << 20), expected);
    }

    #[test]
    fn each_node_has_a_machine_id_of_its_own() {
        assert_eq!(machine_id("n1").len(), 32);
        assert_ne!(machine_id("n1"), machine_id("n2"));
    }
}
