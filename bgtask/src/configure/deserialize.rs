//! `Overrides` as a program's configuration has them: the options are named and nested as on the attribute.
//! Must never know which functions there are.

use super::{OptionValues, Overrides};
use crate::Rate;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

impl<'de> Deserialize<'de> for Overrides {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Functions;

        impl<'de> Visitor<'de> for Functions {
            type Value = Overrides;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table with the name of a function, or a pattern, before each table of options")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Overrides, M::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Overrides(all))
            }
        }

        from.deserialize_map(Functions)
    }
}

impl<'de> Deserialize<'de> for OptionValues {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Written {
            timeout: Option<Text<Span>>,
            retry: Retry,
            concurrency: Option<Short<Number, Concurrency>>,
            rate: Option<Short<Text<Rate>, Limit>>,
            every: Option<Text<Span>>,
            cron: Option<String>,
            timezone: Option<String>,
            jitter: Option<Text<Span>>,
        }

        #[derive(Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Retry {
            max: Option<Number>,
            base: Option<Text<Span>>,
            cap: Option<Text<Span>>,
        }

        #[derive(serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[derive(Default)]
        struct Concurrency {
            max: Option<Number>,
            queue: Option<Number>,
        }

        #[derive(Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Limit {
            limit: Option<Text<Rate>>,
        }

        let written = Written::deserialize(from)?;
        let span = |text: Option<Text<Span>>| text.map(|text| text.0.0);
        let (concurrency, queue) = match written.concurrency {
            None => (None, None),
            Some(Short::Alone(max)) => (Some(max.into::<usize, _>()?), None),
            Some(Short::Table(table)) => (
                table.max.map(Number::into).transpose()?,
                table.queue.map(Number::into).transpose()?,
            ),
        };
        let rate = match written.rate {
            None => None,
            Some(Short::Alone(rate)) => Some(rate),
            Some(Short::Table(table)) => table.limit,
        };
        Ok(Self {
            timeout: span(written.timeout),
            max_attempts: written.retry.max.map(Number::into).transpose()?,
            base: span(written.retry.base),
            cap: span(written.retry.cap),
            concurrency,
            queue,
            rate: rate.map(|rate| rate.0),
            every: span(written.every),
            cron: written.cron,
            timezone: written.timezone,
            jitter: span(written.jitter),
        })
    }
}

/// A value that is written as a string.
struct Text<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A duration as the attribute spells it.
struct Span(Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = humantime::parse_duration(text);
        parsed
            .map(Self)
            .map_err(|_| format!("expected a duration such as \"30s\" or \"5m\", found {text:?}"))
    }
}

/// A number, or a string that is one: all that is in an environment variable is a string.
struct Number(u64);

impl Number {
    fn into<N: TryFrom<u64>, E: Error>(self) -> Result<N, E> {
        let too_large = || E::invalid_value(Unexpected::Unsigned(self.0), &"a smaller number");
        N::try_from(self.0).map_err(|_| too_large())
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of at least zero")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
        Ok(Number(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
        let negative = |_| E::invalid_value(Unexpected::Signed(number), &self);
        u64::try_from(number).map(Number).map_err(negative)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        let no_number = |_| E::invalid_value(Unexpected::Str(text), &self);
        text.parse().map(Number).map_err(no_number)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NumberVisitor)
    }
}

/// A value alone, or a table with it and others.
enum Short<A, T> {
    Alone(A),
    Table(T),
}

impl<'de, A: Deserialize<'de>, T: Deserialize<'de>> Deserialize<'de> for Short<A, T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either<A, T>(PhantomData<(A, T)>);

        impl<'de, A: Deserialize<'de>, T: Deserialize<'de>> Visitor<'de> for Either<A, T> {
            type Value = Short<A, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, or a table of options")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                A::deserialize(serde::de::value::U64Deserializer::new(number)).map(Short::Alone)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                A::deserialize(serde::de::value::I64Deserializer::new(number)).map(Short::Alone)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                A::deserialize(serde::de::value::StrDeserializer::new(text)).map(Short::Alone)
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Short::Table)
            }
        }

        from.deserialize_any(Either(PhantomData))
    }
}
