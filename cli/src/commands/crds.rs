//! `turnpike crds`: the definitions of kinds, for `kubectl apply`.

/// Print the CustomResourceDefinitions of Turnpike's kinds: turnpike crds | kubectl apply --server-side -f -
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The standard kinds of Gateway API (experimental channel), too.
    #[arg(long)]
    standard: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let standard = crds::STANDARD_DEFINITIONS.iter().filter(|_| args.standard);
    let texts: Vec<&str> =
        crds::DEFINITIONS.iter().chain(standard).map(|(_, yaml)| yaml.trim_end()).collect();
    crate::output::say(&texts.join("\n---\n"))
}
