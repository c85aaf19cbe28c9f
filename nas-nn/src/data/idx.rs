//! IDX files, plain or gzipped: the format of MNIST.
//!
//! Two zero bytes, a type (0x08: unsigned bytes), a number of axes, their sizes as big-endian 32-bit numbers, the data.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::DataError;

/// The most bytes of data that are read from one file: 4 GiB.
const LIMIT: u64 = 1 << 32;

/// An array of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idx {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Vec<u8>,
}

impl Idx {
    /// Reads a file.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.is_dir() {
            return Err(io(std::io::Error::other("it is a folder, not a file")));
        }
        Self::read(BufReader::new(file), path)
    }

    /// Reads from `source`; `path` is what errors name.
    pub(crate) fn read(mut source: impl Read, path: &Path) -> Result<Self, DataError> {
        let mut start = [0; 2];
        let n = fill(&mut source, &mut start).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        let zipped = start == [0x1f, 0x8b];
        let whole = start[..n].chain(source);
        if zipped {
            // Memory stays bounded by the header, whatever the file unpacks to.
            return Self::parse(MultiGzDecoder::new(whole), path, true);
        }
        Self::parse(whole, path, false)
    }

    fn parse(mut source: impl Read, path: &Path, zipped: bool) -> Result<Self, DataError> {
        let path = || path.to_owned();
        let io = |source| {
            if zipped { DataError::Gzip { path: path(), source } } else { DataError::Io { path: path(), source } }
        };
        let mut magic = [0; 4];
        let n = fill(&mut source, &mut magic).map_err(io)?;
        if n == 0 {
            return Err(DataError::Empty { path: path() });
        }
        // The bytes that are missing are zero here, which only the number of axes may not be.
        if magic[0] != 0 || magic[1] != 0 || (n == 4 && magic[3] == 0) {
            return Err(DataError::Magic { path: path(), found: magic[..n].to_vec() });
        }
        if n < 4 {
            return Err(DataError::TruncatedHeader { path: path(), found: n });
        }
        if magic[2] != 0x08 {
            return Err(DataError::Type { path: path(), kind: magic[2] });
        }
        let axes = usize::from(magic[3]);
        if axes > 4 {
            return Err(DataError::Axes { path: path(), found: axes, expected: "at most 4 can be read" });
        }
        let mut sizes = vec![0; 4 * axes];
        let n = fill(&mut source, &mut sizes).map_err(io)?;
        if n < sizes.len() {
            return Err(DataError::TruncatedHeader { path: path(), found: magic.len() + n });
        }
        let dims: Vec<u64> =
            sizes.chunks_exact(4).map(|b| u64::from(u32::from_be_bytes([b[0], b[1], b[2], b[3]]))).collect();
        let expected = dims.iter().try_fold(1_u64, |n, &d| n.checked_mul(d)).filter(|n| (1..=LIMIT).contains(n));
        let Some(expected) = expected else {
            return Err(DataError::Sizes { path: path(), dims, limit: LIMIT });
        };
        let mut data = Vec::new();
        // Grows with what is really there, so that a header alone cannot claim memory.
        source.by_ref().take(expected).read_to_end(&mut data).map_err(io)?;
        if (data.len() as u64) < expected {
            return Err(DataError::Truncated { path: path(), expected, found: data.len() as u64 });
        }
        if fill(&mut source, &mut [0]).map_err(io)? > 0 {
            return Err(DataError::Trailing { path: path(), expected });
        }
        let dims = dims.into_iter().map(|d| d as usize).collect();
        Ok(Idx { dims, data })
    }
}

/// Reads until `buffer` is full or the source ends; the bytes read.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match source.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use nas_core::{Purpose, Seed};
    use rand::RngExt as _;

    use super::*;

    fn file(dims: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, u8::try_from(dims.len()).unwrap()];
        for dim in dims {
            bytes.extend(dim.to_be_bytes());
        }
        bytes.extend(data);
        bytes
    }

    fn zip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Idx, DataError> {
        Idx::read(bytes, Path::new("x"))
    }

    #[track_caller]
    fn check_error(bytes: &[u8], expected: &str) {
        assert_eq!(read(bytes).unwrap_err().to_string(), expected);
    }

    #[test]
    fn plain_and_zipped_round_trips() {
        let bytes = file(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let expected = Idx { dims: vec![2, 3], data: vec![1, 2, 3, 4, 5, 6] };
        assert_eq!(read(&bytes).unwrap(), expected);
        assert_eq!(read(&zip(&bytes)).unwrap(), expected);
    }

    #[test]
    fn errors_name_the_numbers() {
        check_error(b"", "x is empty");
        check_error(&zip(b""), "x is empty");
        let magic =
            "x is no IDX file: it begins with the bytes [89, 50, 4e, 47], not with 00 00, a type and a number of axes";
        check_error(b"\x89PNG....", magic);
        check_error(
            &[0, 0, 0x0d, 1, 0, 0, 0, 1, 0, 0, 0, 0],
            "x holds numbers of IDX type 0x0d; only unsigned bytes (0x08) can be read",
        );
        check_error(&file(&[2, 3], &[1]), "x is truncated: its header promises 6 bytes of data, it has 1");
        check_error(&[0, 0, 8], "x is truncated: it ends after 3 bytes, within its header");
        check_error(&file(&[2, 3], &[])[..9], "x is truncated: it ends after 9 bytes, within its header");
        check_error(&file(&[1; 5], &[1]), "x has 5 axes; at most 4 can be read");
        check_error(&file(&[1], &[1, 2]), "x goes on after the 1 bytes of data that its header promises");
        let sizes = |dims| {
            format!("x claims the sizes {dims}; each must be 1 or more and all together at most 4294967296 bytes")
        };
        check_error(&file(&[0], &[]), &sizes("[0]"));
        check_error(&file(&[u32::MAX; 4], &[1]), &sizes("[4294967295, 4294967295, 4294967295, 4294967295]"));
        let zipped = zip(&file(&[100], &[7; 100]));
        assert!(read(&zipped[..zipped.len() - 9]).unwrap_err().to_string().starts_with("x is damaged: "));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        // 64 MiB of zeros behind a header that promises four bytes.
        let mut bytes = file(&[4], &[1, 2, 3, 4]);
        bytes.resize(64 << 20, 0);
        check_error(&zip(&bytes), "x goes on after the 4 bytes of data that its header promises");
        // A header that promises 4 GiB and a file that has nothing.
        check_error(
            &file(&[1 << 31, 2], &[]),
            "x is truncated: its header promises 4294967296 bytes of data, it has 0",
        );
    }

    /// A source that counts what is taken from it.
    struct Counted<R>(R, usize);

    impl<R: Read> Read for Counted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.read(buffer)?;
            self.1 += n;
            Ok(n)
        }
    }

    #[test]
    fn no_more_is_read_than_the_header_promises() {
        let mut endless = Counted(std::io::Cursor::new(file(&[4, 3], &[])).chain(std::io::repeat(7)), 0);
        let error = Idx::read(&mut endless, Path::new("x")).unwrap_err();
        assert_eq!(error.to_string(), "x goes on after the 12 bytes of data that its header promises");
        assert_eq!(endless.1, 12 + 12 + 1, "one byte beyond the data shows that there are more");
    }

    #[test]
    fn a_wrong_checksum_or_text_after_it_is_damage() {
        let mut zipped = zip(&file(&[100], &[7; 100]));
        zipped.extend(b"text");
        assert!(matches!(read(&zipped), Err(DataError::Gzip { .. })));
        zipped.truncate(zipped.len() - 4);
        assert!(read(&zipped).is_ok());
        // The last eight bytes are the checksum and the length.
        let checksum = zipped.len() - 8;
        zipped[checksum] ^= 1;
        assert!(matches!(read(&zipped), Err(DataError::Gzip { .. })));
    }

    #[test]
    fn truncation_at_any_byte_is_an_error() {
        let bytes = file(&[2, 2], &[1, 2, 3, 4]);
        for n in 0..bytes.len() {
            assert!(read(&bytes[..n]).is_err(), "{n} bytes");
        }
        let zipped = zip(&bytes);
        for n in 0..zipped.len() {
            assert!(read(&zipped[..n]).is_err(), "{n} zipped bytes");
        }
    }

    #[test]
    fn mutations_never_panic() {
        let mut rng = Seed::new(5).stream(Purpose::Test, 0);
        let originals = [file(&[3, 2, 2], &[9; 12]), zip(&file(&[3, 2, 2], &[9; 12]))];
        let mut read_anyway = 0;
        for i in 0..10_000 {
            let mut bytes = originals[i % 2].clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            if let Ok(idx) = read(&bytes) {
                assert_eq!(idx.dims.iter().product::<usize>(), idx.data.len());
                read_anyway += 1;
            }
        }
        assert!(read_anyway > 0, "no mutation left a readable file");
    }
}
