//! Recorded cases: the project's own copy, or a folder of the same layout named by `DECIMA_VECTORS`.

use std::path::PathBuf;

pub(crate) fn vectors(file: &str) -> Vec<serde_json::Value> {
    let folder = std::env::var_os("DECIMA_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vectors"), PathBuf::from);
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{file}: {error}"))).collect()
}
