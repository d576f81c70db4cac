//! An explanation as text for a terminal.

use std::fmt;

use crate::explain::Explanation;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, &self.detail) {
            (Some(status), Some(detail)) => writeln!(f, "answer        {status} {}: {detail}", self.outcome)?,
            (Some(status), None) => writeln!(f, "answer        {status} {}", self.outcome)?,
            (None, _) => writeln!(f, "answer        {}", self.outcome)?,
        }
        for (label, value) in [
            ("listener", &self.listener),
            ("route", &self.route),
            ("rule", &self.rule),
            ("match", &self.matched),
            ("auth policy", &self.auth),
            ("consumer", &self.consumer),
            ("product", &self.product),
            ("subscription", &self.subscription),
            ("plan", &self.plan),
        ] {
            writeln!(f, "{label:<14}{}", value.as_deref().unwrap_or("-"))?;
        }
        for (label, values) in [("limit", &self.limits), ("backend", &self.backends)] {
            for value in values {
                writeln!(f, "{label:<14}{value}")?;
            }
        }
        if let Some(target) = &self.upstream_target {
            writeln!(f, "{:<14}{target}", "upstream path")?;
        }
        if !self.others.is_empty() {
            writeln!(f, "not chosen")?;
        }
        for other in &self.others {
            writeln!(f, "  {} rule {} ({}): {}", other.route, other.rule, other.wants, other.because)?;
        }
        if self.others_left_out > 0 {
            writeln!(f, "  and {} more", self.others_left_out)?;
        }
        writeln!(f, "snapshot      {}", self.version)
    }
}
