//! OTLP profiles (opentelemetry-proto, `profiles.v1development`): one export request, one batch.
//!
//! The message changed its numbers four times under one name, so its version is recognised first ([`layout`]). The bytes are then
//! read in place: a sample is four numbers, and what samples share (stacks, sets of attributes) is made once.
//!
//! Map: [`wire`] fields of a message · [`layout`] which version · [`dictionary`] the tables that samples point into ·
//! [`attributes`] labels · [`profiles`] samples.

mod attributes;
mod dictionary;
mod layout;
mod profiles;
mod wire;

use profile::pprof::Limits;
use profile::{Batch, Labels};

use crate::error::{IngestError, IngestErrorKind};
use crate::shared::{Dictionaries, Shared};
use crate::tables::within;

use attributes::Attributes;
use dictionary::Dictionary;
use layout::Layout;
use profiles::{Rows, Series, Source};
use wire::{Fields, Value};

/// Before this a clock was not set: a year after the epoch, in ns.
const EARLIEST: u64 = 365 * 24 * 3_600 * 1_000_000_000;

/// Resources, scopes and profiles in one request, all together.
const PARTS_MAX: usize = 1 << 16;

/// Of one resource or scope.
const ATTRIBUTES_MAX: usize = 1_024;

/// What became of an export.
#[derive(Debug)]
pub struct Otlp {
    pub batch: Batch,
    /// Profiles that were left out.
    pub rejected: u64,
    /// Why the first of them was; empty if none was.
    pub reason: String,
}

fn malformed(what: impl Into<String>) -> IngestError {
    crate::arrow::malformed(what)
}

/// Decodes an `ExportProfilesServiceRequest` of proto 1.5 to 1.11, not compressed.
///
/// - A profile's name is its scope's, with what no metric name may hold made `_`; `unknown` where there is none.
/// - Text attributes of resource, scope and profile are the series' labels (in this order where they clash), those of a sample its
///   own. Names are made label names; blanks around values go. Whole numbers are kept with the samples, trace and span of a
///   link as `trace_id` and `span_id`. Attributes of other types are left out.
/// - A sample with times is one sample a time; where it has no values each counts 1.
/// - A profile without a sensible time gets that of its earliest sample, else the receive time (ns since the epoch).
///
/// A profile that contradicts itself is left out and counted; if none is left, its defect is the request's error. Errors are
/// in the words of Parca's Export where it has any.
pub fn otlp(
    payload: &[u8],
    receive_time: i64,
    limits: &Limits,
    dictionaries: &Dictionaries,
) -> Result<Otlp, IngestError> {
    within("bytes", payload.len(), limits.unpacked_bytes)?;
    let (mut resources, mut shared, mut beside) = (Vec::new(), Vec::new(), false);
    let mut fields = Fields::of(payload);
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (1, Value::Bytes(resource)) => push(&mut resources, resource)?,
            (2, Value::Bytes(dictionary)) => push(&mut shared, dictionary)?,
            (3..=8, _) => beside = true,
            _ => {}
        }
    }
    if resources.is_empty() {
        return Err(malformed("invalid request: resource profiles are empty"));
    }
    // those of V5 are in its profiles
    let shared = if beside {
        Some((Layout::V6, dictionary::tables(Layout::V6, &[payload], limits)?))
    } else if shared.is_empty() {
        match layout::layout(&resources, None)? {
            Layout::V5 => None,
            _ => return Err(malformed("invalid request: invalid dictionary: dictionary is nil")),
        }
    } else {
        let mut tables = dictionary::tables(Layout::V10, &shared, limits)?;
        let [.., attributes, stacks] = &mut tables;
        let layout = layout::layout(&resources, Some([attributes, stacks]))?;
        if !layout.has_stack_table() {
            stacks.clear();
        }
        Some((layout, tables))
    };
    let shared = shared.map(|(layout, tables)| Dictionary::new(layout, tables)).transpose()?;

    let mut tables = Shared::new(limits, dictionaries);
    let mut rows = Rows::default();
    let mut parts = resources.len();
    let mut shared = shared.map(|dictionary| Source::new(dictionary, &mut tables)).transpose()?;
    let (mut profiles, mut rejected, mut first) = (0u64, 0u64, None::<IngestError>);
    for resource in resources {
        let of_resource = Part::resource(resource)?;
        let mut scopes = Vec::new();
        each(resource, 2, |scope| push(&mut scopes, scope))?;
        parts += scopes.len();
        for scope in scopes {
            let of_scope = Part::scope(scope)?;
            let mut inner = Vec::new();
            each(scope, 2, |profile| push(&mut inner, profile))?;
            parts += inner.len();
            within("resources, scopes and profiles", parts, PARTS_MAX)?;
            for profile in inner {
                profiles += 1;
                let mut own;
                let source = match &mut shared {
                    Some(source) => source,
                    None => {
                        let inside = dictionary::tables(Layout::V5, &[profile], limits)?;
                        own = Source::new(Dictionary::new(Layout::V5, inside)?, &mut tables)?;
                        &mut own
                    }
                };
                let owners = [&of_scope, &of_resource];
                match read_profile(source, &mut rows, &mut tables, profile, owners, receive_time) {
                    Ok(()) => {}
                    Err(error) if error.kind == IngestErrorKind::InvalidArgument => {
                        rejected += 1;
                        first.get_or_insert(error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    let reason = match first {
        Some(error) if rejected == profiles => return Err(error),
        first => first.map(|error| error.message).unwrap_or_default(),
    };
    let (batch, _) = tables.into_batch(|own| Ok(rows.into_batch(own)))?;
    Ok(Otlp { batch, rejected, reason })
}

fn read_profile<'s>(
    source: &mut Source<'s>,
    rows: &mut Rows,
    tables: &mut Shared<'s>,
    profile: &'s [u8],
    [scope, resource]: [&Part<'s>; 2],
    receive_time: i64,
) -> Result<(), IngestError> {
    let mut attributes = Attributes::default();
    let dictionary = &source.dictionary;
    attributes.of_profile(dictionary, profile)?;
    attributes.of_owner(dictionary, "scope", &scope.attributes)?;
    attributes.of_owner(dictionary, "resource", &resource.attributes)?;
    let Attributes { texts, numbers } = attributes;
    let name = match attributes::label_name(scope.name) {
        name if name.is_empty() => "unknown".to_owned(),
        name => name.into_owned(),
    };
    let series = Series { name, labels: Labels::from_pairs(texts), numbers };
    rows.profile(source, tables, profile, series, receive_time)
}

fn push<'s>(parts: &mut Vec<&'s [u8]>, part: &'s [u8]) -> Result<(), IngestError> {
    within("resources, scopes and profiles", parts.len() + 1, PARTS_MAX)?;
    parts.push(part);
    Ok(())
}

/// A resource or a scope: its name, if it can have one, and its attributes.
#[derive(Default)]
struct Part<'s> {
    name: &'s [u8],
    attributes: Vec<&'s [u8]>,
}

impl<'s> Part<'s> {
    /// `opentelemetry.proto.resource.v1.Resource`
    fn resource(of: &'s [u8]) -> Result<Self, IngestError> {
        Self::read(of, None, 1)
    }

    /// `opentelemetry.proto.common.v1.InstrumentationScope`
    fn scope(of: &'s [u8]) -> Result<Self, IngestError> {
        Self::read(of, Some(1), 3)
    }

    fn read(of: &'s [u8], name: Option<u32>, attributes: u32) -> Result<Self, IngestError> {
        let mut part = Self::default();
        each(of, 1, |message| {
            let mut fields = Fields::of(message);
            while let Some((field, value)) = fields.next()? {
                if let Value::Bytes(bytes) = value {
                    if field == attributes {
                        within("attributes of a resource or scope", part.attributes.len() + 1, ATTRIBUTES_MAX)?;
                        part.attributes.push(bytes);
                    } else if Some(field) == name {
                        part.name = bytes;
                    }
                }
            }
            Ok(())
        })?;
        Ok(part)
    }
}

/// The submessages of `message` in field `wanted`.
fn each<'s>(
    message: &'s [u8],
    wanted: u32,
    mut visit: impl FnMut(&'s [u8]) -> Result<(), IngestError>,
) -> Result<(), IngestError> {
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        if let (true, Value::Bytes(bytes)) = (field == wanted, value) {
            visit(bytes)?;
        }
    }
    Ok(())
}
