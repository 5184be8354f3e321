//! Locations as the agent writes them: structs, behind a dictionary in v2 and plain in v1.

use std::ops::Range;

use profile::NONE;
use profile::dictionary::Line;

use crate::arrow::{Column, Lists, Numbers, Places, malformed, no_key};
use crate::error::IngestError;
use crate::shared::{Shared, Text};
use crate::tables::{Memo, relative, within};

/// What the structs of one message became. Each is read once, however many stacks name it, and so is each text of a dictionary.
#[derive(Default)]
pub(super) struct Frames<'c, 's> {
    /// What stacks and what locations have last been lists of.
    frames: Option<(*const Column<'s>, Places<'c, 's>)>,
    line_items: Option<(*const Column<'s>, Places<'c, 's>)>,
    locations: Vec<Locations<'c, 's>>,
    lines: Vec<Lines<'c, 's>>,
    functions: Vec<Functions<'c, 's>>,
    /// Of all memos: a column without buffers has rows for nothing.
    rows: usize,
}

/// The parts of a column of locations.
struct Locations<'c, 's> {
    of: *const Column<'s>,
    memo: Memo,
    address: Numbers<'c, 's>,
    /// start, limit, offset; v1 only
    ranges: Option<[Numbers<'c, 's>; 3]>,
    file: Texts<'c, 's>,
    build_id: Texts<'c, 's>,
    lines: Option<Lists<'c, 's>>,
    /// Where file and build ID of the mapping before lie, and that: neighbours share it.
    mapping: Option<((Place, Place), u32)>,
}

/// The parts of a column of lines.
struct Lines<'c, 's> {
    of: *const Column<'s>,
    line: Option<Numbers<'c, 's>>,
    column: Option<Numbers<'c, 's>>,
    function: LineFunction<'c, 's>,
}

enum LineFunction<'c, 's> {
    /// v2's: a struct behind a dictionary, so that a function is met once a message.
    Own(Places<'c, 's>),
    /// v1's: its fields are the line's.
    Flat(Box<Names<'c, 's>>),
}

struct Functions<'c, 's> {
    of: *const Column<'s>,
    memo: Memo,
    names: Names<'c, 's>,
}

/// What a function is called, in columns of its own or of lines.
struct Names<'c, 's> {
    name: Texts<'c, 's>,
    system_name: Texts<'c, 's>,
    file: Texts<'c, 's>,
    start_line: Option<Numbers<'c, 's>>,
}

/// Where a text lies; `None` for null, and where there is no column.
type Place = Option<(usize, usize)>;

/// A column of texts.
struct Texts<'c, 's> {
    column: Option<(&'c Column<'s>, Places<'c, 's>)>,
    /// The values of its dictionary, those that were asked for.
    known: Option<(*const Column<'s>, Vec<Option<Text<'s>>>)>,
}

impl<'c, 's> Texts<'c, 's> {
    fn new(column: Option<&'c Column<'s>>) -> Self {
        Self { column: column.map(|column| (column, Places::of(column))), known: None }
    }

    #[inline(always)]
    fn place(&self, row: usize) -> Result<Place, IngestError> {
        let Some((_, places)) = self.column else { return Ok(None) };
        Ok(places.at(row)?.map(|at| at.place()))
    }

    /// Empty for null, and where there is no column.
    #[inline]
    fn get(&mut self, tables: &mut Shared<'s>, rows: &mut usize, row: usize) -> Result<Text<'s>, IngestError> {
        let Some((column, places)) = self.column else { return Ok(tables.no_text()) };
        let Some(at) = places.at(row)? else { return Ok(tables.no_text()) };
        if std::ptr::eq(at.column, column) {
            return tables.text(at.text()?);
        }
        let known = match &mut self.known {
            Some((values, known)) if std::ptr::eq(*values, at.column) => known,
            known => {
                remember(rows, at.column.len(), tables)?;
                &mut known.insert((at.column, vec![None; at.column.len()])).1
            }
        };
        if let Some(Some(text)) = known.get(at.row) {
            return Ok(*text);
        }
        let text = tables.text(at.text()?)?;
        if let Some(known) = known.get_mut(at.row) {
            *known = Some(text);
        }
        Ok(text)
    }
}

/// The places of `column`, kept in `last` for when they are asked for again.
fn places<'c, 's>(last: &mut Option<(*const Column<'s>, Places<'c, 's>)>, column: &'c Column<'s>) -> Places<'c, 's> {
    match last {
        Some((known, places)) if std::ptr::eq(*known, column) => *places,
        last => last.insert((column, Places::of(column))).1,
    }
}

impl<'c, 's> Frames<'c, 's> {
    /// The locations at `range` of `items` into `out`, leaf first as they are sent.
    pub(super) fn stack(
        &mut self,
        tables: &mut Shared<'s>,
        items: &'c Column<'s>,
        range: Range<usize>,
        out: &mut Vec<u32>,
    ) -> Result<(), IngestError> {
        within("frames of one stack", range.len(), tables.limits.stack_depth)?;
        out.clear();
        let places = places(&mut self.frames, items);
        if let Places::Keys(keys, values) = places
            && let Some(keys) = keys.get(range.clone())
        {
            let held = self.locations_of(tables, values)?;
            for key in keys {
                let row = u32::from_le_bytes(*key) as usize;
                if row >= values.len() {
                    return Err(no_key(row as i32));
                }
                out.push(self.location(tables, held, row)?);
            }
            return Ok(());
        }
        for row in range {
            // a frame of which nothing is known is none
            let Some(at) = places.at(row)? else { continue };
            let held = self.locations_of(tables, at.column)?;
            out.push(self.location(tables, held, at.row)?);
        }
        Ok(())
    }

    fn locations_of(&mut self, tables: &mut Shared<'s>, column: &'c Column<'s>) -> Result<usize, IngestError> {
        if let Some(held) = self.locations.iter().position(|held| std::ptr::eq(held.of, column)) {
            return Ok(held);
        }
        remember(&mut self.rows, column.len(), tables)?;
        self.locations.push(Locations::of(column)?);
        Ok(self.locations.len() - 1)
    }

    #[inline(always)]
    fn location(&mut self, tables: &mut Shared<'s>, held: usize, row: usize) -> Result<u32, IngestError> {
        if let Some(location) = self.locations[held].memo.get(row) {
            return Ok(location);
        }
        let location = self.new_location(tables, held, row)?;
        self.locations[held].memo.set(row, location);
        Ok(location)
    }

    fn new_location(&mut self, tables: &mut Shared<'s>, held: usize, row: usize) -> Result<u32, IngestError> {
        let held = &mut self.locations[held];
        let range = match held.ranges {
            Some([start, limit, offset]) => [start.get(row)? as u64, limit.get(row)? as u64, offset.get(row)? as u64],
            None => [0; 3],
        };
        let names = (held.file.place(row)?, held.build_id.place(row)?);
        let mapping = match held.mapping {
            Some((of, mapping)) if of == names => mapping,
            _ => {
                let file = held.file.get(tables, &mut self.rows, row)?;
                let build_id = held.build_id.get(tables, &mut self.rows, row)?;
                let mapping = tables.mapping(file, build_id, range)?;
                held.mapping = Some((names, mapping));
                mapping
            }
        };
        let address = relative(held.address.get(row)? as u64, range);
        if let Some(lines) = held.lines
            && let Some((range, items)) = lines.get(row)?
        {
            within("lines of one location", range.len(), tables.limits.stack_depth)?;
            let places = places(&mut self.line_items, items);
            for row in range {
                if let Some(at) = places.at(row)? {
                    self.line(tables, at.column, at.row)?;
                }
            }
        }
        tables.location(mapping, address)
    }

    #[inline]
    fn line(&mut self, tables: &mut Shared<'s>, of: &'c Column<'s>, row: usize) -> Result<(), IngestError> {
        let known = self.lines.iter().position(|held| std::ptr::eq(held.of, of));
        let held = known.unwrap_or_else(|| {
            self.lines.push(Lines::of(of));
            self.lines.len() - 1
        });
        let held = &mut self.lines[held];
        let number = |column: Option<Numbers<'_, '_>>| column.map_or(Ok(0), |column| column.get(row));
        let (line, column) = (number(held.line)?, number(held.column)?);
        let function = match &mut held.function {
            LineFunction::Own(functions) => match functions.at(row)? {
                Some(at) => self.function(tables, at.column, at.row)?,
                None => NONE,
            },
            LineFunction::Flat(names) => names.function(tables, &mut self.rows, row)?,
        };
        tables.line(Line { function, line, column })
    }

    #[inline]
    fn function(&mut self, tables: &mut Shared<'s>, column: &'c Column<'s>, row: usize) -> Result<u32, IngestError> {
        let known = self.functions.iter().position(|held| std::ptr::eq(held.of, column));
        let held = match known {
            Some(held) => held,
            None => {
                remember(&mut self.rows, column.len(), tables)?;
                let names = Names::of(column, ["name", "system_name", "filename", "start_line"]);
                self.functions.push(Functions { of: column, memo: Memo::new(column.len()), names });
                self.functions.len() - 1
            }
        };
        let held = &mut self.functions[held];
        if let Some(function) = held.memo.get(row) {
            return Ok(function);
        }
        let function = held.names.function(tables, &mut self.rows, row)?;
        held.memo.set(row, function);
        Ok(function)
    }
}

/// Counts the rows of a memo that is to be made.
fn remember(rows: &mut usize, more: usize, tables: &Shared<'_>) -> Result<(), IngestError> {
    *rows += more;
    within("rows of locations, functions and names", *rows, tables.limits.frames)
}

impl<'c, 's> Names<'c, 's> {
    fn of(column: &'c Column<'s>, [name, system_name, file, start_line]: [&str; 4]) -> Self {
        let texts = |name| Texts::new(column.field(name));
        Self {
            name: texts(name),
            system_name: texts(system_name),
            file: texts(file),
            start_line: column.field(start_line).map(Numbers::of),
        }
    }

    #[inline]
    fn function(&mut self, tables: &mut Shared<'s>, rows: &mut usize, row: usize) -> Result<u32, IngestError> {
        let file = self.file.get(tables, rows, row)?;
        let start_line = self.start_line.map_or(Ok(0), |column| column.get(row))?;
        let system_name = self.system_name.get(tables, rows, row)?;
        let name = self.name.get(tables, rows, row)?;
        tables.function([name, system_name, file], start_line)
    }
}

impl<'c, 's> Lines<'c, 's> {
    fn of(of: &'c Column<'s>) -> Self {
        let function = match of.field("function") {
            Some(functions) => LineFunction::Own(Places::of(functions)),
            None => LineFunction::Flat(Box::new(Names::of(
                of,
                ["function_name", "function_system_name", "function_filename", "function_start_line"],
            ))),
        };
        Self { of, line: of.field("line").map(Numbers::of), column: of.field("column").map(Numbers::of), function }
    }
}

impl<'c, 's> Locations<'c, 's> {
    fn of(column: &'c Column<'s>) -> Result<Self, IngestError> {
        let address = column.field("address").ok_or_else(|| malformed("validate record: locations have no address"))?;
        let ranges = match ["mapping_start", "mapping_limit", "mapping_offset"].map(|name| column.field(name)) {
            [Some(start), Some(limit), Some(offset)] => Some([start, limit, offset].map(Numbers::of)),
            _ => None,
        };
        Ok(Self {
            of: column,
            memo: Memo::new(column.len()),
            address: Numbers::of(address),
            ranges,
            file: Texts::new(column.field("mapping_file")),
            build_id: Texts::new(column.field("mapping_build_id")),
            lines: column.field("lines").map(Lists::of),
            mapping: None,
        })
    }
}
