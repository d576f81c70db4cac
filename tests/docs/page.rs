//! What a page asks to be run.
//!
//! In: Markdown. Out: its `sh` blocks in order, each with the options of the HTML comment before it:
//! `expect: "text"` (in the output, repeatable), `exit: 1` (default 0), `within: 10 s` (run it again until both hold),
//! `terminal: NAME; until: "text"` (run it in a terminal of its own, go on once that shows the text). A comment
//! `look: NAME; until: "text"` without a block waits for an open terminal. `ports: A B` at the top names the ports of
//! the page; each is replaced by a free one, so that the test disturbs nobody.

use std::path::Path;
use std::time::Duration;

use tests::free_port;

/// A page, ready to be run.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) steps: Vec<Step>,
    ports: Vec<(String, String)>,
}

/// A block, or a look at a terminal.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Line of the page, for messages.
    pub(crate) line: usize,
    pub(crate) script: String,
    pub(crate) expect: Vec<String>,
    pub(crate) until: Vec<String>,
    pub(crate) exit: i32,
    pub(crate) within: Duration,
    pub(crate) terminal: Option<String>,
    pub(crate) look: Option<String>,
}

impl Page {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the page can be read");
        let mut page = Self { steps: Vec::new(), ports: ports(&text) };
        let text = page.ports.iter().fold(text, |text, (from, to)| text.replace(from, to));
        let mut next = Step::default();
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            if let Some(options) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
                if options.starts_with("ports:") {
                    continue;
                }
                next = Step::of(index + 1, options);
                if next.look.is_some() {
                    page.steps.push(std::mem::take(&mut next));
                }
            } else if line == "```sh" {
                let block = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
                next.script = block.collect::<Vec<_>>().join("\n");
                next.line = index + 1;
                page.steps.push(std::mem::take(&mut next));
            }
        }
        page
    }

    /// The port that stands for `port` of the page.
    pub(crate) fn port(&self, port: &str) -> &str {
        &self.ports.iter().find(|(from, _)| from == port).expect("the page names this port").1
    }
}

fn ports(text: &str) -> Vec<(String, String)> {
    let line = text.lines().find_map(|line| line.strip_prefix("<!-- ports: ")?.strip_suffix(" -->"));
    let ports = line.expect("the page names its ports").split_whitespace();
    ports.map(|port| (port.to_owned(), free_port().to_string())).collect()
}

impl Step {
    fn of(line: usize, options: &str) -> Self {
        let mut step = Self { line, ..Self::default() };
        let mut rest = options.trim();
        while let Some((key, after)) = rest.split_once(':') {
            let (value, after) = value(line, after.trim_start());
            match key.trim() {
                "expect" => step.expect.push(value),
                "until" => step.until.push(value),
                "exit" => step.exit = value.parse().expect("exit: a number"),
                "within" => step.within = seconds(&value),
                "terminal" => step.terminal = Some(value),
                "look" => step.look = Some(value),
                other => panic!("line {line}: no option is called `{other}`"),
            }
            rest = after.trim_start().trim_start_matches(';').trim_start();
        }
        assert!(rest.is_empty(), "line {line}: `{rest}` is not of the form `key: value`");
        step
    }
}

/// A value, quoted as in JSON or up to the next semicolon, and what is behind it.
fn value(line: usize, text: &str) -> (String, &str) {
    if !text.starts_with('"') {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        return (value.trim().to_owned(), rest);
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let value = values.next().expect("a text begins here");
    let value = value.unwrap_or_else(|error| panic!("line {line}: {error}"));
    (value, &text[values.byte_offset()..])
}

fn seconds(text: &str) -> Duration {
    let number = text.strip_suffix(" s").expect("within: a number of seconds, as in `10 s`");
    Duration::from_secs(number.parse().expect("within: a whole number"))
}
