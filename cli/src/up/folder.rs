//! The folder of resources: its files, and what of them is in force.
//!
//! A file whose new content is refused keeps its former content in force, as an API server keeps an object
//! whose update it refuses. So a half-written file never takes a route away.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Larger files are refused: no hand writes them.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// More files than this are refused.
const MAX_FILES: usize = 10_000;
/// Folders below the given one.
const MAX_DEPTH: usize = 8;

/// Name (relative to the folder) and content of the files in it.
pub(crate) type Files = BTreeMap<String, String>;

/// What a reading found.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Files that could be read.
    pub(crate) files: Files,
    /// One line for each that could not.
    pub(crate) problems: Vec<String>,
}

/// Reads all `.yaml` and `.yml` files below `folder`, in the order of their names; hidden ones are left out.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Reading> {
    if !folder.is_dir() {
        bail!("{} is not a folder: name the folder that holds your YAML files", folder.display());
    }
    let mut reading = Reading::default();
    collect(folder, folder, 0, &mut reading)
        .with_context(|| format!("cannot read {}: check its permissions", folder.display()))?;
    if reading.files.len() > MAX_FILES {
        bail!(
            "{} holds more than {MAX_FILES} YAML files: join some, or name a folder below",
            folder.display()
        );
    }
    Ok(reading)
}

fn collect(root: &Path, folder: &Path, depth: usize, reading: &mut Reading) -> io::Result<()> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        if path.is_dir() {
            if path.is_symlink() {
                // It may lead out of the folder, to all of the disk, or back into itself.
                reading
                    .problems
                    .push(format!("{name}: links to folders are not followed; link to its files"));
            } else if depth == MAX_DEPTH {
                reading.problems.push(format!("{name}: folders are read to a depth of {MAX_DEPTH}"));
            } else if let Err(error) = collect(root, &path, depth + 1, reading) {
                reading.problems.push(format!("{name}: cannot read this folder: {error}"));
            }
        } else if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            match read_file(&path) {
                _ if reading.files.len() > MAX_FILES => return Ok(()),
                Ok(text) => drop(reading.files.insert(name, text)),
                Err(problem) => reading.problems.push(format!("{name}: {problem}")),
            }
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<String, String> {
    // A pipe would keep us waiting for ever, and a device has no end.
    if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it is too large: split it below {MAX_FILE_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_yaml_in_order_and_names_what_it_cannot() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.yaml"), "b").unwrap();
        fs::write(folder.path().join("a.yml"), "a").unwrap();
        fs::write(folder.path().join(".hidden.yaml"), "no").unwrap();
        fs::write(folder.path().join("note.txt"), "no").unwrap();
        fs::write(folder.path().join("bad.yaml"), [0xff, 0xfe]).unwrap();
        fs::create_dir(folder.path().join("more")).unwrap();
        fs::write(folder.path().join("more/c.yaml"), "c").unwrap();
        let reading = read(folder.path()).unwrap();
        assert_eq!(reading.files.keys().collect::<Vec<_>>(), ["a.yml", "b.yaml", "more/c.yaml"]);
        assert_eq!(reading.problems, ["bad.yaml: it is not UTF-8 text"]);
    }

    #[test]
    fn what_is_no_plain_file_or_folder_is_named_and_not_read() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.yaml"), "a").unwrap();
        symlink("a.yaml", at("alias.yaml")).unwrap();
        symlink("/dev/zero", at("endless.yaml")).unwrap();
        symlink("nowhere", at("gone.yaml")).unwrap();
        symlink(".", at("loop")).unwrap();
        symlink("/", at("root")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(at("pipe.yaml")).status().unwrap();
        assert!(made.success());
        let reading = read(folder.path()).unwrap();
        assert_eq!(reading.files.keys().collect::<Vec<_>>(), ["a.yaml", "alias.yaml"]);
        let told: Vec<&str> = reading.problems.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(
            told,
            ["endless.yaml", "gone.yaml", "loop", "pipe.yaml", "root"],
            "{:?}",
            reading.problems
        );
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = read(Path::new("/nonexistent/folder")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/folder is not a folder"), "{error}");
    }
}
