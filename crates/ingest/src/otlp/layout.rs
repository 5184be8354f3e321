//! Which version of the protocol a message was written by.
//!
//! No version travels on the wire, and the message was renumbered under the same package name, so that a message read by
//! the wrong numbers is often a valid one with wrong values. What tells versions apart is which fields there are and their
//! wire types (opentelemetry-proto's releases 1.5 to 1.11; writers are taken to pack repeated numbers, as all do).

use super::wire::{Fields, Value};
use crate::error::IngestError;

/// A layout, named by the first minor release of proto 1 that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layout {
    /// Tables within each profile.
    V5,
    /// Tables beside the profiles. The export call forgot them; what is sent is `ProfilesData`, alike otherwise.
    V6,
    /// Tables in a dictionary.
    V7,
    /// A table of stacks; entry 0 of every table means "none"; one sample type a profile.
    V8,
    /// Comments and temporality gone.
    V9,
    /// The fields of a sample in another order. 1.11 is the same.
    V10,
}

/// Numbers of the fields that moved.
pub(super) struct ProfileFields {
    pub(super) time: u32,
    pub(super) duration: u32,
    pub(super) period_type: u32,
    pub(super) period: u32,
    pub(super) id: u32,
    pub(super) attributes: u32,
    /// Until V7: what the stacks of samples are runs of.
    pub(super) location_indices: Option<u32>,
}

pub(super) struct SampleFields {
    pub(super) values: u32,
    pub(super) attributes: u32,
    pub(super) link: u32,
    pub(super) timestamps: u32,
}

/// Field numbers of mapping, location, function, link, string, attribute and stack table, in this order; 0 where there is
/// none.
pub(super) type TableFields = [u32; 7];

impl Layout {
    pub(super) fn has_stack_table(self) -> bool {
        self >= Self::V8
    }

    pub(super) fn profile(self) -> ProfileFields {
        let [time, duration, period_type, period, id, attributes] = match self {
            Self::V5 => [11, 12, 13, 14, 17, 22],
            Self::V6 | Self::V7 => [4, 5, 6, 7, 10, 14],
            Self::V8 => [3, 4, 5, 6, 8, 12],
            Self::V9 | Self::V10 => [3, 4, 5, 6, 7, 11],
        };
        let location_indices = match self {
            Self::V5 => Some(5),
            Self::V6 | Self::V7 => Some(3),
            _ => None,
        };
        ProfileFields { time, duration, period_type, period, id, attributes, location_indices }
    }

    pub(super) fn sample(self) -> SampleFields {
        let [values, attributes, link, timestamps] = match self {
            Self::V5 | Self::V6 | Self::V7 => [3, 4, 5, 6],
            Self::V8 | Self::V9 => [2, 3, 4, 5],
            Self::V10 => [4, 2, 3, 5],
        };
        SampleFields { values, attributes, link, timestamps }
    }

    /// In the message that holds the tables: profile, request or dictionary.
    pub(super) fn tables(self) -> TableFields {
        match self {
            Self::V5 => [3, 4, 6, 9, 10, 7, 0],
            Self::V6 => [2, 3, 4, 5, 6, 7, 0],
            Self::V7 => [1, 2, 3, 4, 5, 6, 0],
            Self::V8 | Self::V9 | Self::V10 => [1, 2, 3, 4, 5, 6, 7],
        }
    }
}

/// Samples that are looked at: enough for a vote, few enough to cost nothing.
const SAMPLES_MAX: usize = 4_096;

/// No sample has as many attributes as would take this.
const ATTRIBUTE_BYTES_MAX: usize = 4_096;

/// What was seen so far.
#[derive(Default)]
struct Votes {
    until_v7: usize,
    from_v8: usize,
    v8: usize,
    from_v9: usize,
    until_v9: usize,
    v10: usize,
    samples: usize,
    /// Samples whose field 2 cannot be attributes, and those whose can.
    values_in_2: usize,
    attributes_in_2: usize,
}

/// The layout of a request without tables beside its profiles; the newest where nothing tells. `dictionary`: attributes and stacks as
/// layouts since V8 number them.
pub(super) fn layout(resources: &[&[u8]], dictionary: Option<[&[&[u8]]; 2]>) -> Result<Layout, IngestError> {
    let mut votes = Votes::default();
    let [attributes, stacks] = dictionary.unwrap_or_default();
    for entry in attributes {
        // a key as text, or as an index
        match Fields::of(entry).next()? {
            Some((1, Value::Bytes(_))) => votes.until_v7 += 1,
            Some((1, Value::Varint(_))) => votes.from_v8 += 1,
            _ => {}
        }
    }
    for entry in stacks {
        // locations, or what V7 has there: the unit of an attribute
        match Fields::of(entry).next()? {
            Some((1, Value::Bytes(_))) => votes.from_v8 += 1,
            Some((1, Value::Varint(_))) => votes.until_v7 += 1,
            _ => {}
        }
    }
    let mut tables_inside = false;
    for resource in resources {
        each(resource, 2, &mut |scope| {
            each(scope, 2, &mut |profile| {
                votes.profile(profile, dictionary.is_none(), attributes.len(), &mut tables_inside)
            })
        })?;
    }
    if dictionary.is_none() && tables_inside {
        return Ok(Layout::V5);
    }
    Ok(votes.outcome())
}

fn each<'a>(
    message: &'a [u8],
    wanted: u32,
    visit: &mut dyn FnMut(&'a [u8]) -> Result<(), IngestError>,
) -> Result<(), IngestError> {
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        if let (true, Value::Bytes(bytes)) = (field == wanted, value) {
            visit(bytes)?;
        }
    }
    Ok(())
}

impl Votes {
    fn profile(
        &mut self,
        profile: &[u8],
        alone: bool,
        attributes: usize,
        tables_inside: &mut bool,
    ) -> Result<(), IngestError> {
        if self.samples >= SAMPLES_MAX {
            return Ok(());
        }
        let mut fields = Fields::of(profile);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                // the string table, or what V7 calls its original payload's format
                (10, Value::Bytes(_)) if alone => *tables_inside = true,
                (1, Value::Bytes(kind)) => {
                    // temporality
                    let mut kind = Fields::of(kind);
                    while let Some((field, _)) = kind.next()? {
                        self.v8 += usize::from(field == 3);
                    }
                }
                (2, Value::Bytes(sample)) => self.sample(sample, attributes)?,
                (3, Value::Bytes(_)) | (5, Value::Varint(_)) | (6, Value::Bytes(_)) => self.until_v7 += 1,
                (3, Value::Fixed64(_)) | (5, Value::Bytes(_)) | (6, Value::Varint(_)) => self.from_v8 += 1,
                // a profile's ID, which the specification wants to be random; comments are rare and few
                (7, Value::Bytes(bytes)) if bytes.len() == 16 => self.from_v9 += 1,
                (7, Value::Bytes(_)) | (8, Value::Bytes(_)) | (9, Value::Varint(_)) | (12, _) => self.v8 += 1,
                (8, Value::Varint(_)) | (9, Value::Bytes(_)) => self.from_v9 += 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn sample(&mut self, sample: &[u8], attributes: usize) -> Result<(), IngestError> {
        if self.samples >= SAMPLES_MAX {
            return Ok(());
        }
        self.samples += 1;
        let (mut second, mut stamps, mut told) = (None, 0, false);
        let mut fields = Fields::of(sample);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (2, Value::Varint(_)) => (self.until_v7, told) = (self.until_v7 + 1, true),
                (2, Value::Bytes(packed)) => second = Some(packed),
                (3, Value::Bytes(_)) | (4, Value::Varint(_)) => (self.until_v9, told) = (self.until_v9 + 1, true),
                (3, Value::Varint(_)) | (4, Value::Bytes(_)) => (self.v10, told) = (self.v10 + 1, true),
                (5, Value::Varint(_)) | (6, _) => (self.until_v7, told) = (self.until_v7 + 1, true),
                (5, Value::Bytes(packed)) => stamps += packed.len() / 8,
                _ => {}
            }
        }
        let (false, Some(packed)) = (told, second) else { return Ok(()) };
        // Nothing but a stack, field 2 and perhaps times: values without attributes, or attributes of a sample whose
        // values are its times. The second needs times, and names of the table that differ.
        if packed.len() > ATTRIBUTE_BYTES_MAX {
            self.values_in_2 += 1;
            return Ok(());
        }
        let mut indices = Vec::new();
        super::wire::varints(Value::Bytes(packed), ATTRIBUTE_BYTES_MAX, &mut indices)?;
        let all_named = indices.iter().all(|&ix| ix != 0 && ix < attributes as u64);
        indices.sort_unstable();
        let differ = indices.windows(2).all(|pair| pair[0] != pair[1]);
        if stamps > 0 && all_named && differ {
            self.attributes_in_2 += 1
        } else {
            self.values_in_2 += 1
        }
        Ok(())
    }

    fn outcome(&self) -> Layout {
        if self.until_v7 > self.from_v8 {
            return Layout::V7;
        }
        let told = self.until_v9 + self.v10;
        let old = if told > 0 { self.until_v9 > self.v10 } else { self.values_in_2 > self.attributes_in_2 };
        match (old, self.v8 > self.from_v9) {
            (true, true) => Layout::V8,
            (true, false) => Layout::V9,
            (false, _) => Layout::V10,
        }
    }
}
