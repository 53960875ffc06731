//! Databases of the tests: one for each test, deleted at the end. Knows nothing of jobs.

/// A database of its own.
pub(crate) struct Scratch {
    url: String,
    /// Of SQLite.
    folder: Option<std::path::PathBuf>,
}

impl Scratch {
    /// A file in a folder of its own.
    #[cfg(feature = "sqlite")]
    pub(crate) fn sqlite() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bgtask-durable-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self {
            url: format!("sqlite://{}/jobs.db", folder.display()),
            folder: Some(folder),
        }
    }

    /// The store of the test kit, which has no URL: a name of its own.
    pub(crate) fn kit() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            url: format!("kit:{number}"),
            folder: None,
        }
    }

    pub(crate) fn is_kit(&self) -> bool {
        self.url.starts_with("kit:")
    }

    /// A database of this process's Postgres. `None` without one, which the test then says.
    #[cfg(feature = "postgres")]
    pub(crate) fn postgres() -> Option<Self> {
        let url = super::postgres::database()?;
        Some(Self { url, folder: None })
    }

    /// As `postgres`, on a server whose clock may be set.
    #[cfg(feature = "postgres")]
    pub(crate) fn postgres_with_clock() -> Option<(Self, super::postgres::Clock)> {
        let (url, clock) = super::postgres::database_with_clock(&faketime()?)?;
        Some((Self { url, folder: None }, clock))
    }

    /// Another database of the same kind.
    pub(crate) fn another(&self) -> Self {
        #[cfg(feature = "sqlite")]
        if self.is_sqlite() {
            return Self::sqlite();
        }
        #[cfg(feature = "postgres")]
        return Self::postgres().expect("there is one already");
        #[cfg(not(feature = "postgres"))]
        unreachable!("a database of another kind")
    }

    /// Starts the server of this database anew, as after a crash or after a checkpoint. It has other databases too.
    #[cfg(feature = "postgres")]
    pub(crate) fn restart(&self, is_crash: bool) {
        super::postgres::restart(is_crash);
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.folder.is_some()
    }

    /// The name of the database.
    pub(crate) fn kind(&self) -> &'static str {
        if self.is_sqlite() {
            "SQLite"
        } else {
            "Postgres"
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The library that sets the clock of a program. `None` without it, which the test then says.
pub(crate) fn faketime() -> Option<std::path::PathBuf> {
    let libraries = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let found = libraries
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file());
    if found.is_none() {
        #[expect(clippy::print_stdout, reason = "whoever runs the tests is to know")]
        {
            println!(
                "no library that sets clocks on this machine (the package `faketime`), so this run is partial"
            );
        }
    }
    found
}

/// Makes the rounds of a test, numbered from 0: `BGTASK_ROUNDS` one after another, or a few side by side, as they wait for most of
/// their time.
pub(crate) fn in_rounds(few: u32, round: impl Fn(u32, u32) + Sync) {
    if let Ok(rounds) = std::env::var("BGTASK_ROUNDS") {
        let rounds = rounds.parse().expect("`BGTASK_ROUNDS` is a number");
        (0..rounds).for_each(|number| round(number, rounds));
    } else {
        let round = &round;
        std::thread::scope(|scope| {
            for number in 0..few {
                scope.spawn(move || round(number, few));
            }
        });
    }
}

/// Makes tests of functions that take a `Scratch`: one for each database, with the same name.
macro_rules! on_each_database {
    ($($test:ident),* $(,)?) => { on_each_database! { via (|ended: ()| ended) $($test)* } };
    (async $($test:ident),* $(,)?) => { on_each_database! { via (super::block_on) $($test)* } };
    (via ($run:expr) $($test:ident)*) => {
        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[test]
            fn $test() {
                ($run)(super::$test(super::Scratch::sqlite()));
            })*
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[test]
            fn $test() {
                if let Some(scratch) = super::Scratch::postgres() {
                    ($run)(super::$test(scratch));
                }
            })*
        }
    };
}
pub(crate) use on_each_database;

/// Makes tests of the same functions for the store of the test kit: of those that need no second process and no setting of a database.
macro_rules! on_the_kit {
    ($($test:ident),* $(,)?) => { on_the_kit! { via (|ended: ()| ended) $($test)* } };
    (async $($test:ident),* $(,)?) => { on_the_kit! { via (super::block_on) $($test)* } };
    (via ($run:expr) $($test:ident)*) => {
        mod kit {
            $(#[test]
            fn $test() {
                ($run)(super::$test(super::Scratch::kit()));
            })*
        }
    };
}
pub(crate) use on_the_kit;
