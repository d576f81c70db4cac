//! `turnpike check DIR`: compile a folder and say what is wrong, without serving it.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::output::{Output, Style, paint};
use crate::up::compile_folder;

/// Compile a folder of YAML and say what is wrong with it, without serving it.
///
/// Needs no running `turnpike up`. Exit code 1 when anything is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of resources.
    dir: PathBuf,
}

#[derive(Serialize)]
struct Result<'a> {
    version: &'a str,
    problems: &'a [String],
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let compiled = compile_folder(&args.dir)?;
    let result = Result { version: &compiled.snapshot.version, problems: &compiled.problems };
    output.print(&result, || match compiled.problems.len() {
        0 => paint(Style::Good, &format!("{}: nothing wrong", args.dir.display())),
        count => format!(
            "{}\n{}",
            compiled.problems.join("\n"),
            paint(
                Style::Bad,
                &format!("{}: {count} problem{}", args.dir.display(), if count == 1 { "" } else { "s" })
            )
        ),
    })?;
    Ok(if compiled.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
