//! The settings that hold: each from the program, from the environment, or the default, and checked. Their list is here.
//! Knows nothing of how a store works.

use super::environment::Environment;
use super::names::{Name, Single};
use super::values::{Origin, Role, Setting, Synchronous};
use super::{Given, Url, channels};
use crate::OpenError;
use crate::engine::{self, Access, Tables};
use crate::stored::Limits;
#[cfg(feature = "live")]
use crate::ticket::Keys;
use bgtask::durable::{self, is_queue_name};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The jobs of one queue that run at once in one process.
const AT_ONCE: usize = 50;

/// The same of the queue of deliveries.
const DELIVERIES: Setting<usize> = Setting {
    value: 10,
    origin: Origin::Default,
};

/// The name that stands for all queues which have no entry.
const OTHERS: &str = "*";

const URL: Name = Name {
    method: "url",
    variable: "BGTASK_DATABASE_URL",
    expected: "UTF-8: encode other bytes with `%`",
};

const LISTEN_URL: Name = Name {
    method: "listen_url",
    variable: "BGTASK_LISTEN_URL",
    expected: URL.expected,
};

const ROLE: Single<Role> = Single {
    name: Name {
        method: "role",
        variable: "BGTASK_ROLE",
        expected: "`both`, `enqueue` or `work`",
    },
    parse: |text| {
        let roles = [Role::Both, Role::Enqueue, Role::Work];
        roles.into_iter().find(|role| role.to_string() == text)
    },
    is_allowed: |_| true,
};

const QUEUES: Name = Name {
    method: "queue",
    variable: "BGTASK_QUEUES",
    expected: "queues with how many of their jobs run at once, such as `mail=10,default=50`",
};

const TIME_TO_LIVE: Single<Duration> = Single {
    name: Name {
        method: "time_to_live",
        variable: "BGTASK_TIME_TO_LIVE",
        expected: "a time from 100 ms to 1 h with its unit, such as `4s`",
    },
    parse: time,
    is_allowed: |time| (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(time),
};

const ENQUEUE_LIMIT: Single<Duration> = Single {
    name: Name {
        method: "enqueue_limit",
        variable: "BGTASK_ENQUEUE_LIMIT",
        expected: "a time of more than zero with its unit, such as `5s`",
    },
    parse: time,
    is_allowed: |time| !time.is_zero(),
};

const CRASH_LIMIT: Single<u32> = Single {
    name: Name {
        method: "crash_limit",
        variable: "BGTASK_CRASH_LIMIT",
        expected: "a number from 1 to 4,294,967,295, such as `5`",
    },
    parse: |text| text.parse().ok(),
    is_allowed: |limit| *limit >= 1,
};

const ARGUMENT_LIMIT: Single<usize> = size("argument_limit", "BGTASK_ARGUMENT_LIMIT");

const OUTPUT_LIMIT: Single<usize> = size("output_limit", "BGTASK_OUTPUT_LIMIT");

/// Returns a setting that is a number of bytes.
const fn size(method: &'static str, variable: &'static str) -> Single<usize> {
    Single {
        name: Name {
            method,
            variable,
            expected: "a number of bytes from 1,024 to 67,108,864, such as `262144`",
        },
        parse: |text| text.parse().ok(),
        is_allowed: |bytes| (1024..=64 * 1024 * 1024).contains(bytes),
    }
}

const CONNECTIONS: Single<u32> = Single {
    name: Name {
        method: "connections",
        variable: "BGTASK_CONNECTIONS",
        expected: "a number from 2 to 1,000, such as `10`",
    },
    parse: |text| text.parse().ok(),
    is_allowed: |connections| (2..=1000).contains(connections),
};

const SYNCHRONOUS: Single<Synchronous> = Single {
    name: Name {
        method: "synchronous",
        variable: "BGTASK_SYNCHRONOUS",
        expected: "`full` or `normal`",
    },
    parse: |text| {
        let all = [Synchronous::Full, Synchronous::Normal];
        all.into_iter().find(|value| value.to_string() == text)
    },
    is_allowed: |_| true,
};

const HEALTH: Single<SocketAddr> = Single {
    name: HEALTH_ADDR,
    parse: |text| text.parse().ok(),
    is_allowed: |_| true,
};

pub(crate) const HEALTH_ADDR: Name = Name {
    method: "health_addr",
    variable: "BGTASK_HEALTH_ADDR",
    expected: "an IP address with a port, such as `127.0.0.1:9000` or `[::]:9000`",
};

const TICKET_KEYS: Name = Name {
    method: "ticket_keys",
    variable: "BGTASK_TICKET_KEYS",
    expected: "keys of at least 32 random bytes each, the variable in base64 and separated by commas, such as from `openssl rand -base64 32`",
};

const VARIABLES: [&str; 17] = [
    URL.variable,
    LISTEN_URL.variable,
    ROLE.name.variable,
    QUEUES.variable,
    TIME_TO_LIVE.name.variable,
    ENQUEUE_LIMIT.name.variable,
    CRASH_LIMIT.name.variable,
    ARGUMENT_LIMIT.name.variable,
    OUTPUT_LIMIT.name.variable,
    CONNECTIONS.name.variable,
    SYNCHRONOUS.name.variable,
    HEALTH_ADDR.variable,
    TICKET_KEYS.variable,
    channels::VARIABLES[0].0,
    channels::VARIABLES[1].0,
    channels::VARIABLES[2].0,
    channels::VARIABLES[3].0,
];

fn time(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// The settings that hold.
#[derive(Debug)]
pub(crate) struct Settings {
    url: Setting<Url>,
    listen_url: Option<Setting<Url>>,
    pub(crate) role: Setting<Role>,
    queues: BTreeMap<String, Setting<usize>>,
    pub(crate) time_to_live: Setting<Duration>,
    enqueue_limit: Setting<Duration>,
    pub(crate) crash_limit: Setting<u32>,
    argument_limit: Setting<usize>,
    output_limit: Setting<usize>,
    connections: Option<Setting<u32>>,
    synchronous: Setting<Synchronous>,
    pub(crate) health_addr: Option<Setting<SocketAddr>>,
    #[cfg(feature = "live")]
    pub(crate) ticket_keys: Option<Setting<Keys>>,
}

impl Settings {
    /// Returns what holds of what the program gives and the environment has.
    pub(crate) fn resolve(given: Given, environment: &Environment) -> Result<Self, OpenError> {
        let mistaken = environment.mistaken(&VARIABLES);
        for (variable, meant) in
            mistaken.filter(|(variable, _)| !variable.starts_with(channels::SECRET_OF))
        {
            tracing::warn!(target: "bgtask", variable, meant,
                "a variable of the environment is none of bgtask's settings, and close to the name of one: it has no effect");
        }
        let settings = Self {
            url: url(&URL, given.url, environment)?.unwrap_or(Setting {
                value: Url("sqlite://bgtask.db".to_owned()),
                origin: Origin::Default,
            }),
            listen_url: url(&LISTEN_URL, given.listen_url, environment)?,
            role: ROLE.resolve(given.role, environment, Role::Both)?,
            queues: queues(given.queues, environment)?,
            time_to_live: TIME_TO_LIVE.resolve(
                given.time_to_live,
                environment,
                Duration::from_secs(4),
            )?,
            enqueue_limit: ENQUEUE_LIMIT.resolve(
                given.enqueue_limit,
                environment,
                Duration::from_secs(5),
            )?,
            crash_limit: CRASH_LIMIT.resolve(
                given.crash_limit,
                environment,
                engine::CRASH_LIMIT,
            )?,
            argument_limit: ARGUMENT_LIMIT.resolve(
                given.argument_limit,
                environment,
                durable::ARGUMENT_LIMIT,
            )?,
            output_limit: OUTPUT_LIMIT.resolve(
                given.output_limit,
                environment,
                durable::OUTPUT_LIMIT,
            )?,
            connections: CONNECTIONS.find(given.connections, environment)?,
            synchronous: SYNCHRONOUS.resolve(given.synchronous, environment, Synchronous::Full)?,
            health_addr: HEALTH.find(given.health_addr, environment)?,
            #[cfg(feature = "live")]
            ticket_keys: ticket_keys(given.ticket_keys, environment)?,
        };
        let synchronous = settings.synchronous;
        if synchronous.origin != Origin::Default && settings.url().starts_with("postgres") {
            return Err(SYNCHRONOUS.name.refused(
                synchronous.origin,
                synchronous.value.to_string(),
                "it only with SQLite: for Postgres, set `synchronous_commit` of the user, or in the URL with `?options=-csynchronous_commit=…`",
            ));
        }
        Ok(settings)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url.value.0
    }

    /// Returns how much a call may store, and how long it may take.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            enqueue: self.enqueue_limit.value,
            argument: self.argument_limit.value,
            output: self.output_limit.value,
        }
    }

    /// Returns how the database is opened.
    pub(crate) fn access(&self) -> Access {
        Access {
            connections: self.connections.map(|connections| connections.value),
            listen_url: self.listen_url.as_ref().map(|url| url.value.0.clone()),
            is_normal: self.synchronous.value == Synchronous::Normal,
            tables: Tables::Make,
        }
    }

    /// Returns the queues that this process works, each with the number of its jobs that run at once: those of its functions, and those
    /// that are set.
    pub(crate) fn worked(&self, of_functions: &[&str]) -> BTreeMap<String, usize> {
        if !self.role.value.works() {
            return BTreeMap::new();
        }
        self.of_each(of_functions)
            .into_iter()
            .filter(|(_, at_once)| at_once.value > 0)
            .map(|(name, at_once)| (name.to_owned(), at_once.value))
            .collect()
    }

    /// Returns whether this process is set to work the queue of deliveries: it may have nothing else to do then.
    pub(crate) fn delivers_at_least(&self) -> bool {
        let deliveries = self.queues.get(engine::NOTIFY);
        deliveries.is_some_and(|at_once| at_once.value > 0)
    }

    fn of_each<'a>(&'a self, of_functions: &[&'a str]) -> BTreeMap<&'a str, Setting<usize>> {
        let others = self.queues.get(OTHERS).copied().unwrap_or(Setting {
            value: AT_ONCE,
            origin: Origin::Default,
        });
        let named = self.queues.iter().filter(|(name, _)| *name != OTHERS);
        let mut all: BTreeMap<_, _> = named.map(|(name, at_once)| (&**name, *at_once)).collect();
        for name in of_functions {
            // It is no queue of the program's, so `*` does not leave it to others.
            let is_own = *name == engine::NOTIFY;
            all.entry(name)
                .or_insert(if is_own { DELIVERIES } else { others });
        }
        all
    }

    /// Logs all of them, with their origins.
    pub(crate) fn log(&self, of_functions: &[&str]) {
        if !tracing::enabled!(target: "bgtask", tracing::Level::DEBUG) {
            return;
        }
        let queues: Vec<_> = self
            .of_each(of_functions)
            .into_iter()
            .map(|(name, at_once)| format!("{name}={at_once}"))
            .collect();
        let url = |url: &Url| engine::without_password(&url.0);
        let time = |time: &Duration| humantime::format_duration(*time).to_string();
        let if_set = |shown: Option<String>, default: &str| {
            shown.unwrap_or_else(|| format!("{default} ({})", Origin::Default))
        };
        tracing::debug!(target: "bgtask",
            database = self.url.shown_as(url),
            listen_url = if_set(self.listen_url.as_ref().map(|set| set.shown_as(url)), "none"),
            role = %self.role,
            queues = queues.join(", "),
            time_to_live = self.time_to_live.shown_as(time),
            enqueue_limit = self.enqueue_limit.shown_as(time),
            crash_limit = %self.crash_limit,
            argument_limit = %self.argument_limit,
            output_limit = %self.output_limit,
            connections = if_set(self.connections.map(|set| set.to_string()), "those of the database"),
            synchronous = %self.synchronous,
            health_addr = if_set(self.health_addr.map(|set| set.to_string()), "none"),
            ticket_keys = if_set(self.count_ticket_keys(), "that of the database"),
            "the settings of the store of durable jobs");
    }
}

#[cfg(feature = "live")]
impl Settings {
    fn count_ticket_keys(&self) -> Option<String> {
        let keys = self.ticket_keys.as_ref()?;
        Some(keys.shown_as(Keys::len))
    }
}

#[cfg(not(feature = "live"))]
impl Settings {
    fn count_ticket_keys(&self) -> Option<String> {
        None
    }
}

/// The errors do not show a key.
#[cfg(feature = "live")]
fn ticket_keys(
    given: Option<Keys>,
    environment: &Environment,
) -> Result<Option<Setting<Keys>>, OpenError> {
    let (keys, origin) = match given {
        Some(keys) => (Some(keys), Origin::Code),
        None => match environment.read(TICKET_KEYS.variable) {
            Ok(Some(text)) => (Keys::parse(&text), Origin::Environment),
            Ok(None) => return Ok(None),
            Err(_) => (None, Origin::Environment),
        },
    };
    match keys {
        Some(value) if value.are_safe() => Ok(Some(Setting { value, origin })),
        _ => Err(TICKET_KEYS.wrong(origin, "…")),
    }
}

fn url(
    name: &Name,
    given: Option<Url>,
    environment: &Environment,
) -> Result<Option<Setting<Url>>, OpenError> {
    let (value, origin) = match given {
        Some(url) => (url, Origin::Code),
        // Another database than the one that is meant would take the jobs, so a URL that is not UTF-8 is an error.
        None => match environment.read(name.variable) {
            Ok(Some(url)) => (Url(url), Origin::Environment),
            Ok(None) => return Ok(None),
            // Without what can be shown of it, which may hold a password.
            Err(_) => return Err(name.wrong(Origin::Environment, "…")),
        },
    };
    Ok(Some(Setting { value, origin }))
}

/// Returns the limits by queue. One that the program sets is fixed; the environment may set those of the others.
fn queues(
    given: BTreeMap<String, usize>,
    environment: &Environment,
) -> Result<BTreeMap<String, Setting<usize>>, OpenError> {
    let mut queues = BTreeMap::new();
    for (name, value) in given {
        let origin = Origin::Code;
        check_queue(origin, &format!("{name}={value}"), &name, value)?;
        queues.insert(name, Setting { value, origin });
    }
    let Some(text) = QUEUES.read(environment)? else {
        return Ok(queues);
    };
    let origin = Origin::Environment;
    let mut seen = Vec::new();
    for entry in text.split(',') {
        let parts = entry.split_once('=');
        let parsed =
            parts.and_then(|(name, at_once)| Some((name.trim(), at_once.trim().parse().ok()?)));
        let Some((name, value)) = parsed else {
            return Err(QUEUES.wrong(origin, text));
        };
        check_queue(origin, &text, name, value)?;
        if seen.contains(&name) {
            return Err(QUEUES.refused(
                origin,
                &*text,
                format!("each queue once, and {name:?} is there twice"),
            ));
        }
        seen.push(name);
        let set = Setting { value, origin };
        queues.entry(name.to_owned()).or_insert(set);
    }
    Ok(queues)
}

/// The engine would refuse a wrong queue when it starts, which is after the store has opened, and then work none.
fn check_queue(origin: Origin, value: &str, name: &str, at_once: usize) -> Result<(), OpenError> {
    let expected = if name == engine::SUSPECTS {
        "a queue of the program's: in this one, the store has the jobs whose processes died, and runs them one by one"
    } else if name != OTHERS && !is_queue_name(name) {
        "`*`, or a name of 1 to 64 lowercase letters, digits, `-` and `_`, a letter first, and each `-` or `_` between two others"
    } else if at_once > engine::AT_ONCE_LIMIT {
        "0 to 10,000 jobs of a queue at once"
    } else {
        return Ok(());
    };
    Err(QUEUES.refused(origin, value, expected))
}
