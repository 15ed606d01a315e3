//! `/pages/1`: a number is asked for, a page is the answer. Two pages are trouble.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use trunkline::protocols::ServeError;
use trunkline::protocols::simple::Protocol;
use trunkline::wire::{Decode, DecodeError, Encode, need};
use trunkline::{PeerId, ProtocolId};

/// The page that takes long.
pub(crate) const SLOW: u32 = 107;
/// The page that never comes.
pub(crate) const LOST: u32 = 13;

/// Has all pages.
pub(crate) struct Pages;

/// Which page.
pub(crate) struct GetPage {
    pub(crate) number: u32,
}

/// What is on it.
pub(crate) struct Page {
    text: Bytes,
}

impl Encode for GetPage {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u32(self.number);
    }
}

impl Decode for GetPage {
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        need(bytes, 4)?;
        Ok(Self { number: bytes.get_u32() })
    }
}

impl Encode for Page {
    fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.text);
    }
}

impl Decode for Page {
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self { text: bytes.split_to(bytes.len()) })
    }
}

impl Protocol for Pages {
    const ID: ProtocolId = ProtocolId::new("/pages/1");
    type Request = GetPage;
    type Response = Page;

    async fn serve(&self, _from: PeerId, asked: GetPage) -> Result<Page, ServeError> {
        match asked.number {
            SLOW => tokio::time::sleep(Duration::from_millis(1200)).await,
            LOST => std::future::pending().await,
            _ => {}
        }
        Ok(Page { text: format!("page {}", asked.number).into() })
    }
}
