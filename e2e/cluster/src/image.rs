//! Container images without a container engine: a file system of a few files as a reproducible OCI archive.
//!
//! The same files give the same digest, wherever and whenever the image is built: no times, no owners, sorted entries,
//! and a layer without compression, whose bytes depend on no library's version. The layout is
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>; the name stands in the annotation that
//! containerd reads when it imports an archive.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::error::{Doing, Result};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// The user that containers run as: numeric, so that `runAsNonRoot` can tell that it is not root.
const USER: &str = "65532:65532";

/// An image that holds one static program.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// Its name, with a host that has a dot (`stowage.invalid/web:1`): containerd would look for any other on docker.io.
    pub reference: &'a str,
    /// The program; it stands at `/NAME` in the image and is the entrypoint.
    pub program: &'a Path,
    /// Its labels, as `org.opencontainers.image.*`.
    pub labels: &'a [(&'a str, &'a str)],
}

impl Image<'_> {
    /// Writes the image as an OCI archive, and returns the digest of its manifest as `sha256:…`.
    pub fn write(&self, archive: &Path) -> Result<String> {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        let program = fs::read(self.program).doing(|| format!("read {}", self.program.display()))?;
        let layer = layer(&name, &program).doing(|| format!("make the layer of {}", self.reference))?;
        let labels: BTreeMap<_, _> = self.labels.iter().copied().collect();
        let config = bytes(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": [format!("/{name}")], "User": USER, "WorkingDir": "/", "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        }));
        let manifest = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, &config),
            "layers": [descriptor(LAYER_TYPE, &layer)],
        }));
        let index = bytes(&self.index(&manifest));
        let blob = |content: &[u8]| format!("blobs/sha256/{}", hex(content));
        let files = BTreeMap::from([
            ("oci-layout".to_owned(), bytes(&json!({"imageLayoutVersion": "1.0.0"}))),
            ("index.json".to_owned(), index),
            (blob(&config), config),
            (blob(&layer), layer),
            (blob(&manifest), manifest.clone()),
        ]);
        write_archive(archive, &files).doing(|| format!("write {}", archive.display()))?;
        Ok(digest(&manifest))
    }

    fn index(&self, manifest: &[u8]) -> Value {
        let tag = self.reference.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let mut descriptor = descriptor(MANIFEST_TYPE, manifest);
        if let Some(fields) = descriptor.as_object_mut() {
            fields.insert("platform".to_owned(), json!({"architecture": architecture(), "os": "linux"}));
            let annotations =
                json!({"io.containerd.image.name": self.reference, "org.opencontainers.image.ref.name": tag});
            fields.insert("annotations".to_owned(), annotations);
        }
        json!({"schemaVersion": 2, "manifests": [descriptor]})
    }
}

/// The program and a `/tmp` that anyone may write to.
fn layer(name: &str, program: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    append(&mut tar, name, 0o755, program)?;
    let mut directory = header(0o1777, 0);
    directory.set_entry_type(EntryType::Directory);
    tar.append_data(&mut directory, "tmp/", std::io::empty())?;
    tar.into_inner()
}

fn write_archive(path: &Path, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    let mut tar = Builder::new(File::create(path)?);
    for (name, content) in files {
        append(&mut tar, name, 0o644, content)?;
    }
    tar.into_inner()?.sync_all()
}

fn append<W: std::io::Write>(
    tar: &mut Builder<W>,
    name: &str,
    mode: u32,
    content: &[u8],
) -> std::io::Result<()> {
    tar.append_data(&mut header(mode, content.len()), name, content)
}

/// Owner root, no time.
fn header(mode: u32, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

/// `serde_json` keeps the keys of an object sorted, so equal values are equal bytes.
fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(content))
}

fn hex(content: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(content))
}

/// The architecture as Go, and so every image, names it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// The files of an archive; each is nobody's and of no time, or the digest would tell who built it and when.
    fn unpack(archive: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        let files = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let header = entry.header();
            let birth = (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap());
            assert_eq!(birth, (0, 0, 0), "{name}");
            let mode = header.mode().unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (name, (mode, content))
        });
        files.collect()
    }

    fn build(dir: &Path, content: &[u8]) -> (String, Vec<u8>) {
        fs::create_dir_all(dir).unwrap();
        let program = dir.join("hello");
        fs::write(&program, content).unwrap();
        let archive = dir.join("image.tar");
        let image = Image { reference: "stowage.invalid/hello:7", program: &program, labels: &[("a", "b")] };
        let digest = image.write(&archive).unwrap();
        (digest, fs::read(archive).unwrap())
    }

    // Rule cluster-11.
    #[test]
    fn the_same_program_gives_the_same_archive_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let first = build(&dir.path().join("one"), b"program");
        let second = build(&dir.path().join("two/deeper"), b"program");
        assert_eq!(first, second);
        assert_ne!(first.0, build(&dir.path().join("three"), b"another").0);
    }

    // Rule cluster-11.
    #[test]
    fn the_archive_holds_what_its_index_names_under_the_digest_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let (digest, archive) = build(dir.path(), b"program");
        let files = unpack(&archive);
        let blob = |descriptor: &Value| {
            let name = descriptor["digest"].as_str().unwrap();
            let (_, content) = &files[&format!("blobs/{}", name.replace(':', "/"))];
            assert_eq!(super::digest(content), name);
            assert_eq!(descriptor["size"], content.len());
            content.clone()
        };
        let index: Value = serde_json::from_slice(&files["index.json"].1).unwrap();
        let named = &index["manifests"][0];
        assert_eq!(named["digest"], digest.as_str());
        // What containerd calls the machines that this crate runs on.
        assert!(["amd64", "arm64"].map(Value::from).contains(&named["platform"]["architecture"]), "{named}");
        assert_eq!(named["annotations"]["io.containerd.image.name"], "stowage.invalid/hello:7");
        let manifest: Value = serde_json::from_slice(&blob(named)).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/hello"]));
        let layer = blob(&manifest["layers"][0]);
        assert_eq!(config["rootfs"]["diff_ids"][0], super::digest(&layer).as_str());
        let modes: BTreeMap<_, _> =
            unpack(&layer).into_iter().map(|(name, (mode, _))| (name, mode)).collect();
        assert_eq!(modes, BTreeMap::from([("hello".to_owned(), 0o755), ("tmp/".to_owned(), 0o1777)]));
    }
}
