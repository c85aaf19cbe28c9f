//! A study in a file: round trips, and every file that is none.

use std::fs;

use tempfile::TempDir;

use super::super::testing::{check_round_trip, record, trials};
use super::*;

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("study.db");
    (folder, path)
}

/// A closed study with trials in it.
fn filled() -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    let storage = SqliteStorage::create(&path).unwrap();
    storage.create(&record()).unwrap();
    for number in 0..40 {
        storage.put(&Trial { number, ..trials()[1].clone() }).unwrap();
    }
    storage.put_diagnostics(0, &Diagnostics::default()).unwrap();
    drop(storage);
    (folder, path)
}

#[track_caller]
fn check_damaged(path: &Path, says: &str) {
    for opened in [SqliteStorage::open(path), SqliteStorage::open_read_only(path)] {
        match opened {
            Err(Error::Damaged { path: at, why }) => {
                assert_eq!(at, path);
                assert!(why.contains(says), "{why}");
            }
            other => panic!("{says} {other:?}"),
        }
    }
}

/// Changes a closed study with SQL.
fn tamper(path: &Path, sql: &str) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(&format!("PRAGMA ignore_check_constraints = ON; {sql}")).unwrap();
}

#[test]
fn round_trip() {
    let (_folder, path) = folder();
    check_round_trip(SqliteStorage::create(&path).unwrap(), |storage| {
        drop(storage);
        Some(SqliteStorage::open(&path).unwrap())
    });
}

#[test]
fn round_trip_to_a_reader() {
    let (_folder, path) = folder();
    check_round_trip(SqliteStorage::create(&path).unwrap(), |storage| {
        drop(storage);
        Some(SqliteStorage::open_read_only(&path).unwrap())
    });
}

#[test]
fn round_trip_to_a_reader_without_room_for_an_index() {
    let (_folder, path) = folder();
    let path = path.with_file_name("100% of a?b#c.db");
    check_round_trip(SqliteStorage::create(&path).unwrap(), |storage| {
        drop(storage);
        let connection = Mutex::new(unchanging(&path).unwrap());
        Some(SqliteStorage { path: path.clone(), connection, _lock: None })
    });
}

#[test]
fn others_read_while_one_writes() {
    let (_folder, path) = filled();
    let writer = SqliteStorage::open(&path).unwrap();
    let reader = SqliteStorage::open_read_only(&path).unwrap();
    assert_eq!(reader.trials().unwrap().len(), 40);
    writer.put(&Trial { number: 40, ..trials()[1].clone() }).unwrap();
    assert_eq!(reader.trials().unwrap().len(), 41);
}

#[test]
fn a_reader_cannot_write() {
    let (_folder, path) = filled();
    let reader = SqliteStorage::open_read_only(&path).unwrap();
    match reader.put(&trials()[0]) {
        Err(Error::Io { action: "writing", path: at, source }) => {
            assert_eq!((at, source.kind()), (path, ErrorKind::PermissionDenied));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn figures_can_be_queried() {
    let (_folder, path) = filled();
    let connection = Connection::open(&path).unwrap();
    let sql = "SELECT count(*) FROM trials WHERE reward > 0.3 AND architecture ->> 'op' = 'conv' AND origin ->> 'by' = 'policy'";
    let count: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 40);
    let seed: String = connection.query_row("SELECT seed FROM trials", [], |row| row.get(0)).unwrap();
    assert_eq!(seed, "18446744073709551614");
}

#[test]
fn a_second_writer_is_locked_out() {
    let (_folder, path) = filled();
    let first = SqliteStorage::open(&path).unwrap();
    assert!(matches!(SqliteStorage::open(&path), Err(Error::Locked { path: at }) if at == path));
    drop(first);
    SqliteStorage::open(&path).unwrap();
}

#[test]
fn the_lock_holds_from_creation() {
    let (_folder, path) = folder();
    let first = SqliteStorage::create(&path).unwrap();
    first.create(&record()).unwrap();
    assert!(matches!(SqliteStorage::open(&path), Err(Error::Locked { .. })));
}

#[test]
fn nothing_is_overwritten() {
    let (_folder, path) = folder();
    fs::write(&path, "a letter").unwrap();
    assert!(matches!(SqliteStorage::create(&path), Err(Error::Exists { path: at }) if at == path));
    assert_eq!(fs::read_to_string(&path).unwrap(), "a letter");
}

#[test]
fn a_study_is_not_replaced() {
    let (_folder, path) = filled();
    let storage = SqliteStorage::open(&path).unwrap();
    assert!(matches!(storage.create(&record()), Err(Error::Exists { .. })));
}

#[test]
fn nothing_there() {
    let (folder, path) = folder();
    for path in [path.clone(), folder.path().join("no/study.db")] {
        assert!(matches!(SqliteStorage::open(&path), Err(Error::NotFound { path: at }) if at == path));
        assert!(matches!(SqliteStorage::open_read_only(&path), Err(Error::NotFound { path: at }) if at == path));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "opening leaves nothing behind");
}

#[test]
fn a_place_that_cannot_be_written() {
    let (_folder, path) = folder();
    fs::write(&path, "a file, not a folder").unwrap();
    match SqliteStorage::create(&path.join("study.db")) {
        Err(Error::Io { path: at, source, .. }) => {
            assert_eq!((at, source.kind()), (path.join("study.lock"), ErrorKind::NotADirectory));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn not_a_file() {
    let (folder, _) = folder();
    check_damaged(folder.path(), "it is a folder");
}

#[test]
fn empty() {
    let (_folder, path) = folder();
    fs::write(&path, "").unwrap();
    check_damaged(&path, "it is empty");
}

#[test]
fn text() {
    let (_folder, path) = folder();
    fs::write(&path, "a letter to a friend, much longer than a header").unwrap();
    check_damaged(&path, "no SQLite database");
}

#[test]
fn truncated() {
    let (_folder, path) = filled();
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > 4 * 4096, "several pages");
    let pages = (1..whole.len() / 4096).map(|page| page * 4096);
    for length in
        [1, 15, 16, 50, 99, 100, 500, 4095, 4097, whole.len() - 4097, whole.len() - 1].into_iter().chain(pages)
    {
        fs::write(&path, &whole[..length]).unwrap();
        check_damaged(&path, "");
        assert_eq!(fs::read(&path).unwrap(), &whole[..length], "the damaged file is left as it was");
    }
}

#[test]
fn flipped_bits_never_panic_or_change_a_trial_unnoticed_in_the_structure() {
    let (_folder, path) = filled();
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for place in (0..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        let read = SqliteStorage::open_read_only(&path).and_then(|storage| {
            storage.study()?;
            storage.diagnostics()?;
            storage.trials()
        });
        match read {
            Ok(trials) => assert_eq!(trials.len(), 40),
            Err(Error::Damaged { .. }) => refused += 1,
            Err(other) => panic!("byte {place}: {other:?}"),
        }
    }
    assert!(refused > 0);
}

#[test]
fn another_application() {
    let (_folder, path) = folder();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    check_damaged(&path, "another application");
}

#[test]
fn another_version() {
    let (_folder, path) = filled();
    tamper(&path, "PRAGMA user_version = 2");
    check_damaged(&path, "version 2; this program reads version 1");
}

#[test]
fn a_missing_table() {
    let (_folder, path) = filled();
    tamper(&path, "DROP TABLE study");
    check_damaged(&path, "study");
}

#[test]
fn an_interrupted_creation() {
    let (_folder, path) = folder();
    drop(SqliteStorage::create(&path).unwrap());
    check_damaged(&path, "creation was interrupted");
}

#[test]
fn broken_rows() {
    for (sql, says) in [
        ("UPDATE trials SET seed = 'x' WHERE number = 3", "trial 3: its seed is \"x\""),
        ("UPDATE trials SET architecture = '[1]' WHERE number = 3", "trial 3: "),
        ("UPDATE trials SET metrics = '{\"loss\": []}' WHERE number = 3", "trial 3: the figure \"loss\" is []"),
        ("UPDATE trials SET origin = '{\"by\": \"magic\"}' WHERE number = 3", "trial 3: "),
        ("UPDATE trials SET reward = 9e999 WHERE number = 3", "trial 3: its reward is not finite"),
        ("DELETE FROM trials WHERE number = 3", "trial 3 is missing"),
    ] {
        let (_folder, path) = filled();
        tamper(&path, sql);
        let storage = SqliteStorage::open(&path).unwrap();
        match storage.trials() {
            Err(Error::Damaged { why, .. }) => assert!(why.contains(says), "{sql}: {why}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[test]
fn a_row_that_breaks_the_schema() {
    let (_folder, path) = filled();
    tamper(&path, "UPDATE trials SET state = 'lost' WHERE number = 3");
    let opened = SqliteStorage::open(&path);
    assert!(matches!(opened, Err(Error::Damaged { why, .. }) if why.contains("CHECK constraint failed in trials")));
    // SQLite checks no constraints of a file it only reads; the row is refused when it is read.
    let trials = SqliteStorage::open_read_only(&path).unwrap().trials();
    assert!(matches!(trials, Err(Error::Damaged { why, .. }) if why.contains("trial 3: its state is \"lost\"")));
}

#[test]
fn a_broken_record() {
    let (_folder, path) = filled();
    tamper(&path, "UPDATE study SET record = '{}'");
    let storage = SqliteStorage::open(&path).unwrap();
    assert!(
        matches!(storage.study(), Err(Error::Damaged { why, .. }) if why.contains("its study record: missing field"))
    );
}

#[test]
fn a_full_disk() {
    let (_folder, path) = filled();
    let storage = SqliteStorage::open(&path).unwrap();
    // SQLite refuses to grow the file, as it does when the disk refuses.
    let pages: i64 = storage.connection().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    storage.connection().pragma_update(None, "max_page_count", pages).unwrap();
    let mut stored = 40;
    let error = loop {
        match storage.put(&Trial { number: stored, ..trials()[1].clone() }) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    match error {
        Error::Io { action: "writing", path: at, source } => {
            assert_eq!((at, source.kind()), (path.clone(), ErrorKind::StorageFull));
        }
        other => panic!("{other:?}"),
    }
    drop(storage);
    assert_eq!(SqliteStorage::open(&path).unwrap().trials().unwrap().len() as u64, stored);
}
