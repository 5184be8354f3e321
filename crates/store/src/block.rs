//! The seam of blocks; their encoding lands next. Until then a head is never cut.

use std::sync::Arc;

use bytes::Bytes;

use crate::budget::Budget;
use crate::error::{Kind, StoreError};
use crate::head::Head;
use crate::objects::Objects;
use crate::part::Part;

pub struct BlockFile {
    pub name: String,
    pub bytes: u64,
    pub crc32c: u32,
}

pub struct BlockMeta {
    pub min_time: i64,
    pub max_time: i64,
    pub files: Vec<BlockFile>,
}

pub struct CutBlock {
    pub meta: BlockMeta,
    pub files: Vec<(String, Bytes)>,
}

pub enum Block {}

impl BlockMeta {
    pub fn to_json(&self) -> Result<Vec<u8>, StoreError> {
        Err(no_blocks())
    }

    pub fn from_json(_: &str, _: &[u8]) -> Result<Self, StoreError> {
        Err(no_blocks())
    }
}

fn no_blocks() -> StoreError {
    StoreError::new(Kind::Io, "block", "no blocks yet")
}

impl Head {
    pub fn cut(
        &self,
        _window_ns: i64,
        _sink: &mut dyn FnMut(CutBlock) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        Err(no_blocks())
    }
}

impl Block {
    pub fn open(_: Arc<dyn Objects>, _: &str, _: BlockMeta, _: &Budget) -> Result<Self, StoreError> {
        Err(no_blocks())
    }

    pub fn meta(&self) -> &BlockMeta {
        match *self {}
    }

    pub fn parts(&self, _: &str, _: Option<(i64, i64)>) -> Result<Vec<Arc<dyn Part>>, StoreError> {
        match *self {}
    }

    pub fn defect(&self) -> Option<StoreError> {
        match *self {}
    }
}
