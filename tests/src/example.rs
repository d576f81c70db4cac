//! `examples/shop` on ports of a test's own.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::free_port;

/// The ports that the example's files name: HTTP, HTTPS, upstream, alert receiver.
const PORTS: [u16; 4] = [8080, 8443, 9080, 9081];

/// A copy of the example.
#[derive(Debug)]
pub struct Example {
    root: TempDir,
    /// Port of its HTTP listener.
    pub http: u16,
}

impl Example {
    /// Copies it, with free ports in place of its own.
    pub fn copy() -> anyhow::Result<Self> {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root").join("examples");
        let ports = PORTS.map(|port| (port.to_string(), free_port()));
        let with_ports =
            |text: String| ports.iter().fold(text, |text, (from, to)| text.replace(from, &to.to_string()));
        let root = tempfile::tempdir()?;
        std::fs::create_dir(root.path().join("shop"))?;
        for entry in std::fs::read_dir(examples.join("shop"))? {
            let path = entry?.path();
            let name = path.file_name().expect("a file has a name");
            std::fs::write(root.path().join("shop").join(name), with_ports(std::fs::read_to_string(&path)?))?;
        }
        let traffic = std::fs::read_to_string(examples.join("shop-traffic.json"))?;
        std::fs::write(root.path().join("traffic.json"), with_ports(traffic))?;
        Ok(Self { root, http: ports[0].1 })
    }

    /// Options of `turnpike up` for it.
    pub fn args(&self) -> Vec<PathBuf> {
        let options = ["up", "--listen", "127.0.0.1:0"].map(PathBuf::from);
        let named = [("--demo", self.root.path().join("traffic.json")), ("--state", self.state())];
        let mut args = Vec::from(options);
        args.extend(named.into_iter().flat_map(|(name, path)| [PathBuf::from(name), path]));
        args.push(self.root.path().join("shop"));
        args
    }

    /// Its state folder.
    pub fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }
}
