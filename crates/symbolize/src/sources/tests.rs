use std::path::Path;

use bucket::{Options, Provider};
use store::Budget;

use super::*;

/// Entries of an archive: kind, name, content.
fn archive(entries: &[(u8, &str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (kind, name, content) in entries {
        tar.extend(header(*kind, name.as_bytes(), b"", content.len()));
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn header(kind: u8, name: &[u8], prefix: &[u8], size: usize) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name);
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[148..156].copy_from_slice(b"        ");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[345..345 + prefix.len()].copy_from_slice(prefix);
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).expect("memory")
}

const BUILD_ID: &str = "0123abcd";

struct Rig {
    sources: Sources,
    bucket: Bucket,
    _directory: tempfile::TempDir,
}

impl Rig {
    fn new(options: SourceOptions, memory: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let provider = Provider::Filesystem { directory: directory.path().display().to_string() };
        let place = Options { prefix: String::new(), provider };
        let bucket = Bucket::connect(&place, bucket::Metrics::unregistered("test")).expect("a bucket");
        let memory = Budget::new(memory).account("sources", memory);
        Self { sources: Sources::new(bucket.clone(), options, memory), bucket, _directory: directory }
    }

    async fn with(packed: Vec<u8>) -> Self {
        let rig = Self::new(SourceOptions::default(), 1 << 30);
        rig.put(packed).await;
        rig
    }

    async fn put(&self, packed: Vec<u8>) {
        let name = object_name(&BuildId::parse(BUILD_ID).expect("a build ID"), DebuginfoType::Sources);
        self.bucket.create(&name, packed.into()).await.expect("room");
    }

    async fn find(&self, filename: &str) -> Result<Option<Vec<u8>>, SourceError> {
        self.sources.find(BUILD_ID, filename, &|| true).await
    }
}

#[tokio::test]
async fn a_file_is_found_by_its_name_with_or_without_a_slash_in_front() {
    let files: &[(u8, &str, &[u8])] = &[
        (b'5', "src", b""),
        (b'0', "./src/first.c", b"int first;\n"),
        (b'0', "/src/second.c", &[b'x'; 512]),
        (0, "src/old.c", b"an archive of before 1988"),
        (b'0', "src/empty.c", b""),
        (b'2', "src/link.c", b""),
    ];
    for packed in [gzip(&archive(files)), zstd(&archive(files))] {
        let rig = Rig::with(packed).await;
        for name in ["src/first.c", "/src/first.c", "./src/first.c"] {
            assert_eq!(rig.find(name).await.expect("an archive").expect("a file"), b"int first;\n", "{name}");
        }
        assert_eq!(rig.find("src/second.c").await.expect("an archive").expect("a file"), [b'x'; 512]);
        assert!(rig.find("src/old.c").await.expect("an archive").is_some());
        assert_eq!(rig.find("src/empty.c").await.expect("an archive"), Some(Vec::new()));
        for name in ["first.c", "src", "src/link.c", "", "//src/first.c"] {
            assert_eq!(rig.find(name).await.expect("an archive"), None, "{name}");
        }
    }
}

#[tokio::test]
async fn names_too_long_for_a_header_are_read_from_where_they_are() {
    let long = "d/".repeat(120) + "long.go";
    let pax = format!("path={long}\n");
    let pax = format!("{} {pax}", pax.len() + 4);
    let mut tar = archive(&[
        (b'g', "global", b"18 comment=nothing\n"),
        (b'x', "pax", pax.as_bytes()),
        (b'0', "shortened", b"by pax"),
        (b'L', "././@LongLink", format!("{long}.gnu\0").as_bytes()),
        (b'0', "shortened", b"by GNU"),
    ]);
    tar.truncate(tar.len() - 1024);
    tar.extend(header(b'0', b"third.go", b"a/long/way/down", 5));
    tar.extend_from_slice(b"ustar");
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    let rig = Rig::with(gzip(&tar)).await;
    for (name, content) in
        [(long.clone(), "by pax"), (long + ".gnu", "by GNU"), ("a/long/way/down/third.go".into(), "ustar")]
    {
        assert_eq!(rig.find(&name).await.expect("an archive").expect("a file"), content.as_bytes(), "{name}");
    }
    assert_eq!(rig.find("shortened").await.expect("an archive"), None);
}

#[tokio::test]
async fn an_archive_larger_than_a_piece_is_read_piece_by_piece() {
    // bytes that do not shrink
    let mut state = 1u32;
    let noise: Vec<u8> = (0..3 << 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let tar = archive(&[(b'0', "noise", &noise), (b'0', "wanted.c", b"found")]);
    for packed in [gzip(&tar), zstd(&tar)] {
        assert!(packed.len() as u64 > 2 * PIECE_BYTES);
        let rig = Rig::with(packed).await;
        assert_eq!(rig.find("wanted.c").await.expect("an archive").expect("a file"), b"found");
        assert!(rig.find("noise").await.expect("an archive").expect("a file") == noise);
        let asked = std::sync::atomic::AtomicU32::new(0);
        let go_on = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 1;
        let given_up = rig.sources.find(BUILD_ID, "wanted.c", &go_on).await;
        assert!(matches!(given_up, Err(SourceError::GivenUp)));
    }
}

#[tokio::test]
async fn without_sources_there_is_no_file() {
    let rig = Rig::new(SourceOptions::default(), 1 << 30);
    assert_eq!(rig.find("a.c").await.expect("a bucket"), None);
    for id in ["", "x", "../../escaped", BUILD_ID] {
        assert!(!rig.sources.exist(id).await.expect("a bucket"), "{id}");
        assert_eq!(rig.sources.find(id, "a.c", &|| true).await.expect("a bucket"), None, "{id}");
    }
    rig.put(gzip(&archive(&[]))).await;
    assert!(rig.sources.exist(BUILD_ID).await.expect("a bucket"));
    assert_eq!(rig.find("a.c").await.expect("an archive"), None);
}

#[tokio::test]
async fn what_is_no_archive_says_so() {
    let good = archive(&[(b'0', "a.c", b"content"), (b'0', "b.c", b"more")]);
    let mut wrong_sum = good.clone();
    wrong_sum[0] ^= 1;
    let mut broken = gzip(&good);
    let half = broken.len() / 2;
    broken[half] ^= 0xff;
    let cases: &[(Vec<u8>, &str)] = &[
        (Vec::new(), "empty"),
        (good.clone(), "neither with gzip nor with zstd"),
        (gzip(&wrong_sum), "checksum"),
        (gzip(&good[..512 + 100]), "in the middle of a file"),
        (gzip(&[b'x'; 700]), "no checksum"),
        (zstd(&archive(&[(b'x', "pax", b"99 path=x\n")])), "pax"),
        (broken, ""),
    ];
    for (packed, what) in cases {
        let rig = Rig::with(packed.clone()).await;
        match rig.find("z.c").await {
            Err(SourceError::Unreadable(text)) => assert!(text.contains(what), "{text}: {what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_archive_cut_off_anywhere_is_an_error_or_gives_the_file_whole() {
    let tar = archive(&[(b'0', "a.c", b"content"), (b'0', "b.c", &[7; 900])]);
    for packed in [gzip(&tar), zstd(&tar)] {
        for length in 0..packed.len() {
            let rig = Rig::with(packed[..length].to_vec()).await;
            match rig.find("b.c").await {
                Ok(found) => assert!(found.is_none_or(|found| found == [7; 900])),
                Err(error) => assert!(matches!(error, SourceError::Unreadable(_)), "{error}"),
            }
        }
    }
}

#[tokio::test]
async fn size_and_memory_have_bounds() {
    let options = SourceOptions { file_bytes_max: 1_000, archive_bytes_max: 100_000 };
    let rig = Rig::new(options, 1 << 30);
    let bomb = vec![0; 200_000];
    rig.put(gzip(&archive(&[
        (b'0', "large.c", &[1; 1_001]),
        (b'0', "a.c", b"a"),
        (b'0', "bomb", &bomb),
        (b'0', "b.c", b"b"),
    ])))
    .await;
    let error = rig.find("large.c").await.expect_err("too large");
    assert!(error.to_string().contains("1001 bytes"), "{error}");
    assert_eq!(rig.find("a.c").await.expect("an archive").expect("a file"), b"a", "a large neighbour is no reason");
    let error = rig.find("b.c").await.expect_err("a bomb in front");
    assert!(error.to_string().contains("more than 100000 bytes"), "{error}");

    let rig = Rig::new(SourceOptions::default(), READING_BYTES + 10);
    rig.put(gzip(&archive(&[(b'0', "a.c", b"0123456789"), (b'0', "b.c", b"01234567890")]))).await;
    assert!(rig.find("a.c").await.expect("room").is_some());
    assert!(matches!(rig.find("b.c").await, Err(SourceError::Store(_))), "no room");
    assert!(rig.find("a.c").await.expect("room again").is_some());
}

#[tokio::test]
async fn the_archive_of_the_recordings_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/conformance/inputs/sources_demo.tar.gz");
    let rig = Rig::with(std::fs::read(path).expect("the recordings")).await;
    let text = rig.find("/src/demo/demo.c").await.expect("an archive").expect("a file");
    assert!(String::from_utf8(text).expect("UTF-8").contains("int main("));
}
