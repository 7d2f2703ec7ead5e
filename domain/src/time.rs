//! Points in time, as numbers: the domain never reads a clock.

use std::fmt;

use serde::{Deserialize, Serialize};

const MILLIS_PER_DAY: u64 = 24 * 60 * 60 * 1000;

/// A point in time, in milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns the milliseconds from `earlier` to `self`, or 0 if `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the same moment by a clock that was set forward by `by` milliseconds, or back if `by` is negative.
    #[must_use]
    pub const fn moved(self, by: i64) -> Self {
        Self(self.0.saturating_add_signed(by))
    }

    /// Returns the day in UTC, counted from 1970-01-01.
    pub const fn utc_day(self) -> u64 {
        self.0 / MILLIS_PER_DAY
    }

    /// Returns the time of day in UTC, to the minute: `14:05`.
    pub fn utc_clock(self) -> String {
        let minutes = self.0 % MILLIS_PER_DAY / 60_000;
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// Returns the time of day in UTC, to the second: `14:05:09`.
    pub fn utc_clock_with_seconds(self) -> String {
        format!("{}:{:02}", self.utc_clock(), self.0 / 1_000 % 60)
    }

    /// Returns how long before `now` this was, in words: `just now`, `3 minutes ago`.
    pub fn ago(self, now: Self) -> String {
        let minutes = now.millis_since(self) / 60_000;
        let (number, unit) = match minutes {
            0 => return "just now".to_owned(),
            1..60 => (minutes, "minute"),
            60..1_440 => (minutes / 60, "hour"),
            _ => (minutes / 1_440, "day"),
        };
        let plural = if number == 1 { "" } else { "s" };
        format!("{number} {unit}{plural} ago")
    }

    /// Returns the day in UTC in words, relative to `now`: `Today`, `Yesterday`, or else the date.
    pub fn utc_day_in_words(self, now: Self) -> String {
        match now.utc_day().checked_sub(self.utc_day()) {
            Some(0) => "Today".to_owned(),
            Some(1) => "Yesterday".to_owned(),
            _ => self.utc_date(),
        }
    }

    /// Returns the date in UTC in words: `23 November 2026`.
    pub fn utc_date(self) -> String {
        const MONTHS: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        let (year, month, day) = civil(self.utc_day());
        format!("{day} {} {year}", MONTHS[month as usize - 1])
    }
}

/// Formats as RFC 3339 in UTC with milliseconds, `2026-11-23T14:05:09.120Z`, for the `datetime` attribute of `<time>`.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.utc_day());
        let millis = self.0 % MILLIS_PER_DAY;
        let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
        write!(
            formatter,
            "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z",
            millis % 1000
        )
    }
}

/// Returns year, month (1 to 12) and day (1 to 31) of a day counted from 1970-01-01, after Howard Hinnant's
/// `civil_from_days` ("chrono-Compatible Low-Level Date Algorithms"), for days that are not negative.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // From `date -u -d @SECONDS`.
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_795_446_309, "2026-11-23T15:05:09.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp(seconds * 1000).to_string(), date);
        }
    }

    #[test]
    fn people_read_times_and_dates() {
        let at = Timestamp(1_795_446_309_120);
        assert_eq!(at.utc_clock(), "15:05");
        assert_eq!(at.utc_clock_with_seconds(), "15:05:09");
        assert_eq!(at.utc_date(), "23 November 2026");
    }

    #[test]
    fn people_say_today_and_yesterday() {
        let at = Timestamp(1_795_446_309_120);
        let days = |days| Timestamp(at.0 + days * MILLIS_PER_DAY);
        assert_eq!(at.utc_day_in_words(at), "Today");
        assert_eq!(at.utc_day_in_words(days(1)), "Yesterday");
        assert_eq!(at.utc_day_in_words(days(2)), "23 November 2026");
        assert_eq!(days(1).utc_day_in_words(at), "24 November 2026", "a clock that is behind");
    }

    #[test]
    fn people_read_how_long_ago_something_was() {
        let now = Timestamp(10 * MILLIS_PER_DAY);
        for (seconds, words) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (3_599, "59 minutes ago"),
            (7_200, "2 hours ago"),
            (86_400, "1 day ago"),
        ] {
            assert_eq!(Timestamp(now.0 - seconds * 1_000).ago(now), words);
        }
        assert_eq!(Timestamp(now.0 + 5_000).ago(now), "just now", "a clock that is ahead");
    }
}
