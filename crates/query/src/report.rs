//! Answers, as columns of equal length: no Arrow, no protobuf.

use profile::{ProfileType, ValueType};

/// A value column with gaps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column<T> {
    /// 0 where not valid.
    pub values: Vec<T>,
    pub valid: Vec<bool>,
}

impl<T: Default> Column<T> {
    pub fn push(&mut self, value: Option<T>) {
        self.valid.push(value.is_some());
        self.values.push(value.unwrap_or_default());
    }
}

/// A column of strings by way of a dictionary, laid out as Arrow wants it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextColumn {
    /// Row in the dictionary, -1 for null.
    pub keys: Vec<i32>,
    pub dictionary: Dictionary,
}

/// Distinct strings: `values[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dictionary {
    pub offsets: Vec<i32>,
    pub values: Vec<u8>,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self { offsets: vec![0], values: Vec::new() }
    }
}

impl Dictionary {
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, key: i32) -> &[u8] {
        let key = key as usize;
        &self.values[self.offsets[key] as usize..self.offsets[key + 1] as usize]
    }

    /// Appends a string that is not there yet; gives its row.
    pub(crate) fn push(&mut self, string: &[u8]) -> i32 {
        self.values.extend_from_slice(string);
        self.offsets.push(self.values.len() as i32);
        (self.len() - 1) as i32
    }
}

impl TextColumn {
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        let key = self.keys[row];
        (key >= 0).then(|| self.dictionary.get(key))
    }
}

/// Lists of row numbers: list `i` is `items[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Lists<T> {
    pub offsets: Vec<i32>,
    pub items: Vec<T>,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { offsets: vec![0], items: Vec::new() }
    }
}

impl<T> Lists<T> {
    pub fn get(&self, row: usize) -> &[T] {
        &self.items[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    pub(crate) fn close(&mut self) {
        self.offsets.push(self.items.len() as i32);
    }
}

/// What a frame is, besides its values. Null where the contributors of a row differ; nameless frames have
/// a null name, frames without function null function columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameColumns {
    /// In the address space of the first contributor.
    pub location_address: Column<u64>,
    pub mapping_file: TextColumn,
    pub mapping_build_id: TextColumn,
    pub location_line: Column<i64>,
    pub function_startline: Column<i64>,
    pub function_name: TextColumn,
    pub function_system_name: TextColumn,
    pub function_file_name: TextColumn,
}

impl FrameColumns {
    /// Whether a row's frame has a function, if only one without a name.
    pub fn has_function(&self, row: usize) -> bool {
        let texts = [&self.function_name, &self.function_system_name, &self.function_file_name];
        self.function_startline.valid[row] || texts.iter().any(|text| text.keys[row] >= 0)
    }
}

/// A flame graph: rows in preorder, row 0 is the root, siblings by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlameGraph {
    pub unit: String,
    /// Rows on the longest path before trimming, the root included.
    pub height: i32,
    /// Value of the subtrees that were left out.
    pub trimmed: i64,
    /// Whether a row stands for no frame but for the labels that all rows below it have.
    pub labels_only: Vec<bool>,
    pub frames: FrameColumns,
    pub inlined: Column<bool>,
    /// -1 for the root.
    pub parent: Vec<i32>,
    pub children: Lists<u32>,
    /// More than 0 but for the root, whose value is the sum of its children.
    pub cumulative: Vec<i64>,
    /// May be negative.
    pub flat: Vec<i64>,
    /// Of the whole subtree, what is not shown included; 0 where nothing is compared.
    pub diff: Vec<i64>,
    /// 0 for the root.
    pub depth: Vec<u32>,
    /// Where the row's bar begins: siblings lie one after the other from their parent's.
    pub value_offset: Vec<i64>,
    /// ns since the epoch, of a row's first sample, 0 for the root. Empty unless rows follow each other in time.
    pub timestamp: Vec<i64>,
    /// Labels that were asked for and that some sample has, in the order in which they were asked for.
    pub labels: Vec<LabelColumn>,
}

/// What a label is worth, row by row; null where stacks lack it, and for the root.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelColumn {
    pub name: String,
    pub values: TextColumn,
}

impl FlameGraph {
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    pub fn is_empty(&self) -> bool {
        self.parent.is_empty()
    }
}

/// A flame graph that holds every node unless a threshold was given, and whose values may be 0 or negative. Its
/// root stands for everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NestedFlameGraph {
    pub graph: FlameGraph,
    /// Whether its nodes shall point into tables.
    pub tables: bool,
    /// Whether a threshold was heeded.
    pub trims: bool,
}

/// Functions (and nameless addresses): a row each, by cumulative value, largest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub unit: String,
    /// Of the first contributor, where several differ.
    pub frames: FrameColumns,
    /// Counts a recursive function once per frame.
    pub cumulative: Vec<i64>,
    /// Null where nothing is compared.
    pub cumulative_diff: Column<i64>,
    pub flat: Vec<i64>,
    /// 0 where nothing is compared.
    pub flat_diff: Vec<i64>,
    /// Row numbers, ascending.
    pub callers: Lists<i64>,
    pub callees: Lists<i64>,
}

impl Table {
    pub fn len(&self) -> usize {
        self.cumulative.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cumulative.is_empty()
    }
}

/// Functions (and nameless addresses): a row each, by flat value, largest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Top {
    pub unit: String,
    /// Of the first contributor, where several differ.
    pub frames: FrameColumns,
    /// Counts a recursive function once per frame.
    pub cumulative: Vec<i64>,
    pub flat: Vec<i64>,
    /// Change of the cumulative value; 0 where nothing is compared.
    pub diff: Vec<i64>,
}

/// Functions (and nameless addresses), and who calls whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallGraph {
    /// Of everything.
    pub cumulative: i64,
    /// A row per function, by cumulative value, largest first. Of the first contributor, where several differ.
    pub frames: FrameColumns,
    /// Counts a recursive function once per frame.
    pub node_cumulative: Vec<i64>,
    pub node_flat: Vec<i64>,
    /// By caller, then callee, collapsed ones last.
    pub edges: Vec<CallEdge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallEdge {
    /// Stands for calls by way of functions that are too small to be shown.
    pub is_collapsed: bool,
    /// Rows of the functions.
    pub caller: u32,
    pub callee: u32,
    pub cumulative: i64,
}

/// The lines of a file that stand on stacks, by name of the file (several may end alike) and line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceLines {
    pub unit: String,
    pub filename: TextColumn,
    pub line: Vec<i64>,
    /// Counts a line once per frame that is at it.
    pub cumulative: Vec<i64>,
    /// Of the stacks that end at it.
    pub flat: Vec<i64>,
}

/// Sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileMetadata {
    /// Empty for a frame without a mapping.
    pub mapping_files: Vec<String>,
    /// Names of labels.
    pub labels: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Charts, too, with their times.
    FlameGraph(FlameGraph),
    NestedFlameGraph(NestedFlameGraph),
    Table(Table),
    Top(Top),
    CallGraph(CallGraph),
    Source(SourceLines),
    /// A gzipped profile.proto.
    Pprof(Vec<u8>),
    /// `None` for a single profile, as in Parca: the field stays unset.
    Metadata(Option<ProfileMetadata>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct QueryReply {
    /// Before trimming; 0 for pprof and metadata, as in Parca.
    pub total: i64,
    /// What filters took away.
    pub filtered: i64,
    pub report: Report,
}

/// A series, without its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesName {
    pub profile_type: ProfileType,
    /// Sorted by name.
    pub labels: Vec<(String, String)>,
}

/// One line of a graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Sorted by name.
    pub labels: Vec<(String, String)>,
    /// Unset for moments (non-delta types), as in Parca.
    pub period_type: Option<ValueType>,
    pub sample_type: Option<ValueType>,
    /// By time.
    pub samples: Vec<RangeSample>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RangeSample {
    /// ns since the epoch: the bucket's begin, for moments the time of the profile.
    pub time: i64,
    pub value: i64,
    /// Cores for `cpu:nanoseconds`; the value itself for moments.
    pub value_per_second: f64,
    /// ns; 0 for moments.
    pub duration: i64,
    /// Samples with a value, for moments profiles.
    pub count: i32,
}
