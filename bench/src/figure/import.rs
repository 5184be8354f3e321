//! A Parca's bucket into blocks of ours: in process, and by the built binary for its memory.

use std::process::{Command, Stdio};
use std::time::Duration;

use import::{Importer, parca};
use store::{MemoryObjects, Objects};

use crate::corpus;
use crate::fixture::Stored;
use crate::measure::{Bar, in_process, line, mb_per_second, medians, on_thread};
use crate::parca::{Block, block, read_all};
use crate::process::Server;

const PROFILES: usize = 200;

/// Blocks that the binary imports.
const BLOCKS: usize = 12;

const MB: f64 = 1e6;

fn name(number: usize) -> String {
    format!("{}/01M84B9R9HDCD5AVG83YRS{number:04}/data.parquet", parca::FOLDER)
}

pub fn run() {
    println!("import: a block as Parca writes it, fleet:{PROFILES}, process CPU");
    let block = block(corpus::fleet(PROFILES));
    let bucket = MemoryObjects::default();
    bucket.create(&name(0), &block.bytes).expect("a bucket in memory");
    let found = parca::find(&bucket).expect("a listing");
    let [imported, dry, peer] = medians([
        &mut || {
            let stored = Stored::open();
            in_process(|| {
                let mut importer = Importer::new(Some(&stored.store), |_| {});
                importer.blocks(&bucket, &found).expect("a disk that takes it");
                let report = importer.finish().expect("a disk that takes it");
                assert!(report.is_whole() && report.samples() == block.rows as u64);
            })
        },
        &mut || {
            in_process(|| {
                let mut importer = Importer::new(None, |_| {});
                importer.blocks(&bucket, &found).expect("nothing is written");
                assert_eq!(importer.finish().expect("nothing is written").samples(), block.rows as u64);
            })
        },
        &mut || on_thread(|| read_all(&block)),
    ]);
    let rate = |time: Duration| block.rows as f64 / 1e6 / time.as_secs_f64();
    line("read, and counted by type", rate(dry), "Mrows/CPU-s", Bar::None);
    line("read, and in blocks of ours", rate(imported), "Mrows/CPU-s", Bar::None);
    line("the same in bytes of Parquet", mb_per_second(block.bytes.len(), imported), "MB/CPU-s", Bar::None);
    line("all values by the parquet crate / read", peer.as_secs_f64() / dry.as_secs_f64(), "x", Bar::None);
    match Server::binary() {
        Ok(binary) => memory(&binary, &block),
        Err(missing) => println!("  memory not taken: {missing}"),
    }
}

/// The peak of the process that imports a bucket of many such blocks.
fn memory(binary: &std::path::Path, block: &Block) {
    let directory = tempfile::tempdir().expect("a directory");
    let config = "object_storage:\n  bucket:\n    type: FILESYSTEM\n    config:\n      directory: ./data\n";
    std::fs::write(directory.path().join("parca.yaml"), config).expect("a configuration");
    for number in 0..BLOCKS {
        let path = directory.path().join("old").join(name(number));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, &block.bytes).expect("a block");
    }
    let mut child = Command::new(binary)
        .args(["import", "old"])
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let field = status.lines().find(|line| line.starts_with("VmHWM"));
        let kib = field.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(5));
    }
    line(&format!("peak RSS, {} Mrows", BLOCKS * block.rows / 1_000_000), peak as f64 / MB, "MB", Bar::AtMost(300.0));
}
