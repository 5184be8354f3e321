//! The tables that samples point into. An entry is looked at when something points to it.

use profile::pprof::Limits;

use super::layout::Layout;
use super::malformed;
use super::wire::{Fields, Value};
use crate::error::IngestError;
use crate::tables::within;

pub(super) struct Dictionary<'s> {
    pub(super) layout: Layout,
    pub(super) mappings: Vec<&'s [u8]>,
    pub(super) locations: Vec<&'s [u8]>,
    pub(super) functions: Vec<&'s [u8]>,
    pub(super) links: Vec<Link<'s>>,
    pub(super) strings: Vec<&'s [u8]>,
    pub(super) attributes: Vec<&'s [u8]>,
    pub(super) stacks: Vec<&'s [u8]>,
}

/// Both 0 bytes long for none.
#[derive(Clone, Copy)]
pub(super) struct Link<'s> {
    pub(super) trace: &'s [u8],
    pub(super) span: &'s [u8],
}

/// What an attribute says, as far as it is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'s> {
    Text(&'s [u8]),
    Int(i64),
    /// Of another type.
    Other,
    Missing,
}

#[derive(Clone, Copy)]
pub(super) struct Attribute<'s> {
    pub(super) key: &'s [u8],
    pub(super) value: Scalar<'s>,
    pub(super) unit: &'s [u8],
}

const DEFECT: &str = "invalid request: invalid dictionary";

/// Entries of mapping, location, function, link, string, attribute and stack table, as they are on the wire.
pub(super) type Tables<'s> = [Vec<&'s [u8]>; 7];

/// `messages`: those that have the tables, in the order in which they came, numbered as `layout` does.
pub(super) fn tables<'s>(layout: Layout, messages: &[&'s [u8]], limits: &Limits) -> Result<Tables<'s>, IngestError> {
    let mut tables = Tables::default();
    let bounds = [
        limits.mappings,
        limits.locations,
        limits.functions,
        limits.labels,
        limits.strings,
        limits.labels,
        limits.samples,
    ];
    // by number of a field
    let mut table_of = [usize::MAX; 16];
    for (ix, &number) in layout.tables().iter().enumerate().filter(|(_, number)| **number != 0) {
        table_of[number as usize] = ix;
    }
    for message in messages {
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            let Value::Bytes(entry) = value else { continue };
            if let Some(&ix) = table_of.get(field as usize)
                && let Some(table) = tables.get_mut(ix)
            {
                within("entries of a table", table.len() + 1, bounds[ix])?;
                table.push(entry);
            }
        }
    }
    Ok(tables)
}

impl<'s> Dictionary<'s> {
    pub(super) fn new(layout: Layout, tables: Tables<'s>) -> Result<Self, IngestError> {
        let names = ["mapping", "location", "function", "link", "string", "attribute", "stack"];
        // older versions are accepted by nobody else, and their writers were less strict
        if layout == Layout::V10 {
            for (name, table) in names.iter().zip(&tables) {
                let Some(first) = table.first() else {
                    return Err(malformed(format!("{DEFECT}: {name} table is empty")));
                };
                if *name == "string" && !first.is_empty() {
                    let got = String::from_utf8_lossy(&first[..first.len().min(64)]);
                    return Err(malformed(format!("{DEFECT}: first string table entry must be empty, got {got:?}")));
                }
                if *name != "string" && !is_zero(first) {
                    return Err(malformed(format!("{DEFECT}: first {name} table entry must be nil")));
                }
            }
        }
        let [mappings, locations, functions, links, strings, attributes, stacks] = tables;
        let links = links.into_iter().map(Link::read).collect::<Result<_, _>>()?;
        Ok(Self { layout, mappings, locations, functions, links, strings, attributes, stacks })
    }

    /// `what` says whose index it is.
    pub(super) fn string(&self, ix: usize, what: &str) -> Result<&'s [u8], IngestError> {
        match self.strings.get(ix) {
            Some(text) => Ok(text),
            // many writers leave out the empty string where they have no other
            None if ix == 0 => Ok(&[]),
            None => Err(malformed(format!("{DEFECT}: {what} index {} out of bounds", ix as i32))),
        }
    }

    /// Entry `ix` of the attributes; `None` for the one that stands for none.
    pub(super) fn attribute(&self, ix: usize, of: &str) -> Result<Option<Attribute<'s>>, IngestError> {
        if ix == 0 && self.layout.has_stack_table() {
            return Ok(None);
        }
        let outside = || malformed(format!("invalid request: invalid profile: {of} index {} out of bounds", ix as i32));
        let entry = self.attributes.get(ix).ok_or_else(outside)?;
        if !self.layout.has_stack_table() {
            return self.key_value(entry).map(Some);
        }
        let mut attribute = Attribute { key: &[], value: Scalar::Missing, unit: &[] };
        let mut fields = Fields::of(entry);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => attribute.key = self.string(value.index(), "attribute key")?,
                2 => attribute.value = self.any_value(value.bytes())?,
                3 => attribute.unit = self.string(value.index(), "attribute unit")?,
                _ => {}
            }
        }
        Ok(Some(attribute))
    }

    /// `opentelemetry.proto.common.v1.KeyValue`
    pub(super) fn key_value(&self, message: &'s [u8]) -> Result<Attribute<'s>, IngestError> {
        let mut attribute = Attribute { key: &[], value: Scalar::Missing, unit: &[] };
        let mut reference = None;
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => attribute.key = value.bytes(),
                2 => attribute.value = self.any_value(value.bytes())?,
                3 => reference = Some(value.index()),
                _ => {}
            }
        }
        // both may be there; the text is what was meant
        if let (true, Some(ix)) = (attribute.key.is_empty(), reference) {
            attribute.key = self.string(ix, "attribute key")?;
        }
        Ok(attribute)
    }

    fn any_value(&self, message: &'s [u8]) -> Result<Scalar<'s>, IngestError> {
        let mut scalar = Scalar::Missing;
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match (field, scalar) {
                (1, _) => scalar = Scalar::Text(value.bytes()),
                (3, _) => scalar = Scalar::Int(value.number() as i64),
                (8, Scalar::Missing | Scalar::Text(&[])) => {
                    scalar = Scalar::Text(self.string(value.index(), "attribute value")?);
                }
                (2 | 4..=7, _) => scalar = Scalar::Other,
                _ => {}
            }
        }
        Ok(scalar)
    }
}

impl<'s> Link<'s> {
    fn read(message: &'s [u8]) -> Result<Self, IngestError> {
        let mut link = Self { trace: &[], span: &[] };
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => link.trace = value.bytes(),
                2 => link.span = value.bytes(),
                _ => {}
            }
        }
        for (what, id, len) in [("trace", link.trace, 16), ("span", link.span, 8)] {
            if !id.is_empty() && id.len() != len {
                let got = id.len();
                return Err(malformed(format!("{DEFECT}: link {what} ID must be {len} bytes long, got {got} bytes")));
            }
        }
        Ok(link)
    }
}

/// Whether a message says nothing. Some writers spell out what is empty in it, and IDs of zeros.
fn is_zero(message: &[u8]) -> bool {
    let mut fields = Fields::of(message);
    loop {
        match fields.next() {
            Ok(None) => return true,
            Ok(Some((_, Value::Varint(0) | Value::Fixed64(0) | Value::Fixed32(0)))) => {}
            Ok(Some((_, Value::Bytes(bytes))))
                if matches!(bytes.len(), 0 | 8 | 16) && bytes.iter().all(|&byte| byte == 0) => {}
            _ => return false,
        }
    }
}
