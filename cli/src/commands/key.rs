//! `turnpike key`: API keys. Only hashes are kept; a lost key cannot be shown again.

use std::io::Read;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::output::{Output, say};
use crate::state::hex;

/// The longest key that is hashed; gateways read no longer ones either.
const MAX_KEY_BYTES: u64 = 512;

/// Make and hash API keys.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a new random key and show it once, with the lines for a Consumer.
    New {
        /// Name of the key in the Consumer, for people.
        #[arg(long, default_value = "default")]
        name: String,
        /// Print the key alone, for scripts; `turnpike key hash` makes its hash.
        #[arg(long)]
        raw: bool,
    },
    /// Read a key from standard input and print its hash, as `sha256` in a Consumer wants it.
    ///
    /// For keys that exist already. They must be random: a hash does not hide a word that can be guessed.
    Hash,
}

#[derive(serde::Serialize)]
struct NewKey {
    name: String,
    key: String,
    sha256: String,
}

pub(crate) fn run(args: Args, output: Output) -> anyhow::Result<()> {
    match args.command {
        Command::New { name, raw } => new(name, raw, output),
        Command::Hash => hash(output),
    }
}

fn new(name: String, raw: bool, output: Output) -> anyhow::Result<()> {
    // 256 random bits: plain SHA-256 is safe for keys that nobody can guess.
    let secret: [u8; 32] = rand::random();
    let key = format!("tk_{}", hex(&secret));
    if raw {
        return say(&key);
    }
    let sha256 = hex(&Sha256::digest(key.as_bytes()));
    let new = NewKey { name, key, sha256 };
    output.print(&new, || {
        format!(
            "Key (shown only now, give it to the consumer):\n\n  {}\n\nFor the Consumer resource, which keeps only the hash:\n\nspec:\n  credentials:\n    apiKeys:\n      \
             - name: {}\n        sha256: {}\n",
            new.key, new.name, new.sha256
        )
    })
}

fn hash(output: Output) -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(MAX_KEY_BYTES + 1)
        .read_to_string(&mut text)
        .context("cannot read a key from standard input")?;
    let key = text.trim_end_matches(['\r', '\n']);
    if key.is_empty() || key.len() as u64 > MAX_KEY_BYTES || key.contains(char::is_whitespace) {
        bail!("give one key of 1 to {MAX_KEY_BYTES} bytes without spaces, as in `turnpike key hash < file`");
    }
    let sha256 = hex(&Sha256::digest(key.as_bytes()));
    output.print(&serde_json::json!({ "sha256": sha256 }), || sha256.clone())
}
