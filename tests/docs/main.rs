//! The tutorial is run as it stands: every block of the page, in order, with the built program, in an empty folder.
//!
//! A fenced block marked `sh` is run; what is expected of it stands in an HTML comment before it, which a reader of
//! the page does not see (see `page`). Nothing of the page is repeated here.

mod metrics;
mod page;
mod terminal;

use std::path::Path;
use std::time::{Duration, Instant};

use page::{Page, Step};
use terminal::{Desk, Ran};

/// For a terminal to show what it should.
const SHOWN_WITHIN: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(200);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the root")
}

#[test]
fn the_tutorial_works_as_it_stands() {
    let page = Page::read(&root().join("docs/tutorial.md"));
    assert!(
        page.steps.len() > 15,
        "the page has {} steps: are its blocks still marked `sh`?",
        page.steps.len()
    );
    let mut desk = Desk::new(page.port("9090"));
    for step in &page.steps {
        run(&mut desk, step);
    }
    metrics::compare(&mut desk);
    desk.interrupt("up");
}

fn run(desk: &mut Desk, step: &Step) {
    if let Some(name) = &step.look {
        return shows(desk, name, step);
    }
    if let Some(name) = &step.terminal {
        desk.open(name, &step.script);
        return shows(desk, name, step);
    }
    let end = Instant::now() + step.within;
    loop {
        let ran = desk.run(&step.script);
        match complaint(step, &ran) {
            None => return,
            Some(complaint) if Instant::now() >= end => {
                panic!(
                    "line {}: {complaint}\n--- block\n{}\n--- output\n{}",
                    step.line, step.script, ran.output
                )
            }
            Some(_) => std::thread::sleep(POLL),
        }
    }
}

/// What is not as the page expects it.
fn complaint(step: &Step, ran: &Ran) -> Option<String> {
    if ran.code != step.exit {
        return Some(format!("exit code {} instead of {}", ran.code, step.exit));
    }
    let missing = step.expect.iter().find(|part| !ran.output.contains(*part))?;
    Some(format!("the output lacks `{missing}`"))
}

fn shows(desk: &Desk, name: &str, step: &Step) {
    let end = Instant::now() + SHOWN_WITHIN;
    loop {
        let seen = desk.seen(name);
        let Some(missing) = step.until.iter().find(|part| !seen.contains(*part)) else { return };
        assert!(
            Instant::now() < end,
            "line {}: terminal `{name}` does not show `{missing}` within {SHOWN_WITHIN:?}, but\n{seen}",
            step.line
        );
        std::thread::sleep(POLL);
    }
}
