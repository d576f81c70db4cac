//! `turnpike key`: API keys. Only hashes are kept; a lost key cannot be shown again.

use sha2::{Digest, Sha256};

use crate::output::Output;

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
    },
}

#[derive(serde::Serialize)]
struct NewKey {
    name: String,
    key: String,
    sha256: String,
}

pub(crate) fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let Command::New { name } = args.command;
    // 256 random bits: plain SHA-256 is safe for keys that nobody can guess.
    let secret: [u8; 32] = rand::random();
    let key = format!("tk_{}", hex(&secret));
    let sha256 = hex(&Sha256::digest(key.as_bytes()));
    let new = NewKey { name, key, sha256 };
    output.print(&new, || {
        format!(
            "Key (shown only now, give it to the consumer):\n\n  {}\n\nFor the Consumer:\n\nspec:\n  credentials:\n    apiKeys:\n      \
             - name: {}\n        sha256: {}\n",
            new.key, new.name, new.sha256
        )
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
