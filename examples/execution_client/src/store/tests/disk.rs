//! A disk in memory that remembers what was done to it, and that can fill up.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

#[derive(Debug, Clone)]
pub(super) enum Deed {
    Write(usize, Vec<u8>),
    SetLen(usize),
    Sync,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    deeds: Vec<Deed>,
    /// How many bytes may still be written.
    left: Option<usize>,
    /// Whether that counts for a file that grows as well; else it grows for nothing, as on a tmpfs.
    counts_growth: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Inner { bytes, ..Inner::default() })))
    }

    /// From now on, only this many bytes can be written.
    pub(super) fn fills_up(&self, left: usize, counts_growth: bool) {
        let mut inner = self.0.lock().unwrap();
        inner.left = Some(left);
        inner.counts_growth = counts_growth;
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    /// What was done since the disk was made.
    pub(super) fn deeds(&self) -> Vec<Deed> {
        self.0.lock().unwrap().deeds.clone()
    }

    pub(super) fn deed_count(&self) -> usize {
        self.0.lock().unwrap().deeds.len()
    }
}

impl Deed {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
            Self::SetLen(len) => bytes.resize(*len, 0),
            Self::Sync => {}
        }
    }
}

impl Inner {
    fn take(&mut self, bytes: usize) -> io::Result<()> {
        const NO_SPACE: i32 = 28;
        if let Some(left) = &mut self.left {
            // Once full, full: what is freed is not given back.
            *left = left.checked_sub(bytes).unwrap_or_default();
            if *left == 0 {
                return Err(io::Error::from_raw_os_error(NO_SPACE));
            }
        }
        Ok(())
    }

    fn act(&mut self, deed: Deed) {
        deed.apply(&mut self.bytes);
        self.deeds.push(deed);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.0.lock().unwrap();
        let start = offset as usize;
        let part = inner.bytes.get(start..start + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let grown = (len as usize).saturating_sub(inner.bytes.len());
        if inner.counts_growth && grown > 0 {
            inner.take(grown)?;
        }
        inner.act(Deed::SetLen(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.lock().unwrap().act(Deed::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.take(data.len())?;
        inner.act(Deed::Write(offset as usize, data.to_vec()));
        Ok(())
    }
}
