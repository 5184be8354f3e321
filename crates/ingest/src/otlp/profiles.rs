//! Samples: what they point to is made once, at first sight, and they themselves are four numbers.

use std::collections::HashSet;
use std::ops::Range;

use profile::dictionary::Line;
use profile::{Batch, Labels, NONE, Profiles, Samples, Stream, ValueType};

use super::attributes::{is_label, label_name, trimmed};
use super::dictionary::{Dictionary, Scalar};
use super::layout::SampleFields;
use super::wire::{Fields, Value, bytes_tag, fixed64s, index, number_tag, varints};
use super::{EARLIEST, malformed};
use crate::error::{IngestError, IngestErrorKind};
use crate::shared::{NO_TEXT, Shared};
use crate::tables::{Map, Memo, SampleLabel, Tables, relative, within};

/// Attributes that name a binary, the best first (semantic conventions, `process.executable.build_id.*`).
const BUILD_IDS: [&[u8]; 3] =
    [b"process.executable.build_id.gnu", b"process.executable.build_id.go", b"process.executable.build_id.htlhash"];

/// Times and values of one sample. A profiler sends one or a few; some gather all of a profile's time of a stack.
const VALUES_MAX: usize = 1 << 20;

const DEFECT: &str = "invalid request: invalid profile";

fn refused(what: impl std::fmt::Display) -> IngestError {
    malformed(format!("{DEFECT}: {what}"))
}

/// A dictionary and what its entries have become: texts, functions and locations are read from the first to the last, so that
/// their numbers follow each other; an entry that is not sound is an error when something points to it.
pub(super) struct Source<'s> {
    pub(super) dictionary: Dictionary<'s>,
    /// The numbers that the first entries have.
    first_text: u32,
    first_function: u32,
    first_location: u32,
    unsound_functions: HashSet<usize>,
    unsound_locations: HashSet<usize>,
    /// Each with its range.
    mappings: Vec<Option<(u32, [u64; 3])>>,
    /// Of stacks by their entry.
    stacks: Memo,
    /// Of stacks by their run of the profile's locations, where there is no table of stacks.
    runs: Map<Range<usize>, u32>,
    /// Label sets by their attributes as they are on the wire, followed by the link.
    sets: Map<Vec<u8>, u32>,
    /// What `sets` have all in common.
    numbers: Vec<SampleLabel>,
    /// Names of labels.
    names: Map<String, u32>,
    scratch: Vec<u64>,
    /// Of one location and of one stack, to be made.
    lines: Vec<Line>,
    frames: Vec<u32>,
}

impl<'s> Source<'s> {
    pub(super) fn new(dictionary: Dictionary<'s>, tables: &mut Shared<'s>) -> Result<Self, IngestError> {
        let mut source = Self {
            first_text: tables.begin_texts(dictionary.strings.len())?,
            first_function: tables.begin_functions(dictionary.functions.len())?,
            first_location: tables.begin_locations(dictionary.locations.len())?,
            unsound_functions: HashSet::new(),
            unsound_locations: HashSet::new(),
            mappings: vec![None; dictionary.mappings.len()],
            stacks: Memo::new(dictionary.stacks.len()),
            runs: Map::default(),
            sets: Map::default(),
            numbers: Vec::new(),
            names: Map::default(),
            scratch: Vec::new(),
            lines: Vec::new(),
            frames: Vec::new(),
            dictionary,
        };
        for text in &source.dictionary.strings {
            tables.text(text)?;
        }
        for ix in 0..source.dictionary.functions.len() {
            let (texts, start_line) = match source.read_function(source.dictionary.functions[ix]) {
                Ok(function) => function,
                Err(error) if error.kind == IngestErrorKind::InvalidArgument => {
                    source.unsound_functions.insert(ix);
                    ([NO_TEXT; 3], 0)
                }
                Err(error) => return Err(error),
            };
            tables.function(texts, start_line)?;
        }
        for ix in 0..source.dictionary.locations.len() {
            let (mapping, address) = match source.read_location(tables, source.dictionary.locations[ix]) {
                Ok(location) => location,
                Err(error) if error.kind == IngestErrorKind::InvalidArgument => {
                    source.unsound_locations.insert(ix);
                    source.lines.clear();
                    (NONE, 0)
                }
                Err(error) => return Err(error),
            };
            for &line in &source.lines {
                tables.line(line)?;
            }
            tables.location(mapping, address)?;
        }
        Ok(source)
    }

    /// The number of the text of entry `ix`.
    #[inline(always)]
    fn text(&self, ix: usize, what: &str) -> Result<u32, IngestError> {
        if ix < self.dictionary.strings.len() {
            return Ok(self.first_text + ix as u32);
        }
        self.dictionary.string(ix, what).map(|_| NO_TEXT)
    }

    fn mapping(&mut self, tables: &mut Shared<'s>, ix: usize) -> Result<(u32, [u64; 3]), IngestError> {
        let outside =
            || malformed(format!("invalid request: invalid dictionary: location mapping index {ix} out of bounds"));
        if let Some(&Some(known)) = self.mappings.get(ix) {
            return Ok(known);
        }
        let message = *self.dictionary.mappings.get(ix).ok_or_else(outside)?;
        let (mut range, mut file) = ([0; 3], 0);
        let mut attributes = Vec::new();
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1..=3 => range[field as usize - 1] = value.number(),
                4 => file = value.index(),
                5 => varints(value, super::ATTRIBUTES_MAX, &mut attributes)?,
                _ => {}
            }
        }
        let mut build_id: Option<(usize, &[u8])> = None;
        for ix in attributes {
            let attribute = self.dictionary.attribute(index(ix), "mapping attribute")?;
            let Some((key, Scalar::Text(text))) = attribute.map(|attribute| (attribute.key, attribute.value)) else {
                continue;
            };
            if let Some(rank) = BUILD_IDS.iter().position(|known| *known == key)
                && build_id.is_none_or(|(best, _)| rank < best)
            {
                build_id = Some((rank, text));
            }
        }
        let file = self.text(file, "mapping filename")?;
        let build_id = match build_id {
            Some((_, text)) => tables.text(text)?,
            None => NO_TEXT,
        };
        let mapping = tables.mapping(file, build_id, range)?;
        self.mappings[ix] = Some((mapping, range));
        Ok((mapping, range))
    }

    /// Its texts and the line that it starts at.
    fn read_function(&self, message: &[u8]) -> Result<([u32; 3], i64), IngestError> {
        let mut fields = Fields::of(message);
        let mut next = |field| Ok::<_, IngestError>(fields.number_of(number_tag(field))?.unwrap_or(0));
        let (mut texts, mut start_line) = ([next(1)?, next(2)?, next(3)?].map(index), next(4)? as i64);
        while let Some((field, value)) = fields.next()? {
            match field {
                1..=3 => texts[field as usize - 1] = value.index(),
                4 => start_line = value.number() as i64,
                _ => {}
            }
        }
        let [name, system_name, file] = texts;
        let system_name = self.text(system_name, "function system name")?;
        let file = self.text(file, "function filename")?;
        Ok(([self.text(name, "function name")?, system_name, file], start_line))
    }

    #[inline(always)]
    fn function(&self, ix: usize, line: usize) -> Result<u32, IngestError> {
        if ix == 0 && self.dictionary.layout.has_stack_table() {
            return Ok(NONE);
        }
        if ix < self.dictionary.functions.len()
            && (self.unsound_functions.is_empty() || !self.unsound_functions.contains(&ix))
        {
            return Ok(self.first_function + ix as u32);
        }
        Err(self.unsound_function(ix, line))
    }

    #[cold]
    fn unsound_function(&self, ix: usize, line: usize) -> IngestError {
        let defect = "invalid request: invalid dictionary: location line function id";
        let outside = || malformed(format!("{defect} {} out of bounds at line {line}", ix as i32));
        let read = self.dictionary.functions.get(ix).map(|message| self.read_function(message));
        read.and_then(Result::err).unwrap_or_else(outside)
    }

    /// Its mapping and address; its lines are left in `lines`.
    #[inline]
    fn read_location(&mut self, tables: &mut Shared<'s>, message: &[u8]) -> Result<(u32, u64), IngestError> {
        self.lines.clear();
        let mut fields = Fields::of(message);
        let mut mapping = fields.number_of(number_tag(1))?.map(index);
        let mut address = fields.number_of(number_tag(2))?.unwrap_or(0);
        while let Some(line) = fields.bytes_of(bytes_tag(3))? {
            self.read_line(line, tables.limits.stack_depth)?;
        }
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, value) => mapping = Some(value.index()),
                (2, value) => address = value.number(),
                (3, Value::Bytes(line)) => self.read_line(line, tables.limits.stack_depth)?,
                _ => {}
            }
        }
        if self.dictionary.layout.has_stack_table() {
            mapping = mapping.filter(|&ix| ix != 0);
        }
        let (mapping, range) = match mapping {
            Some(ix) => self.mapping(tables, ix)?,
            None => (NONE, [0; 3]),
        };
        Ok((mapping, relative(address, range)))
    }

    #[inline(always)]
    fn read_line(&mut self, message: &[u8], lines_max: usize) -> Result<(), IngestError> {
        within("lines of one location", self.lines.len() + 1, lines_max)?;
        let mut fields = Fields::of(message);
        let mut next = |field| Ok::<_, IngestError>(fields.number_of(number_tag(field))?.unwrap_or(0));
        let mut parts = [next(1)?, next(2)?, next(3)?];
        while let Some((field, value)) = fields.next()? {
            if let 1..=3 = field {
                parts[field as usize - 1] = value.number();
            }
        }
        let function = self.function(index(parts[0]), self.lines.len())?;
        self.lines.push(Line { function, line: parts[1] as i64, column: parts[2] as i64 });
        Ok(())
    }

    #[inline(always)]
    fn location(&mut self, tables: &mut Shared<'s>, ix: usize, position: usize) -> Result<u32, IngestError> {
        if ix < self.dictionary.locations.len()
            && (self.unsound_locations.is_empty() || !self.unsound_locations.contains(&ix))
        {
            return Ok(self.first_location + ix as u32);
        }
        Err(self.unsound_location(tables, ix, position))
    }

    #[cold]
    fn unsound_location(&mut self, tables: &mut Shared<'s>, ix: usize, position: usize) -> IngestError {
        let defect = "invalid request: invalid dictionary: stack location index";
        let outside = || malformed(format!("{defect} {} out of bounds at position {position}", ix as i32));
        let message = self.dictionary.locations.get(ix).copied();
        let read = message.map(|message| self.read_location(tables, message));
        read.and_then(Result::err).unwrap_or_else(outside)
    }

    fn stack_of(&mut self, tables: &mut Shared<'s>, indices: &[u64]) -> Result<u32, IngestError> {
        within("frames of one stack", indices.len(), tables.limits.stack_depth)?;
        let mut locations = std::mem::take(&mut self.frames);
        locations.clear();
        for (position, &ix) in indices.iter().enumerate() {
            locations.push(self.location(tables, index(ix), position)?);
        }
        let stack = tables.stack(&locations)?;
        self.frames = locations;
        Ok(stack)
    }

    /// The stack of the table's entry `ix`.
    fn stack(&mut self, tables: &mut Shared<'s>, ix: usize) -> Result<u32, IngestError> {
        if let Some(stack) = self.stacks.get(ix) {
            return Ok(stack);
        }
        let outside = || refused(format!("sample stack index {} out of bounds", ix as i32));
        let message = *self.dictionary.stacks.get(ix).ok_or_else(outside)?;
        let mut indices = std::mem::take(&mut self.scratch);
        indices.clear();
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            if field == 1 {
                varints(value, tables.limits.stack_depth, &mut indices)?;
            }
        }
        let stack = self.stack_of(tables, &indices)?;
        self.scratch = indices;
        self.stacks.set(ix, stack);
        Ok(stack)
    }

    /// The stack of a run of the profile's `locations`.
    fn run(&mut self, tables: &mut Shared<'s>, run: [usize; 2], locations: &[u64]) -> Result<u32, IngestError> {
        let [start, len] = run;
        let range = start..start.saturating_add(len);
        if let Some(&stack) = self.runs.get(&range) {
            return Ok(stack);
        }
        let outside = || refused(format!("sample locations {start} to {} out of bounds", range.end));
        let stack = self.stack_of(tables, locations.get(range.clone()).ok_or_else(outside)?)?;
        self.runs.insert(range, stack);
        Ok(stack)
    }

    fn name(&mut self, tables: &mut Shared<'s>, name: &str) -> Result<u32, IngestError> {
        if let Some(&ix) = self.names.get(name) {
            return Ok(ix);
        }
        let ix = tables.own.new_string(name.as_bytes())?;
        self.names.insert(name.to_owned(), ix);
        Ok(ix)
    }

    /// From here on every label set has these numbers too.
    fn set_numbers(&mut self, tables: &mut Shared<'s>, numbers: &[(String, i64, String)]) -> Result<(), IngestError> {
        let mut rows = Vec::with_capacity(numbers.len());
        for (name, number, unit) in numbers {
            rows.push((self.name(tables, name)?, 0, *number, self.name(tables, unit)?));
        }
        if rows != self.numbers {
            self.sets.clear();
            self.numbers = rows;
        }
        Ok(())
    }

    /// `packed`: indices of attributes; `link`: of a link.
    fn label_set(
        &mut self,
        tables: &mut Shared<'s>,
        key: &mut Vec<u8>,
        link: Option<usize>,
    ) -> Result<u32, IngestError> {
        if key.is_empty() && link.is_none() && self.numbers.is_empty() {
            return Ok(0);
        }
        let packed = key.len();
        key.extend_from_slice(&(link.map_or(u64::MAX, |link| link as u64)).to_le_bytes());
        if let Some(&set) = self.sets.get(key.as_slice()) {
            return Ok(set);
        }
        let mut rows = self.numbers.clone();
        let mut indices = std::mem::take(&mut self.scratch);
        indices.clear();
        varints(Value::Bytes(&key[..packed]), tables.limits.sample_labels, &mut indices)?;
        for &ix in &indices {
            let Some(attribute) = self.dictionary.attribute(index(ix), "sample attribute")? else {
                continue;
            };
            let name = label_name(attribute.key);
            if !is_label(&name) {
                continue;
            }
            let row = match attribute.value {
                Scalar::Text(text) => match trimmed(text) {
                    [] => continue,
                    text => (self.name(tables, &name)?, tables.own.string(text)?, 0, 0),
                },
                Scalar::Int(number) => (self.name(tables, &name)?, 0, number, tables.own.string(attribute.unit)?),
                Scalar::Other | Scalar::Missing => continue,
            };
            // the sample knows better than its profile; of the same key twice the first stands
            match rows.iter_mut().find(|known| known.0 == row.0) {
                Some(known) if self.numbers.contains(known) => *known = row,
                Some(_) => {}
                None => rows.push(row),
            }
        }
        self.scratch = indices;
        if let Some(link) = link.filter(|&link| link != 0 || !self.dictionary.layout.has_stack_table()) {
            let outside = || refused(format!("sample link index {} out of bounds", link as i32));
            let link = *self.dictionary.links.get(link).ok_or_else(outside)?;
            for (name, id) in [("trace_id", link.trace), ("span_id", link.span)] {
                if id.iter().any(|&byte| byte != 0) {
                    let text: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
                    let name = self.name(tables, name)?;
                    rows.retain(|row| row.0 != name);
                    rows.push((name, tables.own.new_string(text.as_bytes())?, 0, 0));
                }
            }
        }
        rows.sort_unstable();
        let set = tables.own.label_set(&rows)?;
        within("label sets", self.sets.len() + 1, tables.limits.samples)?;
        self.sets.insert(key.clone(), set);
        Ok(set)
    }
}

/// What all samples of a profile have in common.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) labels: Labels,
    pub(super) numbers: Vec<(String, i64, String)>,
}

/// A profile's own fields.
#[derive(Default)]
struct Header {
    /// Pairs of indices of strings.
    sample_types: Vec<[usize; 2]>,
    period_type: Option<[usize; 2]>,
    period: i64,
    time: u64,
    duration: i64,
    samples: usize,
    /// What samples' stacks are runs of, in old versions.
    locations: Vec<u64>,
}

impl Header {
    fn read(source: &Source<'_>, profile: &[u8], limits: &profile::pprof::Limits) -> Result<Self, IngestError> {
        let numbers = source.dictionary.layout.profile();
        let mut header = Self::default();
        let mut fields = Fields::of(profile);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes(kind)) => {
                    within("sample types", header.sample_types.len() + 1, limits.sample_types)?;
                    header.sample_types.push(value_type(kind)?);
                }
                (2, Value::Bytes(_)) => header.samples += 1,
                (field, Value::Bytes(kind)) if field == numbers.period_type => {
                    header.period_type = Some(value_type(kind)?)
                }
                (field, value) if field == numbers.time => header.time = value.number(),
                (field, value) if field == numbers.duration => header.duration = value.number() as i64,
                (field, value) if field == numbers.period => header.period = value.number() as i64,
                (field, Value::Bytes(id)) if field == numbers.id => profile_id(id)?,
                (field, value) if Some(field) == numbers.location_indices => {
                    varints(value, limits.frames, &mut header.locations)?;
                }
                _ => {}
            }
        }
        if !source.dictionary.layout.has_stack_table() || header.sample_types.len() < 2 {
            return Ok(header);
        }
        // one message written in two parts: the later fields count
        let last = header.sample_types.pop();
        header.sample_types = last.into_iter().collect();
        Ok(header)
    }

    fn check(&self) -> Result<(), IngestError> {
        if self.samples == 0 {
            Err(refused("sample is empty"))
        } else if self.sample_types.is_empty() {
            Err(refused("sample type is nil"))
        } else if self.period_type.is_none() {
            Err(refused("period type is nil"))
        } else if self.period < 0 {
            Err(refused(format!("period {} must be non-negative", self.period)))
        } else if self.duration < 0 {
            Err(refused(format!("duration {} must be non-negative", self.duration)))
        } else {
            Ok(())
        }
    }
}

fn value_type(message: &[u8]) -> Result<[usize; 2], IngestError> {
    let mut pair = [0; 2];
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        if let 1 | 2 = field {
            pair[field as usize - 1] = value.index();
        }
    }
    Ok(pair)
}

fn profile_id(id: &[u8]) -> Result<(), IngestError> {
    match id.len() {
        0 => Ok(()),
        16 if id.iter().all(|&byte| byte == 0) => Err(refused("profile ID must not be all zeros")),
        16 => Ok(()),
        len => Err(refused(format!("profile ID must be 16 bytes long, got {len} bytes"))),
    }
}

/// One sample, taken apart; reused from one to the next.
#[derive(Default)]
struct Sample {
    /// The stack's entry, or start and length of its run.
    stack: [usize; 2],
    values: Vec<u64>,
    /// Packed indices.
    attributes: Vec<u8>,
    link: Option<usize>,
    times: Vec<u64>,
}

impl Sample {
    fn read(&mut self, message: &[u8], numbers: &SampleFields, runs: bool) -> Result<(), IngestError> {
        self.stack = [0; 2];
        self.values.clear();
        self.attributes.clear();
        self.link = None;
        self.times.clear();
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            if field == 1 {
                self.stack[0] = value.index();
            } else if field == 2 && runs {
                self.stack[1] = value.index();
            } else if field == numbers.values {
                varints(value, VALUES_MAX, &mut self.values)?;
            } else if field == numbers.attributes {
                match value {
                    Value::Bytes(packed) => self.attributes.extend_from_slice(packed),
                    one => push_varint(one.number(), &mut self.attributes),
                }
            } else if field == numbers.link {
                self.link = Some(value.index());
            } else if field == numbers.timestamps {
                if runs {
                    varints(value, VALUES_MAX, &mut self.times)?
                } else {
                    fixed64s(value, VALUES_MAX, &mut self.times)?
                }
            }
        }
        Ok(())
    }
}

fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// All samples of a request.
#[derive(Default)]
pub(super) struct Rows {
    samples: Samples,
    profiles: Profiles,
    streams: Vec<Stream>,
    stream_ids: Map<Stream, u32>,
    /// Whether any sample has a time of its own.
    stamped: bool,
    sample: Sample,
}

/// Stands for "the profile's time" until that is known.
const UNSTAMPED: i64 = i64::MIN;

impl Rows {
    /// Adds a profile of one sample type, or one for each of its sample types; all of it or nothing.
    pub(super) fn profile<'s>(
        &mut self,
        source: &mut Source<'s>,
        tables: &mut Shared<'s>,
        message: &'s [u8],
        series: Series,
        receive_time: i64,
    ) -> Result<(), IngestError> {
        let header = Header::read(source, message, tables.limits)?;
        header.check()?;
        source.set_numbers(tables, &series.numbers)?;
        source.runs.clear();
        let (samples, profiles) = (self.samples.stack.len(), self.profiles.len());
        let Series { name, labels, .. } = series;
        let pair = |[kind, unit]: [usize; 2], of: &str| {
            let text = |ix, what| {
                let text = source.dictionary.strings.get(ix).copied().or((ix == 0).then_some(&[][..]));
                text.ok_or_else(|| refused(format!("{of} {what} index {} out of bounds", ix as i32)))
            };
            let (kind, unit) = (text(kind, "type")?, text(unit, "unit")?);
            Ok::<_, IngestError>(ValueType::new(String::from_utf8_lossy(kind), String::from_utf8_lossy(unit)))
        };
        let period_type = pair(header.period_type.unwrap_or_default(), "period")?;
        let types = header.sample_types.iter().map(|&kind| pair(kind, "sample")).collect::<Result<Vec<_>, _>>()?;
        let count = types.len();
        for (value, kind) in types.into_iter().enumerate() {
            let stream = Stream {
                tenant: String::new(),
                name: name.clone(),
                labels: labels.clone(),
                period_type: period_type.clone(),
                delta: header.duration != 0,
                sample_types: vec![kind],
            };
            if let Err(error) = self.values(source, tables, message, &header, [value, count], stream, receive_time) {
                self.truncate(samples, profiles);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The profile of value `value` of `count` that each sample has.
    #[expect(clippy::too_many_arguments, reason = "one loop's surroundings")]
    fn values<'s>(
        &mut self,
        source: &mut Source<'s>,
        tables: &mut Shared<'s>,
        message: &'s [u8],
        header: &Header,
        [value, count]: [usize; 2],
        stream: Stream,
        receive_time: i64,
    ) -> Result<(), IngestError> {
        let layout = source.dictionary.layout;
        let (numbers, runs) = (layout.sample(), !layout.has_stack_table());
        let begin = self.samples.stack.len();
        let time = sensible(header.time);
        let mut sample = std::mem::take(&mut self.sample);
        let mut fields = Fields::of(message);
        while let Some((field, part)) = fields.next()? {
            let (2, Value::Bytes(part)) = (field, part) else { continue };
            sample.read(part, &numbers, runs)?;
            let rows = sample.times.len().max(1);
            within("samples", self.samples.stack.len() + rows, tables.limits.samples)?;
            let stack = match runs {
                false => source.stack(tables, sample.stack[0])?,
                true => source.run(tables, sample.stack, &header.locations)?,
            };
            let set = source.label_set(tables, &mut sample.attributes, sample.link)?;
            if !runs {
                self.stamped_values(&sample, header, time)?;
            } else {
                let Some(&total) = sample.values.get(value).filter(|_| sample.values.len() == count) else {
                    let has = sample.values.len();
                    return Err(refused(format!("sample has {has} values for {count} sample types")));
                };
                spread(total as i64, rows, &mut self.samples.values);
            }
            for row in 0..rows {
                self.samples.stack.push(stack);
                self.samples.label_set.push(set);
                let own = sample.times.get(row).and_then(|&time| sensible(time));
                self.stamped |= own.is_some();
                self.samples.time.push(own.unwrap_or(UNSTAMPED));
            }
        }
        self.sample = sample;
        let times = &mut self.samples.time[begin..];
        let earliest = times.iter().copied().filter(|&time| time != UNSTAMPED).min();
        let time = time.or(earliest).unwrap_or(receive_time);
        times.iter_mut().filter(|own| **own == UNSTAMPED).for_each(|own| *own = time);
        let range = (times.iter().copied().min().unwrap_or(time), times.iter().copied().max().unwrap_or(time));
        let id = *self.stream_ids.entry(stream).or_insert_with_key(|stream| {
            self.streams.push(stream.clone());
            self.streams.len() as u32 - 1
        });
        let profiles = &mut self.profiles;
        profiles.stream.push(id);
        profiles.time.push(range.0);
        profiles.time_max.push(range.1);
        profiles.duration.push(header.duration);
        profiles.period.push(header.period);
        profiles.sample_end.push(self.samples.stack.len() as u32);
        profiles.mapping_end.push(0);
        Ok(())
    }

    /// Values of a sample whose profile has one type: one a time, or one, or 1 a time.
    fn stamped_values(&mut self, sample: &Sample, header: &Header, time: Option<i64>) -> Result<(), IngestError> {
        let Sample { values, times, .. } = sample;
        match (values.len(), times.len()) {
            (0, 0) => return Err(refused("sample value and timestamps cannot both be empty")),
            (1, 0) => {}
            (values, 0) => return Err(refused(format!("sample has {values} values and no timestamps"))),
            (0, _) => {}
            (values, times) if values == times => {}
            (values, times) => {
                let what = format!("sample value length {values} does not match sample timestamps length {times}");
                return Err(refused(what));
            }
        }
        // of a profile that does not know its time nothing can be out of bounds
        if let Some(start) = time.filter(|_| header.duration > 0) {
            let end = start.saturating_add(header.duration);
            let outside = times.iter().find(|&&time| i64::try_from(time).is_ok_and(|time| time < start || time > end));
            if let Some(outside) = outside {
                let what = format!("sample timestamp {outside} out of bounds, must be between {start} and {end}");
                return Err(refused(what));
            }
        }
        match values.as_slice() {
            [] => self.samples.values.extend(std::iter::repeat_n(1, times.len())),
            values => self.samples.values.extend(values.iter().map(|&value| value as i64)),
        }
        Ok(())
    }

    fn truncate(&mut self, samples: usize, profiles: usize) {
        self.samples.stack.truncate(samples);
        self.samples.label_set.truncate(samples);
        self.samples.values.truncate(samples);
        self.samples.time.truncate(samples);
        let of = &mut self.profiles;
        for column in [&mut of.time, &mut of.time_max, &mut of.duration, &mut of.period] {
            column.truncate(profiles);
        }
        for column in [&mut of.stream, &mut of.sample_end, &mut of.mapping_end] {
            column.truncate(profiles);
        }
    }

    pub(super) fn into_batch(self, tables: Tables<'_>) -> Batch {
        let Self { mut samples, profiles, streams, stamped, .. } = self;
        if samples.label_set.iter().all(|&set| set == 0) {
            samples.label_set.clear();
        }
        if !stamped {
            samples.time.clear();
        }
        Batch { samples, profiles, streams, ..tables.into_batch() }
    }
}

/// A time in ns since the epoch, unless its clock was not set.
fn sensible(time: u64) -> Option<i64> {
    i64::try_from(time).ok().filter(|_| time >= EARLIEST)
}

/// `total` in `rows` parts that differ by at most 1.
fn spread(total: i64, rows: usize, out: &mut Vec<i64>) {
    let (each, more) = (total / rows as i64, (total % rows as i64).unsigned_abs() as usize);
    out.extend((0..rows).map(|row| each + if row < more { total.signum() } else { 0 }));
}
