//! The reference page of the command line, made from its definitions and compared with the committed one.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::CommandFactory;

const HEAD: &str = "# The command line

<!-- Generated from cli/src; do not edit. UPDATE_GOLDEN=1 cargo test -p turnpike -->

What `turnpike COMMAND --help` says, for every command. Results go to standard output, logs and errors to standard
error. Exit code 0: done; 1: it failed, or `check` and `doctor` found something wrong; 2: the command line is wrong.
";

/// `UPDATE_GOLDEN=1` rewrites the page instead.
#[test]
fn the_page_of_commands_is_the_generated_one() {
    let mut page = HEAD.to_owned();
    let mut command = crate::Cli::command().term_width(100);
    command.build();
    section(&mut page, &mut command, "turnpike");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/commands.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/reference/commands.md is stale: UPDATE_GOLDEN=1 cargo test -p turnpike");
}

fn section(page: &mut String, command: &mut clap::Command, name: &str) {
    let help = command.render_long_help().to_string();
    // Lines end where their text does: the page is kept in git.
    let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    write!(page, "\n## {name}\n\n```text\n{}\n```\n", help.join("\n")).unwrap();
    for inner in command.get_subcommands_mut() {
        if inner.get_name() != "help" {
            let name = format!("{name} {}", inner.get_name());
            section(page, inner, &name);
        }
    }
}
