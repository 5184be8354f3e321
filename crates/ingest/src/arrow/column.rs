//! Values of a row, however they are encoded.

use std::rc::Rc;

use super::malformed;
use crate::error::IngestError;

/// A column of `len` rows. The buffers of fixed width are long enough for them; offsets, keys and run ends are checked
/// where they are used.
#[derive(Clone)]
pub(crate) struct Column<'s> {
    len: usize,
    /// A bit per row, set where there is a value.
    validity: Option<&'s [u8]>,
    data: Data<'s>,
}

#[derive(Clone)]
enum Data<'s> {
    Null,
    /// Truth values.
    Bits(&'s [u8]),
    Int {
        width: usize,
        signed: bool,
        bytes: &'s [u8],
    },
    Fixed {
        width: usize,
        bytes: &'s [u8],
    },
    Bytes {
        wide: bool,
        offsets: &'s [u8],
        bytes: &'s [u8],
    },
    View {
        views: &'s [u8],
        buffers: Rc<Vec<&'s [u8]>>,
    },
    List {
        wide: bool,
        offsets: &'s [u8],
        child: Rc<Column<'s>>,
    },
    ListView {
        wide: bool,
        offsets: &'s [u8],
        sizes: &'s [u8],
        child: Rc<Column<'s>>,
    },
    FixedList {
        size: usize,
        child: Rc<Column<'s>>,
    },
    Struct(Rc<Vec<(&'s str, Column<'s>)>>),
    Runs {
        ends: Rc<Column<'s>>,
        values: Rc<Column<'s>>,
    },
    Dictionary {
        keys: Rc<Column<'s>>,
        values: Rc<Values<'s>>,
    },
}

/// The values of a dictionary: one column, or more where deltas came.
#[derive(Clone, Default)]
pub(crate) struct Values<'s> {
    parts: Vec<Column<'s>>,
}

impl<'s> Values<'s> {
    pub(crate) fn new(values: Column<'s>) -> Self {
        Self { parts: vec![values] }
    }

    pub(crate) fn with(&self, more: Column<'s>) -> Self {
        let mut parts = self.parts.clone();
        parts.push(more);
        Self { parts }
    }

    fn get(&self, mut key: usize) -> Option<(usize, &Column<'s>, usize)> {
        for (part, column) in self.parts.iter().enumerate() {
            if key < column.len {
                return Some((part, column, key));
            }
            key -= column.len;
        }
        None
    }
}

/// Where a row's value physically lies, once runs and dictionaries are resolved.
#[derive(Clone, Copy)]
pub(crate) struct At<'c, 's> {
    pub(crate) column: &'c Column<'s>,
    pub(crate) row: usize,
}

/// A column that is read at many rows, and whose values may lie elsewhere: what holds for all of them is found out once.
#[derive(Clone, Copy)]
pub(crate) enum Places<'c, 's> {
    /// Values, none of them null.
    Own(&'c Column<'s>),
    /// Keys of four bytes, none of them null, into such a column.
    Keys(&'s [[u8; 4]], &'c Column<'s>),
    Any(&'c Column<'s>),
}

/// The same of a column of lists.
#[derive(Clone, Copy)]
pub(crate) enum Lists<'c, 's> {
    /// Offsets and sizes of four bytes, no list null.
    View([&'s [[u8; 4]]; 2], &'c Column<'s>),
    Any(&'c Column<'s>),
}

impl<'c, 's> Places<'c, 's> {
    pub(crate) fn of(column: &'c Column<'s>) -> Self {
        match &column.data {
            Data::Dictionary { keys, values } => match (&keys.data, values.parts.as_slice()) {
                (Data::Int { width: 4, bytes, .. }, [values])
                    if keys.validity.is_none() && values.is_final() && i32::try_from(values.len).is_ok() =>
                {
                    Self::Keys(&bytes.as_chunks().0[..keys.len], values)
                }
                _ => Self::Any(column),
            },
            _ if column.is_final() => Self::Own(column),
            _ => Self::Any(column),
        }
    }

    /// As [`Column::at`].
    #[inline(always)]
    pub(crate) fn at(self, row: usize) -> Result<Option<At<'c, 's>>, IngestError> {
        match self {
            Self::Own(column) if row < column.len => Ok(Some(At { column, row })),
            Self::Own(_) => Err(no_row(row)),
            Self::Keys(keys, values) => match keys.get(row) {
                Some(key) => {
                    let at = u32::from_le_bytes(*key) as usize;
                    if at < values.len { Ok(Some(At { column: values, row: at })) } else { Err(no_key(at as i32)) }
                }
                None => Err(no_row(row)),
            },
            Self::Any(column) => column.at(row),
        }
    }
}

impl<'c, 's> Lists<'c, 's> {
    pub(crate) fn of(column: &'c Column<'s>) -> Self {
        match &column.data {
            Data::ListView { wide: false, offsets, sizes, child } if column.validity.is_none() => {
                Self::View([offsets, sizes].map(|of| &of.as_chunks().0[..column.len]), child)
            }
            _ => Self::Any(column),
        }
    }

    /// The rows of a list and the column that they are of; `None` for null.
    #[inline(always)]
    pub(crate) fn get(self, row: usize) -> Result<Option<(std::ops::Range<usize>, &'c Column<'s>)>, IngestError> {
        match self {
            Self::View([offsets, sizes], child) => {
                let (Some(start), Some(size)) = (offsets.get(row), sizes.get(row)) else { return Err(no_row(row)) };
                let (start, size) = (u32::from_le_bytes(*start) as usize, u32::from_le_bytes(*size) as usize);
                // neither has a sign where the end lies within the child
                let end = start.saturating_add(size);
                if end > child.len || (start | size) > i32::MAX as usize {
                    return Err(past(row));
                }
                Ok(Some((start..end, child)))
            }
            Self::Any(column) => column.at(row)?.map(At::list).transpose(),
        }
    }
}

#[cold]
fn no_row(row: usize) -> IngestError {
    malformed(format!("arrow/ipc: there is no row {row}"))
}

#[cold]
pub(crate) fn no_key(key: impl std::fmt::Display) -> IngestError {
    malformed(format!("arrow/ipc: key {key} points outside its dictionary"))
}

#[cold]
fn past(row: usize) -> IngestError {
    malformed(format!("arrow/ipc: list {row} reaches past its values"))
}

#[cold]
fn outside(row: usize) -> IngestError {
    malformed(format!("arrow/ipc: text {row} reaches past its buffer"))
}

/// The text of a view: its length, then its bytes or, where it is longer than twelve, the first four of them, the buffer that it
/// lies in and its start. `None` if it does not lie there.
#[inline(always)]
fn viewed<'s>(view: &'s [u8; 16], buffers: &[&'s [u8]]) -> Option<&'s [u8]> {
    let word = |at: usize| u32_at(view, at) as usize;
    let len = word(0);
    if len <= 12 {
        return view.get(4..4 + len);
    }
    buffers.get(word(2))?.get(word(3)..word(3).checked_add(len)?)
}

impl<'c, 's> At<'c, 's> {
    /// The same for two rows exactly if they share their value's place. The column lives as long as the batch.
    pub(crate) fn place(&self) -> (usize, usize) {
        (std::ptr::from_ref(self.column) as usize, self.row)
    }
}

/// A place in a column that is read from its first row to its last.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cursor {
    run: usize,
}

fn bit(bits: &[u8], at: usize) -> bool {
    bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at * 8..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at * 4..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// An offset or a size: not below 0.
fn offset_at(bytes: &[u8], wide: bool, at: usize) -> Result<usize, IngestError> {
    let offset = if wide { u64_at(bytes, at) as i64 } else { i64::from(u32_at(bytes, at) as i32) };
    usize::try_from(offset).map_err(|_| malformed(format!("arrow/ipc: an offset of {offset}")))
}

fn long_enough(what: &str, bytes: &[u8], width: usize, len: usize) -> Result<(), IngestError> {
    match width.checked_mul(len) {
        Some(needed) if needed <= bytes.len() => Ok(()),
        _ => Err(malformed(format!("arrow/ipc: a buffer of {what} is too short for {len} rows"))),
    }
}

fn width(wide: bool) -> usize {
    if wide { 8 } else { 4 }
}

type Made<'s> = Result<Column<'s>, IngestError>;

impl<'s> Column<'s> {
    pub(crate) fn null(len: usize) -> Self {
        Self { len, validity: None, data: Data::Null }
    }

    pub(crate) fn bits(len: usize, validity: Option<&'s [u8]>, bits: &'s [u8]) -> Made<'s> {
        long_enough("bits", bits, 1, len.div_ceil(8))?;
        Ok(Self { len, validity, data: Data::Bits(bits) })
    }

    pub(crate) fn fixed(
        len: usize,
        validity: Option<&'s [u8]>,
        width: usize,
        signed: bool,
        bytes: &'s [u8],
    ) -> Made<'s> {
        long_enough("numbers", bytes, width, len)?;
        Ok(Self { len, validity, data: Data::Int { width, signed, bytes } })
    }

    pub(crate) fn fixed_bytes(len: usize, validity: Option<&'s [u8]>, width: usize, bytes: &'s [u8]) -> Made<'s> {
        long_enough("values", bytes, width, len)?;
        Ok(Self { len, validity, data: Data::Fixed { width, bytes } })
    }

    pub(crate) fn bytes(
        len: usize,
        validity: Option<&'s [u8]>,
        wide: bool,
        offsets: &'s [u8],
        bytes: &'s [u8],
    ) -> Made<'s> {
        // no rows need no offset
        long_enough("offsets", offsets, width(wide), if len == 0 { 0 } else { len + 1 })?;
        Ok(Self { len, validity, data: Data::Bytes { wide, offsets, bytes } })
    }

    pub(crate) fn view(len: usize, validity: Option<&'s [u8]>, views: &'s [u8], buffers: Vec<&'s [u8]>) -> Made<'s> {
        long_enough("views", views, 16, len)?;
        Ok(Self { len, validity, data: Data::View { views, buffers: Rc::new(buffers) } })
    }

    pub(crate) fn list(
        len: usize,
        validity: Option<&'s [u8]>,
        wide: bool,
        offsets: &'s [u8],
        child: Column<'s>,
    ) -> Made<'s> {
        long_enough("offsets", offsets, width(wide), if len == 0 { 0 } else { len + 1 })?;
        Ok(Self { len, validity, data: Data::List { wide, offsets, child: Rc::new(child) } })
    }

    pub(crate) fn list_view(
        len: usize,
        validity: Option<&'s [u8]>,
        wide: bool,
        offsets: &'s [u8],
        sizes: &'s [u8],
        child: Column<'s>,
    ) -> Made<'s> {
        long_enough("offsets", offsets, width(wide), len)?;
        long_enough("sizes", sizes, width(wide), len)?;
        Ok(Self { len, validity, data: Data::ListView { wide, offsets, sizes, child: Rc::new(child) } })
    }

    pub(crate) fn fixed_list(len: usize, validity: Option<&'s [u8]>, size: usize, child: Column<'s>) -> Made<'s> {
        if len.checked_mul(size).is_none_or(|needed| needed > child.len) {
            return Err(malformed("arrow/ipc: a list of fixed size has too few values"));
        }
        Ok(Self { len, validity, data: Data::FixedList { size, child: Rc::new(child) } })
    }

    pub(crate) fn structure(len: usize, validity: Option<&'s [u8]>, fields: Vec<(&'s str, Column<'s>)>) -> Made<'s> {
        if let Some((name, field)) = fields.iter().find(|(_, field)| field.len < len) {
            return Err(malformed(format!("arrow/ipc: field {name:?} has {} of {len} rows", field.len)));
        }
        Ok(Self { len, validity, data: Data::Struct(Rc::new(fields)) })
    }

    pub(crate) fn runs(len: usize, ends: Column<'s>, values: Column<'s>) -> Made<'s> {
        if ends.len > values.len {
            return Err(malformed("arrow/ipc: there are more runs than values"));
        }
        // ascending, so that a search for a row ends; the last must reach the last row
        let mut before = 0;
        for run in 0..ends.len {
            let end = ends.int(run).unwrap_or(0);
            if end <= before {
                return Err(malformed(format!("arrow/ipc: run {run} ends at {end}, not after {before}")));
            }
            before = end;
        }
        if usize::try_from(before).is_ok_and(|end| end < len) {
            return Err(malformed(format!("arrow/ipc: the last of {len} rows is in no run")));
        }
        Ok(Self { len, validity: None, data: Data::Runs { ends: Rc::new(ends), values: Rc::new(values) } })
    }

    pub(crate) fn dictionary(keys: Column<'s>, values: Rc<Values<'s>>) -> Self {
        Self { len: keys.len, validity: None, data: Data::Dictionary { keys: Rc::new(keys), values } }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether each row has a value, and has it here.
    fn is_final(&self) -> bool {
        let elsewhere = matches!(self.data, Data::Runs { .. } | Data::Dictionary { .. } | Data::Null);
        !elsewhere && self.validity.is_none()
    }

    pub(crate) fn is_valid(&self, row: usize) -> bool {
        self.validity.is_none_or(|bits| bit(bits, row))
    }

    /// The number at `row` of a column of numbers. What does not fit an `i64` wraps.
    fn int(&self, row: usize) -> Option<i64> {
        if !self.is_valid(row) {
            return None;
        }
        let Data::Int { width, signed, bytes } = &self.data else { return None };
        Some(match (width, signed) {
            (8, _) => u64_at(bytes, row) as i64,
            (4, true) => i64::from(u32_at(bytes, row) as i32),
            (4, false) => i64::from(u32_at(bytes, row)),
            (2, signed) => {
                let value = u16::from_le_bytes(*bytes.get(row * 2..)?.first_chunk()?);
                if *signed { i64::from(value as i16) } else { i64::from(value) }
            }
            (_, signed) => {
                let value = *bytes.get(row)?;
                if *signed { i64::from(value as i8) } else { i64::from(value) }
            }
        })
    }

    /// Where the value of `row` lies; `None` for null.
    pub(crate) fn at(&self, row: usize) -> Result<Option<At<'_, 's>>, IngestError> {
        let (mut column, mut row) = (self, row);
        loop {
            match &column.data {
                Data::Runs { ends, values } => {
                    row = column.run_of(ends, row);
                    column = values;
                }
                Data::Dictionary { keys, values } => {
                    let Some(key) = keys.int(row) else { return Ok(None) };
                    let found = usize::try_from(key).ok().and_then(|key| values.get(key));
                    let Some((_, part, at)) = found else {
                        return Err(no_key(key));
                    };
                    (column, row) = (part, at);
                }
                Data::Null => return Ok(None),
                _ if row >= column.len => return Err(no_row(row)),
                _ => return Ok(column.is_valid(row).then_some(At { column, row })),
            }
        }
    }

    fn run_of(&self, ends: &Column<'s>, row: usize) -> usize {
        let (mut low, mut high) = (0, ends.len);
        while low < high {
            let middle = (low + high) / 2;
            if ends.int(middle).is_some_and(|end| end as usize > row) { high = middle } else { low = middle + 1 }
        }
        low
    }

    /// The same as [`Column::at`], and the row after the last that has its value from the same place. `cursor` must have
    /// been used for this column and rows that ascend.
    pub(crate) fn run_at(&self, row: usize, cursor: &mut Cursor) -> Result<(Option<At<'_, 's>>, usize), IngestError> {
        let Data::Runs { ends, values } = &self.data else { return Ok((self.at(row)?, row + 1)) };
        while cursor.run < ends.len && ends.int(cursor.run).is_none_or(|end| end as usize <= row) {
            cursor.run += 1;
        }
        let end = ends.int(cursor.run).map_or(row + 1, |end| end as usize);
        Ok((values.at(cursor.run)?, end))
    }

    /// The field `name` of a column of structs.
    pub(crate) fn field(&self, name: &str) -> Option<&Column<'s>> {
        self.fields().iter().find(|(field, _)| *field == name).map(|(_, column)| column)
    }

    /// The fields of a column of structs; none of others.
    pub(crate) fn fields(&self) -> &[(&'s str, Column<'s>)] {
        match &self.data {
            Data::Struct(fields) => fields,
            _ => &[],
        }
    }

    /// All rows, if they are numbers of eight bytes and none is null.
    pub(crate) fn plain_numbers(&self) -> Option<&'s [[u8; 8]]> {
        match self.data {
            Data::Int { width: 8, bytes, .. } if self.validity.is_none() => Some(&bytes.as_chunks().0[..self.len]),
            _ => None,
        }
    }

    /// Bytes of text or binary; `None` for null.
    pub(crate) fn text(&self, row: usize) -> Result<Option<&'s [u8]>, IngestError> {
        self.at(row)?.map(|at| at.text()).transpose()
    }

    /// The texts of all rows of a column that has them itself ([`At::column`]); empty for null.
    pub(crate) fn each_text(
        &self,
        mut take: impl FnMut(&'s [u8]) -> Result<(), IngestError>,
    ) -> Result<(), IngestError> {
        if let Data::View { views, buffers } = &self.data
            && self.validity.is_none()
        {
            return views.as_chunks().0[..self.len]
                .iter()
                .enumerate()
                .try_for_each(|(row, view)| take(viewed(view, buffers).ok_or_else(|| outside(row))?));
        }
        (0..self.len).try_for_each(|row| take(if self.is_valid(row) { At { column: self, row }.text()? } else { &[] }))
    }

    /// Whether the value is true: not for null, nor in a column of anything else.
    pub(crate) fn truth(&self, row: usize) -> Result<bool, IngestError> {
        Ok(self.at(row)?.is_some_and(At::truth))
    }

    /// A number; 0 for null.
    pub(crate) fn number(&self, row: usize) -> Result<i64, IngestError> {
        if let (Data::Int { .. }, true) = (&self.data, row < self.len) {
            return Ok(self.int(row).unwrap_or(0));
        }
        Ok(match self.at(row)? {
            Some(at) => at.number()?,
            None => 0,
        })
    }
}

impl<'c, 's> At<'c, 's> {
    fn truth(self) -> bool {
        let Data::Bits(bits) = &self.column.data else { return false };
        bit(bits, self.row)
    }

    pub(crate) fn number(self) -> Result<i64, IngestError> {
        self.column.int(self.row).ok_or_else(|| malformed("arrow/ipc: a column of numbers has none"))
    }

    pub(crate) fn text(self) -> Result<&'s [u8], IngestError> {
        let Self { column, row } = self;
        let outside = || outside(row);
        match &column.data {
            Data::Bytes { wide, offsets, bytes } => {
                let (start, end) = (offset_at(offsets, *wide, row)?, offset_at(offsets, *wide, row + 1)?);
                bytes.get(start..end).ok_or_else(outside)
            }
            Data::View { views, buffers } => {
                views.as_chunks().0.get(row).and_then(|view| viewed(view, buffers)).ok_or_else(outside)
            }
            Data::Fixed { width, bytes } => bytes.get(row * width..(row + 1) * width).ok_or_else(outside),
            _ => Err(malformed("arrow/ipc: a column of text has none")),
        }
    }

    /// The rows of a list, and the column that they are of.
    pub(crate) fn list(self) -> Result<(std::ops::Range<usize>, &'c Column<'s>), IngestError> {
        let Self { column, row } = self;
        let (start, end, child) = match &column.data {
            Data::List { wide, offsets, child } => {
                (offset_at(offsets, *wide, row)?, offset_at(offsets, *wide, row + 1)?, child)
            }
            Data::ListView { wide, offsets, sizes, child } => {
                let (start, size) = (offset_at(offsets, *wide, row)?, offset_at(sizes, *wide, row)?);
                (start, start.saturating_add(size), child)
            }
            Data::FixedList { size, child } => (row * size, (row + 1) * size, child),
            _ => return Err(malformed("arrow/ipc: a column of lists has none")),
        };
        if start > end || end > child.len {
            return Err(past(row));
        }
        Ok((start..end, child))
    }
}
