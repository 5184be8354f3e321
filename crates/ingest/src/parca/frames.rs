//! Locations as the agent writes them: structs, behind a dictionary in v2 and plain in v1.

use std::ops::Range;

use profile::NONE;

use crate::arrow::{Column, malformed};
use crate::demangle::demangled;
use crate::error::IngestError;
use crate::tables::{Memo, Tables, relative, within};

/// What the structs of one message became. Each is read once, however many stacks name it.
#[derive(Default)]
pub(super) struct Frames<'c, 's> {
    locations: Vec<Locations<'c, 's>>,
    functions: Vec<(*const Column<'s>, Memo)>,
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
    file: Option<&'c Column<'s>>,
    build_id: Option<&'c Column<'s>>,
    lines: Option<&'c Column<'s>>,
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
                    self.remember(at.column, tables)?;
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

    fn remember(&mut self, column: &Column<'s>, tables: &Tables<'_>) -> Result<(), IngestError> {
        self.rows += column.len();
        within("rows of locations and functions", self.rows, tables.limits.frames)
    }

    fn location(&mut self, tables: &mut Tables<'s>, held: usize, row: usize) -> Result<u32, IngestError> {
        let &Locations { address, ranges, file, build_id, lines, .. } = &self.locations[held];
        let text = |tables: &mut Tables<'s>, column: Option<&Column<'s>>| match column {
            Some(column) => tables.string(column.text(row)?.unwrap_or_default()),
            None => Ok(0),
        };
        let (file, build_id) = (text(tables, file)?, text(tables, build_id)?);
        let range = match ranges {
            Some([start, limit, offset]) => {
                [start.number(row)? as u64, limit.number(row)? as u64, offset.number(row)? as u64]
            }
            None => [0; 3],
        };
        let mapping = if (file, build_id) == (0, 0) { NONE } else { tables.mapping(file, build_id, range)? };
        if let Some(at) = lines.map(|lines| lines.at(row)).transpose()?.flatten() {
            let (range, items) = at.list()?;
            within("lines of one location", range.len(), tables.limits.stack_depth)?;
            for row in range {
                if let Some(at) = items.at(row)? {
                    self.line(tables, at.column, at.row)?;
                }
            }
        }
        tables.location(mapping, relative(address.number(row)? as u64, range))
    }

    fn line(&mut self, tables: &mut Tables<'s>, line: &'c Column<'s>, row: usize) -> Result<(), IngestError> {
        let number = |name: &str| line.field(name).map_or(Ok(0), |column| column.number(row));
        let (line_number, column) = (number("line")?, number("column")?);
        let function = match line.field("function") {
            Some(function) => match function.at(row)? {
                Some(at) => self.function(tables, at.column, at.row)?,
                None => NONE,
            },
            None => {
                let text = |name: &str| line.field(name).map_or(Ok(None), |column| column.text(row));
                let (name, system) = (text("function_name")?, text("function_system_name")?);
                let file = tables.string(text("function_filename")?.unwrap_or_default())?;
                named(tables, name, system, file, number("function_start_line")?)?
            }
        };
        tables.line(function, line_number, column)
    }

    /// v2's: a struct behind a dictionary, so that a function is met once a message.
    fn function(&mut self, tables: &mut Tables<'s>, column: &'c Column<'s>, row: usize) -> Result<u32, IngestError> {
        let known = self.functions.iter().position(|(held, _)| std::ptr::eq(*held, column));
        let held = match known {
            Some(held) => held,
            None => {
                self.remember(column, tables)?;
                self.functions.push((column, Memo::new(column.len())));
                self.functions.len() - 1
            }
        };
        if let Some(function) = self.functions[held].1.get(row) {
            return Ok(function);
        }
        let text = |name: &str| column.field(name).map_or(Ok(None), |column| column.text(row));
        let file = tables.string(text("filename")?.unwrap_or_default())?;
        let start_line = column.field("start_line").map_or(Ok(0), |column| column.number(row))?;
        let function = named(tables, text("name")?, text("system_name")?, file, start_line)?;
        self.functions[held].1.set(row, function);
        Ok(function)
    }
}

fn named<'s>(
    tables: &mut Tables<'s>,
    name: Option<&'s [u8]>,
    system: Option<&'s [u8]>,
    file: u32,
    start_line: i64,
) -> Result<u32, IngestError> {
    let system_bytes = system.unwrap_or_default();
    let system = tables.string(system_bytes)?;
    let name = match name.filter(|name| !name.is_empty()) {
        Some(name) => tables.string(name)?,
        None => match demangled(system_bytes) {
            std::borrow::Cow::Borrowed(_) => system,
            std::borrow::Cow::Owned(name) => tables.new_string(&name)?,
        },
    };
    tables.function(name, system, file, start_line)
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
            file: column.field("mapping_file"),
            build_id: column.field("mapping_build_id"),
            lines: column.field("lines"),
        })
    }
}
