//! The same questions answered slowly: maps of names, one sample at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::random::{Location, Profile, START, Sample};

/// What makes two frames one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameName {
    Named(String),
    /// Binary and address.
    Nameless(String, u64),
}

/// A frame's columns; `None` is null.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Columns {
    pub name: Option<String>,
    pub file: Option<String>,
    pub build_id: Option<String>,
    pub address: Option<u64>,
    pub line: Option<i64>,
    pub inlined: Option<bool>,
    pub start_line: Option<i64>,
    pub system_name: Option<String>,
    pub filename: Option<String>,
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The frames of a location, outermost first.
pub fn frames(location: &Location) -> Vec<(FrameName, Columns)> {
    let (file, build_id) = location.binary.unwrap_or_default();
    let binary = if build_id.is_empty() { file } else { build_id };
    let base = if location.binary.is_some() { START } else { 0 };
    let nameless = FrameName::Nameless(binary.to_owned(), location.address);
    let columns = Columns {
        name: None,
        file: text(file),
        build_id: text(build_id),
        address: Some(location.address + base),
        line: None,
        inlined: Some(false),
        start_line: None,
        system_name: None,
        filename: None,
    };
    if location.lines.is_empty() {
        return vec![(nameless, columns)];
    }
    let last = location.lines.len() - 1;
    let frame = |(row, line): (usize, &crate::random::Line)| {
        let mut columns = Columns { line: Some(line.line), inlined: Some(row < last), ..columns.clone() };
        let mut name = nameless.clone();
        if let Some((stored, system_name, filename, start_line)) = line.function {
            columns.system_name = text(system_name);
            columns.filename = text(filename);
            columns.start_line = Some(start_line);
            columns.name = text(stored).or(text(system_name));
            if let Some(known) = &columns.name {
                name = FrameName::Named(known.clone());
            }
        }
        (name, columns)
    };
    location.lines.iter().enumerate().rev().map(frame).collect()
}

#[derive(Clone, Debug, Default)]
pub struct Node {
    pub flat: i64,
    pub diff: i64,
    pub columns: Option<Columns>,
    /// What its frames are, each.
    pub said: BTreeSet<Columns>,
    /// File, build ID and address of the first contributor.
    place: Option<(Option<String>, Option<String>, Option<u64>)>,
    pub children: BTreeMap<FrameName, Node>,
}

impl Node {
    /// Adds a stack, leaf first.
    pub fn add(&mut self, stack: &[Location], value: i64, diff: i64) {
        self.add_by(stack, value, diff, &[]);
    }

    /// The same where frames are told apart by these fields, too.
    pub fn add_by(&mut self, stack: &[Location], value: i64, diff: i64, fields: &[String]) {
        let mut node = self;
        for location in stack.iter().rev() {
            for (mut name, columns) in frames(location) {
                if let FrameName::Named(known) = &mut name {
                    let binary = columns.build_id.as_ref().or(columns.file.as_ref());
                    for field in fields {
                        *known += &match field.as_str() {
                            "function_file_name" => format!(" {:?}", columns.filename),
                            "mapping_file" => format!(" {:?}", columns.file),
                            "location_address" => format!(" {binary:?} {}", location.address),
                            _ => String::new(),
                        };
                    }
                }
                let named = matches!(name, FrameName::Named(_));
                let place = (columns.file.clone(), columns.build_id.clone(), columns.address);
                node = node.children.entry(name).or_default();
                node.said.insert(columns.clone());
                match &mut node.columns {
                    None => node.columns = Some(columns),
                    Some(first) => first.join(&columns),
                }
                // a nameless frame is one address, in whichever file it lay
                let elsewhere = *node.place.get_or_insert(place.clone()) != place;
                if named
                    && elsewhere
                    && let Some(columns) = &mut node.columns
                {
                    columns.address = None;
                }
            }
        }
        node.flat += value;
        node.diff += diff;
    }

    pub fn cumulative(&self) -> i64 {
        self.flat + self.children.values().map(Node::cumulative).sum::<i64>()
    }

    pub fn cumulative_diff(&self) -> i64 {
        self.diff + self.children.values().map(Node::cumulative_diff).sum::<i64>()
    }

    pub fn height(&self) -> i32 {
        1 + self.children.values().map(Node::height).max().unwrap_or(0)
    }

    /// Takes out children at or below `share` of their parent; gives what they held.
    pub fn trim(&mut self, share: f64) -> i64 {
        let own = self.cumulative();
        let mut trimmed = 0;
        self.children.retain(|_, child| {
            let value = child.cumulative();
            let keep = value > 0 && value as f64 > own as f64 * share;
            trimmed += if keep { 0 } else { value };
            keep
        });
        trimmed
    }

    /// Trims the whole tree by the values it had before; rows of (depth, columns, cumulative, flat, diff).
    pub fn rows(&self, share: f64) -> (Vec<Row>, i64) {
        let mut rows = Vec::new();
        let mut trimmed = 0;
        self.push_rows(0, share, &mut rows, &mut trimmed);
        (rows, trimmed)
    }

    fn push_rows(&self, depth: u32, share: f64, rows: &mut Vec<Row>, trimmed: &mut i64) {
        let mut kept = self.clone();
        *trimmed += kept.trim(share);
        let (mut cumulative, mut flat, mut diff) = (self.cumulative(), self.flat, self.cumulative_diff());
        if depth == 0 {
            cumulative = kept.children.values().map(Node::cumulative).sum();
            flat = 0;
            diff = if kept.children.is_empty() { 0 } else { diff };
        }
        rows.push(Row { depth, columns: self.columns.clone(), cumulative, flat, diff });
        for child in kept.children.values() {
            child.push_rows(depth + 1, share, rows, trimmed);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub depth: u32,
    pub columns: Option<Columns>,
    pub cumulative: i64,
    pub flat: i64,
    pub diff: i64,
}

impl Columns {
    /// What differs becomes null.
    fn join(&mut self, other: &Columns) {
        fn both<T: PartialEq>(a: &mut Option<T>, b: &Option<T>) {
            if a != b {
                *a = None;
            }
        }
        both(&mut self.file, &other.file);
        both(&mut self.build_id, &other.build_id);
        both(&mut self.line, &other.line);
        both(&mut self.inlined, &other.inlined);
        both(&mut self.start_line, &other.start_line);
        both(&mut self.system_name, &other.system_name);
        both(&mut self.filename, &other.filename);
    }
}

/// One value of a sample, if it is there at all.
pub fn value(profile: &Profile, sample: &Sample, value: usize, times_period: bool) -> Option<i64> {
    let factor = if times_period { profile.period } else { 1 };
    (sample.values[value] != 0).then(|| sample.values[value] * factor)
}

/// Labels of a sample, the profile's first.
pub fn label<'a>(profile: &'a Profile, sample: &'a Sample, name: &str) -> Option<&'a str> {
    let own = || sample.labels.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    profile.labels.get(name).or_else(own)
}
