//! Questions about usage, as values, and the SQL that answers them.
//!
//! In: what people and programs ask (windows, dimensions, filters), checked here. Out: [`Statement`]s in ClickHouse's
//! dialect with their values as parameters, the shapes of the rows that come back, and what is computed from rows:
//! money, forecasts, completeness.
//! No I/O and no clock. Counts are exact sums over records; only latencies are estimated.

mod charges;
mod dimension;
mod filter;
mod forecast;
mod records;
mod report;
pub mod rollup;
mod series;
mod statement;
mod time;
mod top;
mod usage;

pub use analytics_record::table::TABLE;
pub use charges::{Charge, PriceError, PriceLine, SCALE, Used, charge};
pub use dimension::{Dimension, UnknownDimension, is_refusal};
pub use filter::{Filters, MAX_FILTER_VALUES, TooManyValues};
pub use forecast::{Forecast, Standing};
pub use records::{MAX_RECORDS, RecordOrder, RecordsError, RecordsQuestion, request_statement};
pub use report::{Completeness, Coverage, coverage_statement, report_id, utc};
pub use series::{MAX_LINES, MAX_STEPS, OTHER, Point, SeriesQuestion, SeriesRow, StepError, step_ms};
pub use statement::{Statement, Value};
pub use time::{Bucket, TimeError, Window, Zone, instant};
pub use top::{TopOrder, TopQuestion, TopRow, UnknownOrder};
pub use usage::{MEASURES, RollupMismatch, UsageQuestion};
