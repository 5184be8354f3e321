//! What must hold of any bytes. The fuzz targets and a test ask the same.

use ingest::{Batch, Dictionaries, IngestError, Limits, stamped_limits, v1};

/// Small, so that the limits are met too.
fn limits() -> Limits {
    Limits {
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
        ..stamped_limits()
    }
}

thread_local! {
    /// Of all messages so far; so small that it is often begun anew.
    static KNOWN: Dictionaries = Dictionaries::new(1 << 18);
}

/// Whether it was taken; then the batch must be sound and within the limits. What came before must make no difference.
fn sound(decode: impl Fn(&Dictionaries) -> Result<Batch, IngestError>) -> bool {
    let alone = decode(&Dictionaries::default());
    let among = KNOWN.with(&decode);
    let (Ok(alone), Ok(among)) = (&alone, &among) else {
        assert_eq!(
            alone.map(drop).map_err(|error| error.to_string()),
            among.map(drop).map_err(|error| error.to_string())
        );
        return false;
    };
    let [alone, among] = [alone, among].map(|batch| {
        batch.check().unwrap_or_else(|defect| panic!("{defect}"));
        let batch = batch.clone().without_dictionary();
        batch.check().unwrap_or_else(|defect| panic!("on its own: {defect}"));
        batch
    });
    let (symbols, same) = (&alone.symbols, &among.symbols);
    assert_eq!((&alone.stacks, &alone.samples.stack), (&among.stacks, &among.samples.stack));
    assert_eq!((&symbols.strings.bytes, &symbols.strings.spans), (&same.strings.bytes, &same.strings.spans));
    assert_eq!(
        (&symbols.functions, &symbols.lines, &symbols.locations),
        (&same.functions, &same.lines, &same.locations)
    );
    // ranges are those of the first to name a binary
    assert_eq!((&symbols.mappings.file, &symbols.mappings.build_id), (&same.mappings.file, &same.mappings.build_id));
    let limits = limits();
    assert!(alone.samples.stack.len() <= limits.samples && alone.stacks.locations.len() <= limits.frames);
    // what a symbol means comes on top of what was sent
    let strings = limits.strings + symbols.functions.len() + 1;
    assert!(symbols.locations.len() <= limits.locations && symbols.strings.len() <= strings);
    true
}

/// The IPC stream of `WriteArrow`.
pub fn write_arrow(bytes: &[u8]) -> bool {
    sound(|dictionaries| ingest::write_arrow(bytes, 1, &limits(), dictionaries))
}

/// Samples and locations as `v1::join` lays them out.
pub fn write_v1(bytes: &[u8]) -> bool {
    // the question is asked of the samples alone
    let _ = v1::ask(bytes.get(8..).unwrap_or_default(), &limits(), v1::nothing_known);
    sound(|dictionaries| {
        let mut sent = Vec::new();
        let taken = v1::write(bytes, 1, &limits(), dictionaries, Some(&mut sent));
        v1::Known::new(1 << 16).learn(1, &sent, 1).expect("our own list");
        taken
    })
}

/// Samples, locations and known stacks as `v1::join_with_known` lays them out; the last eighth of the bytes is a list too.
pub fn write_v1_known(bytes: &[u8]) -> bool {
    let _ = v1::Known::new(1 << 16).learn(1, &bytes[bytes.len() - bytes.len() / 8..], 1);
    sound(|dictionaries| v1::write_with_known(bytes, 1, &limits(), dictionaries, None))
}

/// An export request.
pub fn otlp(bytes: &[u8]) -> bool {
    sound(|dictionaries| ingest::otlp(bytes, 1, &limits(), dictionaries).map(|otlp| otlp.batch))
}

/// A block of a Parca's bucket. Whether something of it was read.
pub fn parca_block(bytes: &[u8]) -> bool {
    let file = Held(bytes);
    let Ok(mut reader) = ingest::BlockReader::open(&file) else { return false };
    let rows = reader.rows();
    // a footer may claim any number of rows, and each row that is not there takes a step
    if rows > 100_000 {
        return false;
    }
    let (mut read, mut kept, mut gaps) = (0, 0, Vec::new());
    loop {
        let piece = match reader.next_piece() {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(defect) => {
                assert_eq!(defect.kind, ingest::BlockDefect::Unknown, "it is in memory");
                assert_eq!(reader.next_piece().err(), Some(defect), "there it ends");
                return kept > 0;
            }
        };
        piece.batch.check().unwrap_or_else(|defect| panic!("{defect}"));
        read += piece.rows;
        kept += piece.batch.samples.stack.len() as u64;
        assert!(piece.rows > 0 && kept + piece.left_out <= read);
        let within =
            |gap: &std::ops::Range<u64>| read - piece.rows <= gap.start && gap.start < gap.end && gap.end <= read;
        assert!(piece.gaps.iter().all(within) && piece.gaps.is_sorted_by(|a, b| a.end <= b.start), "{:?}", piece.gaps);
        assert_eq!(piece.gaps.iter().map(|gap| gap.end - gap.start).sum::<u64>(), piece.left_out);
        gaps.extend(piece.gaps);
    }
    assert_eq!(read, rows, "every row is accounted for");
    // what was too much beside others may be read alone; what is broken is broken still
    for gap in gaps.iter().take(20) {
        let mut again = 0;
        let mut piece = reader.only(gap.clone()).and_then(|()| reader.next_piece());
        while let Ok(Some(read)) = piece {
            read.batch.check().unwrap_or_else(|defect| panic!("{defect}"));
            assert!(read.rows > 0 && read.left_out == 0 && read.gaps.is_empty());
            again += read.rows;
            piece = reader.next_piece();
        }
        assert!(again <= gap.end - gap.start && (piece.is_err() || again == gap.end - gap.start), "{again} of {gap:?}");
    }
    kept > 0
}

struct Held<'b>(&'b [u8]);

impl ingest::BlockFile for Held<'_> {
    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: std::ops::Range<u64>) -> Result<Vec<u8>, String> {
        let range = range.start as usize..range.end as usize;
        self.0.get(range).map(<[u8]>::to_vec).ok_or_else(|| "past the end".to_owned())
    }
}
