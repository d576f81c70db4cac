//! What a request's query string and form ask for.
//!
//! In: name and value pairs. Out: the statement, its format, database, settings and parameters, and how bytes are packed.
//! Names that only steer the HTTP interface stay here; all others are settings for the engine, which judges them, after
//! those with a bound are lowered to it. Pure.

use std::borrow::Cow;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::failure::{Failure, code};
use crate::options::Limits;

/// Most pairs that one request may carry, in query string and form together.
const MOST_PAIRS: usize = 256;

/// One request, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The statement, when it stands in the query string or the form.
    pub(crate) sql: String,
    pub(crate) database: Option<String>,
    /// The answer's format unless the statement names one.
    pub(crate) format: String,
    pub(crate) query_id: Option<String>,
    pub(crate) password: Option<String>,
    /// Settings for the engine, bounded.
    pub(crate) settings: Vec<(String, String)>,
    /// Values for `{name:Type}` in the statement.
    pub(crate) params: Vec<(String, String)>,
    /// The answer comes as ClickHouse's compressed blocks.
    pub(crate) compress: bool,
    /// The body comes as ClickHouse's compressed blocks.
    pub(crate) decompress: bool,
    /// The answer begins only after the statement has ended.
    pub(crate) whole: bool,
    /// How long the request may take from its arrival (`max_execution_time`), bounded. An insert never commits later.
    pub(crate) run: Duration,
    /// The client's protocol revision, 0 when it tells none.
    pub(crate) revision: u64,
    pairs: usize,
}

impl Ask {
    /// Reads a query string.
    pub(crate) fn from_query(query: &str, limits: &Limits) -> Result<Self, Failure> {
        let mut ask = Self {
            sql: String::new(),
            database: None,
            format: "TabSeparated".into(),
            query_id: None,
            password: None,
            settings: Vec::new(),
            params: Vec::new(),
            compress: false,
            decompress: false,
            whole: false,
            run: limits.run,
            revision: 0,
            pairs: 0,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            ask.take(&decode(name)?, decode(value)?, limits)?;
        }
        Ok(ask)
    }

    /// Takes one pair of the query string or of a form.
    pub(crate) fn take(&mut self, name: &str, value: String, limits: &Limits) -> Result<(), Failure> {
        self.pairs += 1;
        if self.pairs > MOST_PAIRS {
            return Err(bad(format!("more than {MOST_PAIRS} settings and parameters in one request")));
        }
        if let Some(param) = name.strip_prefix("param_") {
            self.params.push((param.to_owned(), value));
            return Ok(());
        }
        match name {
            "query" => self.sql = value,
            "database" => self.database = Some(value).filter(|name| !name.is_empty()),
            "default_format" => self.format = format_name(value)?,
            "query_id" => self.query_id = Some(value).filter(|id| !id.is_empty()),
            "password" => self.password = Some(value),
            "compress" => self.compress = is_on(&value),
            "decompress" => self.decompress = is_on(&value),
            "wait_end_of_query" => self.whole = is_on(&value),
            "client_protocol_version" => self.revision = value.parse().unwrap_or(0),
            "max_execution_time" => self.run = run_time(&value, limits.run)?,
            "session_id" => {
                return Err(Failure::new(
                    code::NOT_IMPLEMENTED,
                    "sessions are not kept; leave session_id out. (NOT_IMPLEMENTED)",
                ));
            }
            // Of the HTTP interface, without a meaning here; the log comment names sessions for KILL QUERY.
            "user"
            | "quota_key"
            | "role"
            | "buffer_size"
            | "stacktrace"
            | "session_timeout"
            | "session_check"
            | "enable_http_compression"
            | "http_zlib_compression_level"
            | "log_comment"
            | "" => {}
            _ => self.settings.push((setting_name(name)?, bounded(name, value, limits)?)),
        }
        Ok(())
    }
}

fn decode(text: &str) -> Result<String, Failure> {
    let plain = text.replace('+', " ");
    percent_decode_str(&plain)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| bad("the query string is not UTF-8"))
}

fn is_on(value: &str) -> bool {
    value == "1" || value.eq_ignore_ascii_case("true")
}

fn format_name(value: String) -> Result<String, Failure> {
    let word =
        !value.is_empty() && value.len() <= 64 && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if word {
        Ok(value)
    } else {
        Err(Failure::new(73, format!("unknown format {value:?}. (UNKNOWN_FORMAT)")))
    }
}

/// A setting's name goes into SQL text as it is, so it may hold nothing but a word's letters.
fn setting_name(name: &str) -> Result<String, Failure> {
    let word = name.len() <= 100
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if word {
        Ok(name.to_owned())
    } else {
        Err(Failure::new(115, format!("unknown setting {name:?}. (UNKNOWN_SETTING)")))
    }
}

/// Lowers a setting to its bound; drivers derive some from their own limits and do not expect a refusal.
fn bounded(name: &str, value: String, limits: &Limits) -> Result<String, Failure> {
    let most = match name {
        "max_memory_usage" => limits.statement_memory,
        "max_result_bytes" => limits.result_bytes,
        _ => return Ok(value),
    };
    let asked: u64 = value.parse().map_err(|_| not_a_number(name, &value))?;
    // 0 asks for no bound at all.
    Ok(if asked == 0 { most } else { asked.min(most) }.to_string())
}

/// Reads a time in seconds. 0 asks for no bound at all.
fn run_time(value: &str, most: Duration) -> Result<Duration, Failure> {
    let name = "max_execution_time";
    let seconds: f64 = value.parse().map_err(|_| not_a_number(name, value))?;
    if seconds == 0.0 {
        return Ok(most);
    }
    // What is too long for a duration is beyond the bound, too; what is negative or no number is neither.
    match Duration::try_from_secs_f64(seconds) {
        Ok(asked) => Ok(asked.min(most)),
        Err(_) if seconds > 0.0 => Ok(most),
        Err(_) => Err(not_a_number(name, value)),
    }
}

fn not_a_number(name: &str, value: &str) -> Failure {
    bad(format_args!("setting {name} is not a number: {value:?}"))
}

fn bad(text: impl std::fmt::Display) -> Failure {
    Failure::new(code::BAD_ARGUMENTS, format!("{text}. (BAD_ARGUMENTS)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Ask, Failure> {
        Ask::from_query(query, &Limits::default())
    }

    #[test]
    fn pairs_go_where_they_belong() {
        let ask = read("query=SELECT+%7Bx%3AUInt8%7D&param_x=1&database=d&compress=1&max_threads=2&default_format=Native").unwrap();
        assert_eq!(ask.sql, "SELECT {x:UInt8}");
        assert_eq!(ask.params, [("x".into(), "1".into())]);
        assert_eq!(ask.settings, [("max_threads".into(), "2".into())]);
        assert_eq!((ask.database.as_deref(), ask.compress, ask.format.as_str()), (Some("d"), true, "Native"));
    }

    #[test]
    fn bounds_are_lowered_to_and_zero_means_the_bound() {
        for (asked, given) in [("0", 300.0), ("1e300", 300.0), ("7", 7.0), ("0.2", 0.2), ("inf", 300.0)] {
            let ask = read(&format!("max_execution_time={asked}")).unwrap();
            assert_eq!(ask.run, Duration::from_secs_f64(given), "{asked}");
            assert!(ask.settings.is_empty());
        }
        for wrong in ["x", "-3", "NaN", ""] {
            let failure = read(&format!("max_execution_time={wrong}")).unwrap_err();
            assert_eq!(failure.code(), code::BAD_ARGUMENTS, "{wrong}");
        }
        let most = Limits::default().statement_memory.to_string();
        for (asked, given) in [("0", most.as_str()), ("18446744073709551615", &most), ("7", "7")] {
            assert_eq!(read(&format!("max_memory_usage={asked}")).unwrap().settings[0].1, given, "{asked}");
        }
    }

    #[test]
    fn names_that_are_no_words_never_reach_the_engine() {
        for query in ["a%3D1,b=1", "1a=1", "%60=1", "a%20b=1"] {
            assert_eq!(read(query).unwrap_err().code(), 115, "{query}");
        }
        assert_eq!(read("default_format=a%20b").unwrap_err().code(), 73);
        assert_eq!(read("query=%ff").unwrap_err().code(), code::BAD_ARGUMENTS);
        assert!(read(&"a=1&".repeat(300)).is_err());
    }
}
