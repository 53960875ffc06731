//! Cron expressions and time zones, checked where they are written. The runtime's parser accepts every expression that passes.
//! Knows nothing of clocks.

// The runtime parses expressions with croner. Here, croner and its dependencies would more than double the CPU time of a cold
// build of this crate (9 s to 23 s, measured with croner 4.0.3), and its errors do not name the field at fault.

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// The names of `min`, `min + 1` and so on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 6] = [
    Field::new("second", 0, 59, &[]),
    Field::new("minute", 0, 59, &[]),
    Field::new("hour", 0, 23, &[]),
    Field::new("day of the month", 1, 31, &[]),
    Field::new("month", 1, 12, &MONTHS),
    Field::new("day of the week", 0, 7, &WEEKDAYS),
];

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const DAY: usize = 3;
const MONTH: usize = 4;
const WEEKDAY: usize = 5;

/// The largest number of days of each month.
const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Checks an expression of five or six fields. The error names the mistake.
pub(crate) fn check(expression: &str) -> Result<(), String> {
    let parts: Vec<_> = expression
        .split(' ')
        .filter(|part| !part.is_empty())
        .collect();
    let fields = match parts.len() {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        count => {
            return Err(format!(
                "expected 5 fields (minute, hour, day, month, weekday) or 6 with the second before them, found {count}"
            ));
        }
    };
    let mut values = Vec::new();
    for (part, field) in parts.iter().zip(fields) {
        values.push(
            field
                .parse(part)
                .map_err(|wrong| format!("{}: {wrong}", field.name))?,
        );
    }
    let at = |field: usize| values[field + parts.len() - 6].as_ref();
    // With a weekday as well, either of the two is enough.
    if at(WEEKDAY).is_none()
        && let Some(days) = at(DAY)
    {
        let all = (1..=12).collect();
        let months = at(MONTH).unwrap_or(&all);
        let comes = months
            .iter()
            .any(|month| days.iter().any(|day| *day <= LENGTHS[*month as usize - 1]));
        if !comes {
            return Err("this day never comes: none of these months is that long".to_owned());
        }
    }
    Ok(())
}

impl Field {
    const fn new(name: &'static str, min: u32, max: u32, names: &'static [&'static str]) -> Self {
        Self {
            name,
            min,
            max,
            names,
        }
    }

    /// Returns the values that a field allows, or `None` for any value and for values that depend on the month.
    fn parse(&self, part: &str) -> Result<Option<Vec<u32>>, String> {
        let mut values = Some(Vec::new());
        for item in part.split(',') {
            match (self.item(item)?, &mut values) {
                (Some(more), Some(values)) => values.extend(more),
                _ => values = None,
            }
        }
        Ok(values)
    }

    fn item(&self, item: &str) -> Result<Option<Vec<u32>>, String> {
        if self.is(DAY) && item == "L" {
            return Ok(None);
        }
        if self.is(WEEKDAY) {
            // The last or the nth of these weekdays in the month.
            if let Some(day) = item.strip_suffix('L').filter(|day| !day.is_empty()) {
                return self.number(day).map(|_| None);
            }
            if let Some((day, nth)) = item.split_once('#') {
                self.number(day)?;
                return match nth {
                    "1" | "2" | "3" | "4" | "5" => Ok(None),
                    _ => Err(format!(
                        "after `#` comes a number from 1 to 5, found `{nth}`"
                    )),
                };
            }
        }
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.min, self.max),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            None if step.is_some() => {
                return Err(format!(
                    "a step needs a range before it: write `*/…` or `{range}-{}/…`",
                    self.max
                ));
            }
            None => {
                let number = self.number(range)?;
                (number, number)
            }
        };
        if from > to {
            return Err(format!("`{range}` runs backwards"));
        }
        let step = match step {
            None => 1,
            Some(step) => match step.parse::<u32>() {
                Ok(number @ 1..) if is_number(step) && number <= self.max => number,
                _ => return Err(format!("`{step}` is not a step from 1 to {}", self.max)),
            },
        };
        if range == "*" && step == 1 {
            return Ok(None);
        }
        Ok(Some((from..=to).step_by(step as usize).collect()))
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let lower = text.to_ascii_lowercase();
        if let Some(index) = self.names.iter().position(|name| *name == lower) {
            return Ok(self.min + index as u32);
        }
        match text.parse() {
            Ok(number) if is_number(text) && (self.min..=self.max).contains(&number) => Ok(number),
            _ => Err(format!(
                "`{text}` is not within {} to {}",
                self.min, self.max
            )),
        }
    }

    fn is(&self, index: usize) -> bool {
        self.name == FIELDS[index].name
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the path in `chrono_tz` of a zone of the IANA database, or `None` if the name cannot be one. The compiler then checks
/// that the path exists.
pub(crate) fn zone_path(name: &str) -> Option<Vec<String>> {
    let parts = name.split('/').map(|part| {
        let mut ident = String::new();
        let mut characters = part.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '+' => ident.push_str("Plus"),
                '-' if characters.peek().is_some_and(char::is_ascii_digit) => {
                    ident.push_str("Minus")
                }
                '-' => {}
                'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => ident.push(character),
                _ => return None,
            }
        }
        ident
            .starts_with(|first: char| first.is_ascii_alphabetic())
            .then_some(ident)
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::{check, zone_path};

    #[test]
    fn accepts_cron_syntax() {
        for expression in [
            "* * * * *",
            "0 3 * * *",
            "*/15 9-17 * * mon-fri",
            "0 0 1,15 * *",
            "30 0 3 * * *",
            "0 0 29 2 *",
            "0 0 31 2 fri",
            "0 0 L * *",
            "0 0 * * 5L",
            "0 0 * * MON#1",
            "0 0 1 JAN,Jul 7",
            "0 0 1-7/2 */3 *",
        ] {
            assert_eq!(check(expression), Ok(()), "{expression}");
        }
    }

    #[test]
    fn errors_name_the_mistake() {
        for (expression, wrong) in [
            ("0 3 * *", "found 4"),
            ("60 3 * * *", "minute: `60` is not within 0 to 59"),
            ("0 24 * * *", "hour: `24`"),
            ("0 0 0 * *", "day of the month: `0`"),
            ("0 0 * 13 *", "month: `13`"),
            ("0 0 * * 8", "day of the week: `8`"),
            ("0 0 * * lun", "day of the week: `lun`"),
            ("*/0 * * * *", "`0` is not a step"),
            ("5/10 * * * *", "needs a range"),
            ("30-10 * * * *", "runs backwards"),
            ("0 0 30 2 *", "never comes"),
            ("0 0 31 4,6,9,11 *", "never comes"),
            ("0 0 * * 1#6", "from 1 to 5"),
            ("+5 * * * *", "minute: `+5`"),
            ("1,,2 * * * *", "minute: ``"),
            ("", "found 0"),
        ] {
            let found = check(expression).unwrap_err();
            assert!(found.contains(wrong), "{expression}: {found}");
        }
    }

    #[test]
    fn zones_have_paths() {
        for (name, path) in [
            ("UTC", "UTC"),
            ("Europe/Berlin", "Europe::Berlin"),
            (
                "America/Argentina/Buenos_Aires",
                "America::Argentina::Buenos_Aires",
            ),
            ("America/Port-au-Prince", "America::PortauPrince"),
            ("Etc/GMT+5", "Etc::GMTPlus5"),
            ("Etc/GMT-14", "Etc::GMTMinus14"),
        ] {
            assert_eq!(
                zone_path(name).map(|path| path.join("::")).as_deref(),
                Some(path)
            );
        }
        for name in ["", "Europe/", "Europe Berlin", "/UTC", "1/2", "Zürich"] {
            assert_eq!(zone_path(name), None, "{name}");
        }
    }
}
