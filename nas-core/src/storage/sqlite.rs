//! A study in one SQLite file, which its user can query with any SQLite tool.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::{Storage, StudyRecord, row};
use crate::Trial;
use crate::error::Error;
use crate::strategy::Diagnostics;

const SCHEMA: &str = include_str!("schema.sql");
const APPLICATION: i32 = 0x4E41_5330;
const VERSION: i32 = 1;

/// The first bytes of every SQLite file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The length of those and of the page size that follows them.
const HEAD: u64 = 18;

/// Keeps a study in one SQLite file. Every call is durable when it returns, also over a loss of power.
///
/// Only one process can have a study open for writing: it holds a lock on a file beside the database, whose name ends in
/// `.lock`. The operating system drops that lock with the process, so a killed search blocks nobody.
#[derive(Debug)]
pub struct SqliteStorage {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Held as long as the storage lives; none when it only reads.
    _lock: Option<File>,
}

impl SqliteStorage {
    /// A new file at `path`, in a folder that exists, without a study yet.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is something at `path`, [`Error::Locked`] when another process is creating it,
    /// [`Error::Io`] when it cannot be written.
    pub fn create(path: &Path) -> Result<Self, Error> {
        if path.symlink_metadata().is_ok() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        let lock = lock(path)?;
        OpenOptions::new().write(true).create_new(true).open(path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
            _ => io_error("creating", path, source),
        })?;
        let made = Self::fill(path, lock);
        if made.is_err() {
            // The file is ours and holds nothing yet: leave no half-made study. The first error is the one to tell.
            let _ = std::fs::remove_file(path);
        }
        made
    }

    fn fill(path: &Path, lock: File) -> Result<Self, Error> {
        let fail = |error| sqlite_error("creating", path, error);
        let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE)).map_err(fail)?;
        // The schema goes into the main file before the write-ahead log exists: the file is whole from its first moment.
        connection.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT;")).map_err(fail)?;
        configure(&connection).map_err(fail)?;
        sync_folder(path).map_err(|source| io_error("creating", path, source))?;
        Ok(SqliteStorage { path: path.to_owned(), connection: Mutex::new(connection), _lock: Some(lock) })
    }

    /// The study at `path`, for writing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no file, [`Error::Locked`] when another process has it open for writing,
    /// [`Error::Damaged`] when it is no study, truncated, or of another version, [`Error::Io`] when it cannot be read or
    /// written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        check_header(path)?;
        let lock = lock(path)?;
        let fail = |error| sqlite_error("opening", path, error);
        let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE)).map_err(fail)?;
        check_content(&connection, path)?;
        configure(&connection).map_err(fail)?;
        Ok(SqliteStorage { path: path.to_owned(), connection: Mutex::new(connection), _lock: Some(lock) })
    }

    /// The study at `path`, for reading only, without a lock: also while a search writes to it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no file, [`Error::Damaged`] when it is no study, truncated, or of another
    /// version, [`Error::Io`] when it cannot be read. Writing to it is an [`Error::Io`].
    pub fn open_read_only(path: &Path) -> Result<Self, Error> {
        check_header(path)?;
        // Without a write-ahead log there is no writer and nothing to index: the file is read as it stands, also in a folder
        // that cannot be written. A reader of a log would leave a log and an index behind.
        let connection = if beside(path, "-wal").exists() { read_only(path) } else { unchanging(path) };
        let connection = connection.map_err(|error| sqlite_error("opening", path, error))?;
        check_content(&connection, path)?;
        Ok(SqliteStorage { path: path.to_owned(), connection: Mutex::new(connection), _lock: None })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().expect("nothing panics while it holds this lock")
    }

    fn reading(&self) -> impl Fn(rusqlite::Error) -> Error {
        |error| sqlite_error("reading", &self.path, error)
    }

    fn writing(&self) -> impl Fn(rusqlite::Error) -> Error {
        |error| sqlite_error("writing", &self.path, error)
    }

    fn damaged(&self, why: String) -> Error {
        Error::Damaged { path: self.path.clone(), why }
    }
}

impl Storage for SqliteStorage {
    fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self, study: &StudyRecord) -> Result<(), Error> {
        let connection = self.connection();
        let record = row::json(study).map_err(self.writing())?;
        let added = connection
            .execute("INSERT INTO study (id, record) VALUES (1, ?1) ON CONFLICT DO NOTHING", [record])
            .map_err(self.writing())?;
        if added == 0 { Err(Error::Exists { path: self.path.clone() }) } else { Ok(()) }
    }

    fn study(&self) -> Result<Option<StudyRecord>, Error> {
        let connection = self.connection();
        let record: Option<String> = connection
            .query_row("SELECT record FROM study", [], |row| row.get(0))
            .optional()
            .map_err(self.reading())?;
        let Some(record) = record else { return Ok(None) };
        row::parse(&record).map(Some).map_err(|why| self.damaged(format!("its study record: {why}")))
    }

    fn put(&self, trial: &Trial) -> Result<(), Error> {
        row::write(&self.connection(), trial).map_err(self.writing())
    }

    fn trials(&self) -> Result<Vec<Trial>, Error> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(row::SELECT).map_err(self.reading())?;
        let mut rows = statement.query([]).map_err(self.reading())?;
        let mut trials = Vec::new();
        while let Some(row) = rows.next().map_err(self.reading())? {
            let trial = row::read(row).map_err(|why| self.damaged(why))?;
            if trial.number != trials.len() as u64 {
                return Err(self.damaged(format!("trial {} is missing", trials.len())));
            }
            trials.push(trial);
        }
        Ok(trials)
    }

    fn put_diagnostics(&self, trial: u64, diagnostics: &Diagnostics) -> Result<(), Error> {
        let figures = row::figures(diagnostics.0.iter().map(|(name, figure)| (name.as_str(), *figure)));
        let connection = self.connection();
        let write = || {
            connection
                .prepare_cached("INSERT OR REPLACE INTO diagnostics (trial, figures) VALUES (?1, ?2)")?
                .execute((row::integer(trial)?, figures))
        };
        write().map(|_| ()).map_err(self.writing())
    }

    fn diagnostics(&self) -> Result<Vec<(u64, Diagnostics)>, Error> {
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT trial, figures FROM diagnostics ORDER BY trial")
            .map_err(self.reading())?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
            .map_err(self.reading())?;
        rows.map(|row| {
            let (trial, figures) = row.map_err(self.reading())?;
            let damaged = |why| self.damaged(format!("diagnostics of trial {trial}: {why}"));
            let number = u64::try_from(trial).map_err(|_| damaged("its number is negative".to_owned()))?;
            Ok((number, row::diagnostics(&figures).map_err(damaged)?))
        })
        .collect()
    }
}

/// Every connection is used by one thread at a time, behind the mutex.
fn flags(access: OpenFlags) -> OpenFlags {
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    // Opening reads nothing: only a query tells whether the file can be read.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// Reads a file that nobody changes, without any file beside it.
fn unchanging(path: &Path) -> rusqlite::Result<Connection> {
    let path = path.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(path.to_owned()))?;
    let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let uri = format!("file:{escaped}?immutable=1");
    Connection::open_with_flags(uri, flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI))
}

/// The write-ahead log lets others read during a search. FULL makes each commit survive a loss of power; it costs
/// milliseconds where trials take seconds.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// What can be said of the file before SQLite touches it.
fn check_header(path: &Path) -> Result<(), Error> {
    let opening = |source: io::Error| match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Error::NotFound { path: path.to_owned() },
        _ => io_error("opening", path, source),
    };
    let damaged = |why: &str| Err(Error::Damaged { path: path.to_owned(), why: why.to_owned() });
    let has_log = beside(path, "-wal").metadata().is_ok_and(|log| log.len() > 0);
    let file = File::open(path).map_err(opening)?;
    let metadata = file.metadata().map_err(opening)?;
    if metadata.is_dir() {
        return damaged("it is a folder");
    }
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).map_err(|source| io_error("reading", path, source))?;
    if head.is_empty() {
        return damaged("it is empty");
    }
    let Some(rest) = head.strip_prefix(MAGIC) else { return damaged("it is no SQLite database") };
    let &[high, low] = rest else { return damaged("it is truncated") };
    // SQLite takes what is missing of the last page as zeros. With a log it may rightly do so: the log has the page.
    let page = match u16::from_be_bytes([high, low]) {
        1 => 65536,
        page => u64::from(page),
    };
    if !has_log && (page == 0 || metadata.len() % page != 0) {
        return damaged("it is truncated");
    }
    Ok(())
}

/// Whether it is a whole database, ours, and of this version.
fn check_content(connection: &Connection, path: &Path) -> Result<(), Error> {
    let fail = |error| sqlite_error("opening", path, error);
    let damaged = |why: String| Err(Error::Damaged { path: path.to_owned(), why });
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(fail);
    let application = pragma("application_id")?;
    if application != APPLICATION {
        return damaged(format!("it is an SQLite database of another application ({application:#x})"));
    }
    let version = pragma("user_version")?;
    if version != VERSION {
        return damaged(format!("its format is version {version}; this program reads version {VERSION}"));
    }
    // Finds truncation and pages that do not belong together. A study is small: milliseconds.
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(fail)?;
    if verdict != "ok" {
        return damaged(verdict);
    }
    let records: i64 = connection.query_row("SELECT count(*) FROM study", [], |row| row.get(0)).map_err(fail)?;
    if records == 0 {
        return damaged("it holds no study: its creation was interrupted; delete it and start again".to_owned());
    }
    Ok(())
}

/// Takes the lock beside the database at `path`, or says who prevents it.
fn lock(path: &Path) -> Result<File, Error> {
    let beside = path.with_extension("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&beside)
        .map_err(|source| io_error("opening", &beside, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io_error("locking", &beside, source)),
    }
}

/// `path` with `suffix` after its name, as SQLite names the files beside a database.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the new file's entry in its folder durable; only Unix knows how.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source }
}

/// What SQLite's error means for a study.
fn sqlite_error(action: &'static str, path: &Path, error: rusqlite::Error) -> Error {
    use rusqlite::Error as Sqlite;
    let kind = match &error {
        Sqlite::SqliteFailure(failure, _) => match failure.code {
            // Unknown is what SQLite says of a query that does not fit the tables; ours fit those of the schema.
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => {
                return Error::Damaged { path: path.to_owned(), why: error.to_string() };
            }
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => return Error::Locked { path: path.to_owned() },
            ErrorCode::DiskFull => ErrorKind::StorageFull,
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::Other,
        },
        Sqlite::FromSqlConversionFailure(..) | Sqlite::InvalidColumnType(..) | Sqlite::Utf8Error(..) => {
            return Error::Damaged { path: path.to_owned(), why: error.to_string() };
        }
        Sqlite::ToSqlConversionFailure(_) => ErrorKind::InvalidInput,
        _ => ErrorKind::Other,
    };
    io_error(action, path, io::Error::new(kind, error))
}

#[cfg(test)]
mod tests;
