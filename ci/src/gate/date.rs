//! Calendar days, for the expiry of exceptions.  Knows no clock: today is an argument.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error};

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Date {
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl Date {
    /// `YYYY-MM-DD`; None for anything else and for days that do not exist.
    pub fn parse(text: &str) -> Option<Date> {
        let (year, rest) = text.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
        if !(digits(year, 4) && digits(month, 2) && digits(day, 2)) {
            return None;
        }
        Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
    }

    fn new(year: u16, month: u8, day: u8) -> Option<Date> {
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            2 => 28 + u8::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        (1..=days).contains(&day).then_some(Date { year, month, day })
    }

    /// The day (UTC) that a number of seconds since 1970 falls on; None beyond the year 9999.
    pub fn of_unix_time(seconds: u64) -> Option<Date> {
        let mut days = seconds / 86_400;
        for year in 1970..=9999 {
            for month in 1..=12 {
                let last = (28..=31).rev().find(|d| Date::new(year, month, *d).is_some())?;
                if days < u64::from(last) {
                    return Date::new(year, month, days as u8 + 1);
                }
                days -= u64::from(last);
            }
        }
        None
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Date, D::Error> {
        const EXPECTED: &str = "expected a date such as 2027-01-31, without quotes and time";
        let value = toml::Value::deserialize(d)?;
        let toml::Value::Datetime(when) = value else { return Err(D::Error::custom(EXPECTED)) };
        match (when.date, when.time) {
            (Some(date), None) => {
                let date = Date::new(date.year, date.month, date.day);
                date.ok_or_else(|| D::Error::custom("there is no such day"))
            }
            _ => Err(D::Error::custom(EXPECTED)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Date;

    #[test]
    fn days_that_exist() {
        for good in ["2026-11-20", "2024-02-29", "2000-02-29", "1970-01-01"] {
            assert_eq!(Date::parse(good).map(|d| d.to_string()).as_deref(), Some(good));
        }
        for bad in [
            "2026-02-29",
            "2100-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-1-1",
            "20261120",
            "",
            "+026-01-01",
        ] {
            assert_eq!(Date::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn seconds_to_days() {
        // `date -u -d @N +%F`
        for (seconds, day) in [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_795_132_800, "2026-11-20"),
        ] {
            assert_eq!(Date::of_unix_time(seconds).map(|d| d.to_string()).as_deref(), Some(day));
        }
        assert_eq!(Date::of_unix_time(u64::MAX), None);
    }
}
