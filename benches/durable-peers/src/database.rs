//! The databases of a bench: an empty one for each measurement, deleted at its end. Must never know what is measured.

use crate::server::Server;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A kind of database.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    Sqlite,
    Postgres(&'a Server),
}

impl<'a> Kind<'a> {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Sqlite => "SQLite",
            Kind::Postgres(_) => "Postgres",
        }
    }

    pub(crate) fn server(self) -> Option<&'a Server> {
        match self {
            Kind::Sqlite => None,
            Kind::Postgres(server) => Some(server),
        }
    }

    /// Creates an empty database.
    pub(crate) fn create(self) -> Database<'a> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Only unique.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bench{number}");
        match self {
            Kind::Sqlite => {
                let folder = format!("bgtask-bench-{}-{number}", std::process::id());
                let folder = std::env::temp_dir().join(folder);
                std::fs::create_dir_all(&folder).expect("a folder");
                Database {
                    url: format!("sqlite://{}/jobs.db", folder.display()),
                    name,
                    kind: self,
                    folder,
                }
            }
            Kind::Postgres(server) => {
                server.execute("postgres", &[format!("CREATE DATABASE {name}")]);
                Database {
                    url: server.url(&name),
                    name,
                    kind: self,
                    folder: PathBuf::new(),
                }
            }
        }
    }
}

pub(crate) struct Database<'a> {
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) kind: Kind<'a>,
    folder: PathBuf,
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        match self.kind {
            Kind::Sqlite => {
                let _ = std::fs::remove_dir_all(&self.folder);
            }
            Kind::Postgres(server) => {
                let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
                server.execute("postgres", &[drop]);
            }
        }
    }
}
