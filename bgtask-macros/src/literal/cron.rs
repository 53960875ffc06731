//! Cron expressions and time zones, checked where they are written: what passes here is understood by the runtime's parser.
//! Knows nothing of options, tokens or clocks.

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// For `min`, `min + 1` and so on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 6] = [
    Field {
        name: "second",
        min: 0,
        max: 59,
        names: &[],
    },
    Field {
        name: "minute",
        min: 0,
        max: 59,
        names: &[],
    },
    Field {
        name: "hour",
        min: 0,
        max: 23,
        names: &[],
    },
    Field {
        name: "day of the month",
        min: 1,
        max: 31,
        names: &[],
    },
    Field {
        name: "month",
        min: 1,
        max: 12,
        names: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    Field {
        name: "day of the week",
        min: 0,
        max: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

const DAY: usize = 3;
const MONTH: usize = 4;
const WEEKDAY: usize = 5;

/// The longest that each month can be.
const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// What is wrong with an expression of five or six fields, if anything is.
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
                .map_err(|what| format!("{}: {what}", field.name))?,
        );
    }
    let at = |field: usize| values[field + parts.len() - 6].as_ref();
    // A weekday would be a second way to be due.
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
    /// The values a field stands for; `None` for any, and for what depends on the month.
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
            // The last or the nth such day of the month.
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

/// The path within `chrono_tz` of a zone of the IANA database, which the compiler then knows or does not; `None` if it cannot
/// be one.
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
    fn accepts_what_cron_writes() {
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
    fn says_what_is_wrong() {
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
