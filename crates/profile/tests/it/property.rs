//! What must hold of any bytes. The fuzz target and a test ask the same.

use profile::pprof::{Ids, Limits, Scratch, decode, encode, gzip};

/// Small, so that the limits are met too.
const LIMITS: Limits = Limits {
    unpacked_bytes: 1 << 20,
    samples: 1_000,
    values: 4_000,
    frames: 20_000,
    labels: 2_000,
    locations: 1_000,
    lines: 2_000,
    functions: 1_000,
    mappings: 100,
    strings: 2_000,
    string_bytes: 1_000,
    stack_depth: 200,
    sample_labels: 20,
    sample_types: 10,
    comments: 100,
};

/// Decodes; what is sound must come back from an export as it was. Whether it was sound.
pub fn holds(bytes: &[u8]) -> bool {
    let mut scratch = Scratch::default();
    let strict = decode(bytes, Ids::Sequential, &LIMITS, &mut scratch);
    let Ok(profile) = decode(bytes, Ids::Unique, &LIMITS, &mut scratch) else {
        assert!(strict.is_err(), "what has sequential ids has unique ones");
        return false;
    };
    let written = encode(&profile);
    let again = decode(&gzip(&written), Ids::Sequential, &Limits::default(), &mut scratch).expect("our own export");
    assert_eq!(encode(&again), written);
    let (strings, exported) = (&profile.symbols.strings, &again.symbols.strings);
    assert_eq!(strings.len(), exported.len());
    assert!((0..strings.len() as u32).all(|ix| strings.get(ix) == exported.get(ix)));
    assert_eq!(profile.symbols.mappings, again.symbols.mappings);
    assert_eq!(profile.symbols.functions, again.symbols.functions);
    assert_eq!(profile.symbols.lines, again.symbols.lines);
    assert_eq!(profile.symbols.locations, again.symbols.locations);
    assert_eq!((&profile.stacks, &profile.values), (&again.stacks, &again.values));
    assert_eq!((&profile.label_set, &profile.label_sets), (&again.label_set, &again.label_sets));
    assert_eq!((profile.time, profile.duration, profile.period), (again.time, again.duration, again.period));
    assert_eq!((profile.sample_types, profile.period_type), (again.sample_types, again.period_type));
    assert_eq!(profile.extras, again.extras);
    true
}
