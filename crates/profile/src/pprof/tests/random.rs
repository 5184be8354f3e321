//! Made-up profiles, ways to write them, and ways to spoil them: all a function of a seed.

use super::Plain;
use super::oracle::{PlainFunction, PlainLabel, PlainLine, PlainLocation, PlainMapping, PlainSample};

pub(super) struct Random(u64);

/// How the same profile may be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Top-level fields in any order (samples of one kind keep theirs).
    pub shuffle: bool,
    /// Ids that do not count from 1, some of them over 32 bits.
    pub ids: bool,
    /// Zero fields written out, fields in descending order, unknown fields between.
    pub odd_fields: bool,
    /// 0 packed, 1 unpacked, 2 as it comes.
    pub packing: u8,
}

impl Style {
    pub(super) fn ordinary() -> Self {
        Self { shuffle: false, ids: false, odd_fields: false, packing: 2 }
    }

    pub(super) fn any(random: &mut Random) -> Self {
        Self {
            shuffle: random.chance(2),
            ids: random.chance(2),
            odd_fields: random.chance(2),
            packing: random.below(3) as u8,
        }
    }
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// True once in `n`.
    pub(super) fn chance(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Any number of any length.
    fn number(&mut self) -> i64 {
        (self.next() >> self.below(64)) as i64
    }

    pub(super) fn profile(&mut self) -> Plain {
        // some have ids of three bytes
        let samples = match self.below(40) {
            0 => 0,
            1 => 400,
            _ => self.below(30),
        };
        self.profile_of(samples)
    }

    pub(super) fn profile_of(&mut self, samples: usize) -> Plain {
        let strings = if samples == 400 { 17_000 } else { 8 + self.below(300) };
        let string = |random: &mut Self| random.below(strings) as i64;
        let functions = 5 + self.below(200);
        let locations = if samples == 400 { 17_000 } else { 5 + self.below(200) };
        let mappings = 1 + self.below(3);
        let types = 1 + self.below(4);
        let mut plain = Plain {
            strings: (0..strings)
                .map(|ix| if ix == 0 { Vec::new() } else { format!("name-{ix}").into_bytes() })
                .collect(),
            sample_types: (0..types).map(|_| (string(self), string(self))).collect(),
            period_type: self.chance(2).then(|| (string(self), string(self))),
            period: self.number(),
            time: self.number(),
            duration: self.number(),
            comments: (0..self.below(3)).map(|_| string(self)).collect(),
            drop_frames: string(self),
            keep_frames: string(self),
            default_sample_type: string(self),
            doc_url: string(self),
            ..Plain::default()
        };
        for _ in 0..mappings {
            plain.mappings.push(PlainMapping {
                range: [self.next(), self.next(), self.number() as u64],
                file: string(self),
                build_id: string(self),
                flags: self.below(16) as u8,
            });
        }
        for _ in 0..functions {
            plain
                .functions
                .push(PlainFunction { strings: [string(self), string(self), string(self)], start_line: self.number() });
        }
        for _ in 0..locations {
            let lines = (0..[1, 1, 1, 0, 3][self.below(5)])
                .map(|_| PlainLine {
                    function: (!self.chance(9)).then(|| self.below(functions)),
                    line: self.number(),
                    column: if self.chance(3) { self.number() } else { 0 },
                })
                .collect();
            plain.locations.push(PlainLocation {
                mapping: (!self.chance(5)).then(|| self.below(mappings)),
                address: self.next() >> self.below(60),
                is_folded: self.chance(7),
                lines,
            });
        }
        let labelled = self.chance(2) || samples == 40;
        for nth in 0..samples {
            let depth = if nth == 0 { 5 } else { self.below(40) };
            let labels = if labelled && (nth == 0 || self.chance(2)) { 1 + self.below(3) } else { 0 };
            plain.samples.push(PlainSample {
                locations: (0..depth).map(|_| self.below(locations)).collect(),
                values: (0..types).map(|_| self.number()).collect(),
                labels: (0..labels)
                    .map(|_| {
                        let key = 1 + self.below(6) as i64;
                        match self.chance(2) {
                            true => PlainLabel { key, str: self.below(6) as i64, ..PlainLabel::default() },
                            false => {
                                PlainLabel { key, num: self.below(300) as i64 - 10, unit: self.below(3) as i64, str: 0 }
                            }
                        }
                    })
                    .collect(),
            });
        }
        plain
    }

    /// One small harm.
    pub(super) fn damage(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = self.below(bytes.len());
        match self.below(7) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.next() as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, self.next() as u8),
            4 => drop(bytes.remove(at)),
            5 => {
                let end = (at + self.below(40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = self.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            // a field that is known and out of place
            _ => drop(bytes.splice(at..at, [0x48, 0x01])),
        }
    }
}
