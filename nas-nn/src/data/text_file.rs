//! Files of text: read whole, unpacked, decoded.

use std::io::Read;
use std::path::Path;

use super::DataError;

/// The most bytes of a file that are read, unpacked: 1 GiB.
const LIMIT: u64 = 1 << 30;

/// The text of a file in UTF-8, gzipped or not, without a byte order mark.
///
/// # Errors
/// A file that is missing, damaged, too large or no text.
pub(super) fn read(path: &Path) -> Result<String, DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(io)?.take(LIMIT + 1).read_to_end(&mut bytes).map_err(io)?;
    decode(&bytes, path)
}

/// The text of the bytes of a file; `path` is what errors name.
pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<String, DataError> {
    let mut unpacked = Vec::new();
    let whole = if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(bytes)
            .take(LIMIT + 1)
            .read_to_end(&mut unpacked)
            .map_err(|source| DataError::Gzip { path: path.to_owned(), source })?;
        unpacked.as_slice()
    } else {
        bytes
    };
    if whole.len() as u64 > LIMIT {
        let source = std::io::Error::other(format!("it is longer than {LIMIT} bytes"));
        return Err(DataError::Io { path: path.to_owned(), source });
    }
    let text =
        std::str::from_utf8(whole).map_err(|e| DataError::NoText { path: path.to_owned(), at: e.valid_up_to() })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
}
