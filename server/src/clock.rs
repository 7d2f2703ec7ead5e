//! The one place that asks what time it is.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use domain::Timestamp;

/// Tells the time. Tests hand in their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The clock of the machine. A clock set before 1970 reads as 1970.
pub fn system() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}
