//! Reports that are messages all through: lists of functions with what each is.

use query::report::{FrameColumns, TextColumn, Top};

use crate::proto::parca::metastore::v1alpha1::{Function, Line, Location, Mapping};
use crate::proto::parca::query::v1alpha1::{Top as TopMessage, TopNode, TopNodeMeta};

pub(crate) fn top(top: &Top, total: i64) -> TopMessage {
    let list = (0..top.flat.len()).map(|row| {
        let Frame { location, mapping, function, line } = frame(&top.frames, row);
        TopNode {
            meta: Some(TopNodeMeta { location: Some(location), mapping, function, line }),
            cumulative: top.cumulative[row],
            flat: top.flat[row],
            diff: top.diff[row],
        }
    });
    #[expect(deprecated, reason = "old readers look at it")]
    TopMessage {
        list: list.collect(),
        reported: i32::try_from(top.flat.len()).unwrap_or(i32::MAX),
        total: total.clamp(i32::MIN.into(), i32::MAX.into()) as i32,
        unit: top.unit.clone(),
    }
}

/// What a row's frame is.
struct Frame {
    location: Location,
    mapping: Option<Mapping>,
    /// Set where there is a function, even one without a name.
    function: Option<Function>,
    line: Option<Line>,
}

/// Identifiers are rows: they tie a location to its mapping and a line to its function, and mean nothing beyond.
fn frame(frames: &FrameColumns, row: usize) -> Frame {
    let text = |column: &TextColumn| column.get(row).map(|text| String::from_utf8_lossy(text).into_owned());
    let id = row.to_string();
    let (file, build_id) = (text(&frames.mapping_file), text(&frames.mapping_build_id));
    let mapping = (file.is_some() || build_id.is_some()).then(|| Mapping {
        id: id.clone(),
        file: file.unwrap_or_default(),
        build_id: build_id.unwrap_or_default(),
        ..Mapping::default()
    });
    let function = frames.has_function(row).then(|| Function {
        id: id.clone(),
        start_line: frames.function_startline.values[row],
        name: text(&frames.function_name).unwrap_or_default(),
        system_name: text(&frames.function_system_name).unwrap_or_default(),
        filename: text(&frames.function_file_name).unwrap_or_default(),
        ..Function::default()
    });
    let line = frames.location_line.valid[row].then(|| Line {
        function_id: function.as_ref().map_or_else(String::new, |function| function.id.clone()),
        line: frames.location_line.values[row],
        ..Line::default()
    });
    let location = Location {
        address: frames.location_address.values[row],
        mapping_id: mapping.as_ref().map_or_else(String::new, |mapping| mapping.id.clone()),
        id,
        ..Location::default()
    };
    Frame { location, mapping, function, line }
}
