//! The decoders against a slow one, against each other, and against bytes that mean harm.

mod oracle;
mod random;

use super::decode::{Columns, decode_carefully};
use super::{Defect, DefectKind, Ids, Limits, Pprof, Scratch, decode, decode_message, encode, fast, gzip};
use oracle::Plain;
use random::{Random, Style};

/// The fast decoder alone.
fn fast(bytes: &[u8]) -> Option<Pprof> {
    let mut profile = fast::decode(bytes, &Limits::default(), &mut fast::Sizes::default())?;
    profile.symbols.strings.bytes = bytes.to_vec();
    Some(profile)
}

/// The careful decoder alone.
fn carefully(bytes: Vec<u8>, ids: Ids) -> Result<Pprof, Defect> {
    decode_carefully(bytes, ids, &Limits::default(), &mut Columns::default())
}

#[test]
fn an_ordinary_profile_takes_the_fast_way_and_comes_out_as_the_slow_decoder_reads_it() {
    for seed in 0..400 {
        let plain = Random::new(seed).profile();
        let bytes = plain.write(&mut Random::new(seed), &Style::ordinary());
        assert_eq!(Plain::read(&bytes).as_ref(), Some(&plain), "seed {seed}: the oracle disagrees with itself");
        let fast = fast(&bytes).unwrap_or_else(|| panic!("seed {seed}: the fast decoder gave up"));
        assert_eq!(Plain::of(&fast), plain, "seed {seed}");
    }
}

#[test]
fn any_order_any_packing_and_any_ids_give_the_same_columns() {
    for seed in 0..400 {
        let plain = Random::new(seed).profile();
        let mut random = Random::new(seed + 1_000_000);
        let style = Style::any(&mut random);
        let bytes = plain.write(&mut random, &style);
        let decoded = decode(&bytes, Ids::Unique, &Limits::default(), &mut Scratch::default());
        let decoded = decoded.unwrap_or_else(|defect| panic!("seed {seed}: {defect}"));
        assert_eq!(Plain::of(&decoded), plain, "seed {seed}");
    }
}

#[test]
fn what_the_fast_decoder_accepts_the_careful_one_reads_alike() {
    let (mut accepted, mut sound) = (0, 0);
    for seed in 0..3_000 {
        let mut random = Random::new(seed);
        let plain = random.profile();
        let style = if seed % 2 == 0 { Style::ordinary() } else { Style::any(&mut random) };
        let mut bytes = plain.write(&mut random, &style);
        for _ in 0..random.below(4) {
            random.damage(&mut bytes);
        }
        let careful = carefully(bytes.clone(), Ids::Sequential);
        let oracle = Plain::read(&bytes);
        match (fast(&bytes), &careful) {
            (Some(fast), Ok(careful)) => {
                accepted += 1;
                assert_eq!(format!("{fast:?}"), format!("{careful:?}"), "seed {seed}");
            }
            (Some(_), Err(defect)) => panic!("seed {seed}: fast accepts, careful says {defect}"),
            (None, _) => {}
        }
        if let Ok(careful) = &careful {
            sound += 1;
            let oracle = oracle.unwrap_or_else(|| panic!("seed {seed}: only the oracle refuses"));
            assert_eq!(Plain::of(careful), oracle, "seed {seed}");
        }
    }
    assert!(accepted > 500 && sound > accepted, "{accepted} accepted, {sound} sound");
}

#[test]
fn encoding_and_decoding_gives_the_same_bytes_again() {
    for seed in 0..300 {
        let plain = Random::new(seed).profile();
        let bytes = plain.write(&mut Random::new(seed), &Style::ordinary());
        let decoded = decode_message(bytes, Ids::Unique, &Limits::default(), &mut Scratch::default()).expect("sound");
        let once = encode(&decoded);
        let packed = gzip(&once);
        let again = decode(&packed, Ids::Sequential, &Limits::default(), &mut Scratch::default()).expect("our own");
        assert_eq!(Plain::of(&again), plain, "seed {seed}");
        assert_eq!(encode(&again), once, "seed {seed}");
    }
}

#[test]
fn a_scratch_that_has_seen_other_profiles_changes_nothing() {
    let mut scratch = Scratch::default();
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let plain = random.profile();
        let style = if seed % 3 == 0 { Style::any(&mut random) } else { Style::ordinary() };
        let mut bytes = plain.write(&mut random, &style);
        if seed % 5 == 0 {
            random.damage(&mut bytes);
        }
        let fresh = decode(&bytes, Ids::Unique, &Limits::default(), &mut Scratch::default());
        let reused = decode(&bytes, Ids::Unique, &Limits::default(), &mut scratch);
        assert_eq!(format!("{fresh:?}"), format!("{reused:?}"), "seed {seed}");
    }
}

#[test]
fn every_limit_is_kept_and_says_which_it_is() {
    let bytes = {
        let mut random = Random::new(7);
        let plain = random.profile_of(40);
        plain.write(&mut random, &Style::ordinary())
    };
    let limits = Limits::default();
    let check = |limits: Limits, words: &str| {
        let refused = decode(&bytes, Ids::Unique, &limits, &mut Scratch::default()).expect_err(words);
        assert_eq!((refused.kind, refused.what.contains(words)), (DefectKind::Limit, true), "{words}: {refused}");
    };
    check(Limits { unpacked_bytes: 100, ..limits }, "larger than 100 bytes");
    check(Limits { samples: 3, ..limits }, "more than 3 samples");
    check(Limits { locations: 3, ..limits }, "more than 3 locations");
    check(Limits { functions: 3, ..limits }, "more than 3 functions");
    check(Limits { mappings: 0, ..limits }, "more than 0 mappings");
    check(Limits { strings: 3, ..limits }, "more than 3 strings");
    check(Limits { string_bytes: 2, ..limits }, "longer than 2 bytes");
    check(Limits { stack_depth: 1, ..limits }, "sample 0 has more than 1 locations");
    check(Limits { sample_labels: 0, ..limits }, "labels, more than 0");
    check(Limits { sample_types: 0, ..limits }, "more than 0 sample types");
    check(Limits { lines: 3, ..limits }, "more than 3 lines");
    check(Limits { values: 3, ..limits }, "more than 3 values");
    check(Limits { frames: 7, ..limits }, "more than 7 locations in its samples");
    check(Limits { comments: 0, ..limits }, "more than 0 comments");
    check(Limits { labels: 2, ..limits }, "more than 2 labels");
}

#[test]
fn a_bomb_of_ten_gigabytes_is_refused_in_the_memory_of_the_limit() {
    // a gzip of zeros, its deflate block repeated: each copy is a member of 8 MiB
    let member = gzip(&vec![0; 8 << 20]);
    let mut bomb = Vec::new();
    for _ in 0..1_280 {
        bomb.extend_from_slice(&member);
    }
    let limits = Limits { unpacked_bytes: 32 << 20, ..Limits::default() };
    let refused = decode(&bomb, Ids::Unique, &limits, &mut Scratch::default()).expect_err("ten gigabytes");
    assert_eq!(refused.kind, DefectKind::Limit);
    assert!(refused.what.contains("larger than 33554432 bytes"), "{refused}");
    let zstd = zstd::bulk::compress(&vec![0; 64 << 20], 1).expect("compresses");
    let refused = decode(&zstd, Ids::Unique, &limits, &mut Scratch::default()).expect_err("a zstd bomb");
    assert_eq!(refused.kind, DefectKind::Limit);
}

#[test]
fn gzip_of_several_members_and_zstd_read_like_the_plain_bytes() {
    let mut random = Random::new(3);
    let plain = random.profile_of(30);
    let bytes = plain.write(&mut random, &Style::ordinary());
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    let members = [gzip(head), gzip(&[]), gzip(tail)].concat();
    let zstd = zstd::bulk::compress(&bytes, 3).expect("compresses");
    let frames = [zstd::bulk::compress(head, 3), zstd::bulk::compress(tail, 3)].map(|frame| frame.expect("compresses"));
    for packed in [&members, &zstd, &frames.concat(), &gzip(&bytes)] {
        let decoded = decode(packed, Ids::Sequential, &Limits::default(), &mut Scratch::default()).expect("sound");
        assert_eq!(Plain::of(&decoded), plain);
    }
}

#[test]
fn duplicate_and_zero_ids_are_refused_by_kind_and_row() {
    let mut random = Random::new(11);
    let mut plain = random.profile_of(10);
    plain.renumber = Some(vec![7, 7]);
    let bytes = plain.write(&mut random, &Style::ordinary());
    let refused = decode(&bytes, Ids::Unique, &Limits::default(), &mut Scratch::default()).expect_err("twice 7");
    assert!(refused.what.contains("repeats id 7"), "{refused}");
}
