//! What a row's frame is, in full: `CallgraphNodeMeta` and `FlamegraphNodeMeta` have the same fields for it.

use query::report::{FrameColumns, TextColumn};

use crate::encoded::{message, string, uint};

const LOCATION: u32 = 1;
const MAPPING: u32 = 2;
const FUNCTION: u32 = 3;
const LINE: u32 = 4;

/// `id` ties a location to its mapping and a line to its function, and means nothing beyond; where it is empty they go without.
pub(crate) fn frame_meta(frames: &FrameColumns, row: usize, id: &[u8], out: &mut Vec<u8>) {
    let text = |out: &mut Vec<u8>, field: u32, column: &TextColumn| {
        if let Some(text) = column.get(row) {
            string(out, field, text);
        }
    };
    let identifier = |out: &mut Vec<u8>, field: u32| {
        if !id.is_empty() {
            string(out, field, id);
        }
    };
    let has_mapping = frames.mapping_file.keys[row] >= 0 || frames.mapping_build_id.keys[row] >= 0;
    let has_function = frames.has_function(row);
    message(out, LOCATION, |out| {
        identifier(out, 1);
        uint(out, 2, frames.location_address.values[row]);
        if has_mapping {
            identifier(out, 4);
        }
    });
    if has_mapping {
        message(out, MAPPING, |out| {
            identifier(out, 1);
            text(out, 5, &frames.mapping_file);
            text(out, 6, &frames.mapping_build_id);
        });
    }
    if has_function {
        message(out, FUNCTION, |out| {
            identifier(out, 1);
            uint(out, 2, frames.function_startline.values[row] as u64);
            text(out, 3, &frames.function_name);
            text(out, 4, &frames.function_system_name);
            text(out, 5, &frames.function_file_name);
        });
    }
    if frames.location_line.valid[row] {
        message(out, LINE, |out| {
            if has_function {
                identifier(out, 1);
            }
            uint(out, 2, frames.location_line.values[row] as u64);
        });
    }
}
