//! What commands print: text for people, or JSON with `-o json`; colours only on a terminal.

use std::io::{IsTerminal, Write};

/// Form of a command's result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Output {
    /// Prints `value`, or the text that `text` makes.
    pub(crate) fn print<T: serde::Serialize>(
        self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let out = match self {
            Self::Text => text(),
            Self::Json => serde_json::to_string_pretty(value)?,
        };
        say(&out)
    }
}

/// Prints a line to standard output. A reader that went away (`| head`) ends the program without a complaint.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// How a piece of text stands out on a terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    Good,
    Warning,
    Bad,
    Strong,
}

/// `text` in colour, when standard output is a terminal and `NO_COLOR` is not set.
pub(crate) fn paint(style: Style, text: &str) -> String {
    if !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return text.to_owned();
    }
    let code = match style {
        Style::Good => "32",
        Style::Warning => "33",
        Style::Bad => "31",
        Style::Strong => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
