//! The samples of one profile as a run of bytes: sorted by stack, so that stacks become small gaps.
//!
//! ```text
//! run    := flags, scale{1..width}, sample*
//! flags  := 1 byte; bit 0: samples carry label sets, bit 1: samples carry times
//! scale  := 0 | 1 zigzag          for each sample type but the first; 1: its values are first value * scale
//! sample := gap, [label set], [zigzag (time - profile time)], value
//! value  := zigzag of the first sample type, then of each that has no scale
//! ```
//!
//! All numbers are LEB128. Products and differences wrap, so every `i64` comes back exactly.

const HAS_LABELS: u8 = 1;
const HAS_TIMES: u8 = 2;

/// One sample to pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unpacked {
    pub(crate) stack: u32,
    pub(crate) label_set: u32,
    /// ns since the epoch
    pub(crate) time: i64,
    /// Row in the values handed to [`pack`].
    pub(crate) row: u32,
}

#[inline(always)]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline(always)]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[inline(always)]
fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The scale that gives the values of sample type `value` from those of the first, if there is one.
pub(crate) fn scale_of(values: &[i64], width: usize, value: usize) -> Option<i64> {
    let mut scale = None;
    for row in values.chunks_exact(width) {
        let (first, this) = (row[0], row[value]);
        let scale = match scale {
            Some(scale) => scale,
            None if first == 0 && this == 0 => continue,
            None => *scale.insert(this.checked_div(first)?),
        };
        if first.wrapping_mul(scale) != this {
            return None;
        }
    }
    Some(scale.unwrap_or(0))
}

/// Appends the run of `samples`, which are sorted, to `out`. `values` holds `width` values per row.
pub(crate) fn pack(out: &mut Vec<u8>, samples: &[Unpacked], values: &[i64], width: usize, profile_time: i64) {
    let has_labels = samples.iter().any(|sample| sample.label_set != 0);
    let has_times = samples.iter().any(|sample| sample.time != profile_time);
    out.push(if has_labels { HAS_LABELS } else { 0 } | if has_times { HAS_TIMES } else { 0 });
    let mut stored = vec![0];
    for value in 1..width {
        match scale_of(values, width, value) {
            Some(scale) => {
                put(out, 1);
                put(out, zigzag(scale));
            }
            None => {
                put(out, 0);
                stored.push(value);
            }
        }
    }
    let mut last = 0;
    for sample in samples {
        put(out, u64::from(sample.stack - last));
        last = sample.stack;
        if has_labels {
            put(out, u64::from(sample.label_set));
        }
        if has_times {
            put(out, zigzag(sample.time.wrapping_sub(profile_time)));
        }
        let row = &values[sample.row as usize * width..][..width];
        for &value in &stored {
            put(out, zigzag(row[value]));
        }
    }
}

/// Reads one run. The bytes were written by [`pack`] in this process and are trusted to be whole.
pub(crate) struct Run<'a> {
    bytes: &'a [u8],
    at: usize,
    has_labels: bool,
    has_times: bool,
    profile_time: i64,
    /// Per sample type the scale, or `None` where its values are stored. Never empty.
    pub(crate) scales: Vec<Option<i64>>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(bytes: &'a [u8], width: usize, profile_time: i64) -> Self {
        let flags = bytes[0];
        let mut run = Run {
            bytes,
            at: 1,
            has_labels: flags & HAS_LABELS != 0,
            has_times: flags & HAS_TIMES != 0,
            profile_time,
            scales: vec![None],
        };
        for _ in 1..width {
            let scale = (run.next() == 1).then(|| unzigzag(run.next()));
            run.scales.push(scale);
        }
        run
    }

    #[inline(always)]
    fn next(&mut self) -> u64 {
        let byte = self.bytes[self.at];
        self.at += 1;
        if byte < 0x80 { u64::from(byte) } else { self.next_long(u64::from(byte & 0x7f)) }
    }

    #[inline]
    fn next_long(&mut self, mut value: u64) -> u64 {
        let mut shift = 7;
        loop {
            let byte = self.bytes[self.at];
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
            shift += 7;
        }
    }

    fn stored(&self) -> usize {
        self.scales.iter().filter(|scale| scale.is_none()).count()
    }

    /// Which stored value, and by what to multiply it, gives sample type `value`.
    fn source(&self, value: usize) -> (usize, i64) {
        match self.scales[value] {
            Some(scale) => (0, scale),
            None => (self.scales[..value].iter().filter(|scale| scale.is_none()).count(), 1),
        }
    }

    /// Calls `each(stack, label set, time, value)` for all `samples` of the run, for one sample type.
    #[inline]
    pub(crate) fn each(mut self, samples: u32, value: usize, mut each: impl FnMut(u32, u32, i64, i64)) {
        let (source, scale) = self.source(value);
        let stored = self.stored();
        let time = self.profile_time;
        let mut stack = 0u32;
        if !self.has_labels && !self.has_times && stored == 1 {
            for _ in 0..samples {
                stack = stack.wrapping_add(self.next() as u32);
                let value = unzigzag(self.next()).wrapping_mul(scale);
                each(stack, 0, time, value);
            }
            return;
        }
        for _ in 0..samples {
            stack = stack.wrapping_add(self.next() as u32);
            let label_set = if self.has_labels { self.next() as u32 } else { 0 };
            let time = if self.has_times { time.wrapping_add(unzigzag(self.next())) } else { time };
            let mut picked = 0;
            for ix in 0..stored {
                let raw = self.next();
                if ix == source {
                    picked = raw;
                }
            }
            each(stack, label_set, time, unzigzag(picked).wrapping_mul(scale));
        }
    }

    /// Calls `each(stack, label set, time, all values)` for all `samples` of the run.
    pub(crate) fn each_row(mut self, samples: u32, mut each: impl FnMut(u32, u32, i64, &[i64])) {
        let scales = std::mem::take(&mut self.scales);
        let mut row = vec![0i64; scales.len()];
        let mut stack = 0u32;
        for _ in 0..samples {
            stack = stack.wrapping_add(self.next() as u32);
            let label_set = if self.has_labels { self.next() as u32 } else { 0 };
            let time = match self.has_times {
                true => self.profile_time.wrapping_add(unzigzag(self.next())),
                false => self.profile_time,
            };
            for (ix, scale) in scales.iter().enumerate() {
                row[ix] = match scale {
                    Some(scale) => row[0].wrapping_mul(*scale),
                    None => unzigzag(self.next()),
                };
            }
            each(stack, label_set, time, &row);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = i64> {
        prop_oneof![Just(0), Just(i64::MIN), Just(i64::MAX), -3..3i64, any::<i64>()]
    }

    proptest! {
        #[test]
        fn every_sample_comes_back_as_it_was_packed(
            width in 1..4usize,
            raw in prop::collection::vec((0..50u32, 0..3u32, value(), [value(), value(), value()]), 0..40),
            scale in prop::option::of(value()),
            profile_time in value(),
            stamped: bool,
            labelled: bool,
        ) {
            let mut values = Vec::new();
            let mut samples = Vec::new();
            for (row, (stack, label_set, time, three)) in raw.iter().enumerate() {
                let mut three = *three;
                if let Some(scale) = scale {
                    three[1] = three[0].wrapping_mul(scale);
                }
                values.extend_from_slice(&three[..width]);
                samples.push(Unpacked {
                    stack: *stack,
                    label_set: if labelled { *label_set } else { 0 },
                    time: if stamped { *time } else { profile_time },
                    row: row as u32,
                });
            }
            samples.sort_unstable();
            let mut bytes = Vec::new();
            pack(&mut bytes, &samples, &values, width, profile_time);
            let expected: Vec<_> = samples
                .iter()
                .map(|s| (s.stack, s.label_set, s.time, values[s.row as usize * width..][..width].to_vec()))
                .collect();
            let mut got = Vec::new();
            Run::new(&bytes, width, profile_time).each_row(samples.len() as u32, |stack, set, time, row| {
                got.push((stack, set, time, row.to_vec()));
            });
            prop_assert_eq!(&got, &expected);
            for value in 0..width {
                let mut got = Vec::new();
                Run::new(&bytes, width, profile_time).each(samples.len() as u32, value, |stack, set, time, v| {
                    got.push((stack, set, time, v));
                });
                let expected: Vec<_> = expected.iter().map(|(a, b, c, row)| (*a, *b, *c, row[value])).collect();
                prop_assert_eq!(got, expected);
            }
        }
    }
}
