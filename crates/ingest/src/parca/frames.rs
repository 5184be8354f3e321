//! Locations as the agent writes them: structs, behind a dictionary in v2 and plain in v1.

use std::borrow::Cow;
use std::ops::Range;

use profile::NONE;

use crate::arrow::{Column, malformed};
use crate::demangle::demangled;
use crate::error::IngestError;
use crate::tables::{Memo, Tables, relative, within};

/// What the structs of one message became. Each is read once, however many stacks name it, and so is each text of a dictionary.
#[derive(Default)]
pub(super) struct Frames<'c, 's> {
    locations: Vec<Locations<'c, 's>>,
    lines: Vec<Lines<'c, 's>>,
    functions: Vec<Functions<'c, 's>>,
    /// Of all memos: a column without buffers has rows for nothing.
    rows: usize,
}

/// The parts of a column of locations.
struct Locations<'c, 's> {
    column: *const Column<'s>,
    memo: Memo,
    address: &'c Column<'s>,
    /// start, limit, offset; v1 only
    ranges: Option<[&'c Column<'s>; 3]>,
    file: Texts<'c, 's>,
    build_id: Texts<'c, 's>,
    lines: Option<&'c Column<'s>>,
    /// File and build ID of the mapping before, and that: neighbours share it.
    mapping: ((u32, u32), u32),
}

/// The parts of a column of lines.
struct Lines<'c, 's> {
    of: *const Column<'s>,
    line: Option<&'c Column<'s>>,
    column: Option<&'c Column<'s>>,
    function: LineFunction<'c, 's>,
}

enum LineFunction<'c, 's> {
    /// v2's: a struct behind a dictionary, so that a function is met once a message.
    Own(&'c Column<'s>),
    /// v1's: its fields are the line's.
    Flat(Names<'c, 's>),
}

struct Functions<'c, 's> {
    column: *const Column<'s>,
    memo: Memo,
    names: Names<'c, 's>,
}

/// What a function is called, in columns of its own or of lines.
struct Names<'c, 's> {
    name: Texts<'c, 's>,
    system_name: Texts<'c, 's>,
    file: Texts<'c, 's>,
    start_line: Option<&'c Column<'s>>,
}

/// A column of texts, to rows of the batch's strings.
struct Texts<'c, 's> {
    column: Option<&'c Column<'s>>,
    /// The values of its dictionary, and what became of them.
    known: Option<(*const Column<'s>, Memo)>,
}

impl<'c, 's> Texts<'c, 's> {
    fn new(column: Option<&'c Column<'s>>) -> Self {
        Self { column, known: None }
    }

    /// 0 for null, and where there is no column.
    fn get(&mut self, tables: &mut Tables<'s>, rows: &mut usize, row: usize) -> Result<u32, IngestError> {
        let Some(column) = self.column else { return Ok(0) };
        let Some(at) = column.at(row)? else { return Ok(0) };
        if std::ptr::eq(at.column, column) {
            return tables.string(at.text()?);
        }
        let memo = match &mut self.known {
            Some((values, memo)) if std::ptr::eq(*values, at.column) => memo,
            known => {
                remember(rows, at.column.len(), tables)?;
                &mut known.insert((at.column, Memo::new(at.column.len()))).1
            }
        };
        if let Some(text) = memo.get(at.row) {
            return Ok(text);
        }
        let text = tables.string(at.text()?)?;
        memo.set(at.row, text);
        Ok(text)
    }
}

impl<'c, 's> Frames<'c, 's> {
    /// The locations at `range` of `items` into `out`, leaf first as they are sent.
    pub(super) fn stack(
        &mut self,
        tables: &mut Tables<'s>,
        items: &'c Column<'s>,
        range: Range<usize>,
        out: &mut Vec<u32>,
    ) -> Result<(), IngestError> {
        within("frames of one stack", range.len(), tables.limits.stack_depth)?;
        out.clear();
        for row in range {
            // a frame of which nothing is known is none
            let Some(at) = items.at(row)? else { continue };
            let known = self.locations.iter().position(|held| std::ptr::eq(held.column, at.column));
            let held = match known {
                Some(held) => held,
                None => {
                    remember(&mut self.rows, at.column.len(), tables)?;
                    self.locations.push(Locations::of(at.column)?);
                    self.locations.len() - 1
                }
            };
            let location = match self.locations[held].memo.get(at.row) {
                Some(location) => location,
                None => {
                    let location = self.location(tables, held, at.row)?;
                    self.locations[held].memo.set(at.row, location);
                    location
                }
            };
            out.push(location);
        }
        Ok(())
    }

    fn location(&mut self, tables: &mut Tables<'s>, held: usize, row: usize) -> Result<u32, IngestError> {
        let held = &mut self.locations[held];
        let names = (held.file.get(tables, &mut self.rows, row)?, held.build_id.get(tables, &mut self.rows, row)?);
        let range = match held.ranges {
            Some([start, limit, offset]) => {
                [start.number(row)? as u64, limit.number(row)? as u64, offset.number(row)? as u64]
            }
            None => [0; 3],
        };
        if held.mapping.0 != names {
            let mapping = if names == (0, 0) { NONE } else { tables.mapping(names.0, names.1, range)? };
            held.mapping = (names, mapping);
        }
        let mapping = held.mapping.1;
        let address = relative(held.address.number(row)? as u64, range);
        if let Some(at) = held.lines.map(|lines| lines.at(row)).transpose()?.flatten() {
            let (range, items) = at.list()?;
            within("lines of one location", range.len(), tables.limits.stack_depth)?;
            for row in range {
                if let Some(at) = items.at(row)? {
                    self.line(tables, at.column, at.row)?;
                }
            }
        }
        tables.location(mapping, address)
    }

    fn line(&mut self, tables: &mut Tables<'s>, of: &'c Column<'s>, row: usize) -> Result<(), IngestError> {
        let known = self.lines.iter().position(|held| std::ptr::eq(held.of, of));
        let held = known.unwrap_or_else(|| {
            self.lines.push(Lines::of(of));
            self.lines.len() - 1
        });
        let held = &mut self.lines[held];
        let number = |column: Option<&Column<'_>>| column.map_or(Ok(0), |column| column.number(row));
        let (line, column) = (number(held.line)?, number(held.column)?);
        let function = match &mut held.function {
            LineFunction::Own(functions) => match functions.at(row)? {
                Some(at) => self.function(tables, at.column, at.row)?,
                None => NONE,
            },
            LineFunction::Flat(names) => names.function(tables, &mut self.rows, row)?,
        };
        tables.line(function, line, column)
    }

    fn function(&mut self, tables: &mut Tables<'s>, column: &'c Column<'s>, row: usize) -> Result<u32, IngestError> {
        let known = self.functions.iter().position(|held| std::ptr::eq(held.column, column));
        let held = match known {
            Some(held) => held,
            None => {
                remember(&mut self.rows, column.len(), tables)?;
                let names = Names::of(column, ["name", "system_name", "filename", "start_line"]);
                self.functions.push(Functions { column, memo: Memo::new(column.len()), names });
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
fn remember(rows: &mut usize, more: usize, tables: &Tables<'_>) -> Result<(), IngestError> {
    *rows += more;
    within("rows of locations, functions and names", *rows, tables.limits.frames)
}

impl<'c, 's> Names<'c, 's> {
    fn of(column: &'c Column<'s>, [name, system_name, file, start_line]: [&str; 4]) -> Self {
        Self {
            name: Texts::new(column.field(name)),
            system_name: Texts::new(column.field(system_name)),
            file: Texts::new(column.field(file)),
            start_line: column.field(start_line),
        }
    }

    /// Of its two names the first where there is one, else made of the second.
    fn function(&mut self, tables: &mut Tables<'s>, rows: &mut usize, row: usize) -> Result<u32, IngestError> {
        let file = self.file.get(tables, rows, row)?;
        let start_line = self.start_line.map_or(Ok(0), |column| column.number(row))?;
        let system_name = self.system_name.get(tables, rows, row)?;
        let mut name = self.name.get(tables, rows, row)?;
        if name == 0 {
            let made = match demangled(tables.symbols.strings.get(system_name)) {
                Cow::Borrowed(_) => None,
                Cow::Owned(name) => Some(name),
            };
            name = match made {
                Some(made) => tables.new_string(&made)?,
                None => system_name,
            };
        }
        tables.function(name, system_name, file, start_line)
    }
}

impl<'c, 's> Lines<'c, 's> {
    fn of(of: &'c Column<'s>) -> Self {
        let function = match of.field("function") {
            Some(functions) => LineFunction::Own(functions),
            None => LineFunction::Flat(Names::of(
                of,
                ["function_name", "function_system_name", "function_filename", "function_start_line"],
            )),
        };
        Self { of, line: of.field("line"), column: of.field("column"), function }
    }
}

impl<'c, 's> Locations<'c, 's> {
    fn of(column: &'c Column<'s>) -> Result<Self, IngestError> {
        let address = column.field("address").ok_or_else(|| malformed("validate record: locations have no address"))?;
        let ranges = match ["mapping_start", "mapping_limit", "mapping_offset"].map(|name| column.field(name)) {
            [Some(start), Some(limit), Some(offset)] => Some([start, limit, offset]),
            _ => None,
        };
        Ok(Self {
            column,
            memo: Memo::new(column.len()),
            address,
            ranges,
            file: Texts::new(column.field("mapping_file")),
            build_id: Texts::new(column.field("mapping_build_id")),
            lines: column.field("lines"),
            mapping: ((0, 0), NONE),
        })
    }
}
