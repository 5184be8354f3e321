//! Round trips as Go's own tool sees them.

use std::path::Path;
use std::process::Command;

use profile::pprof::{Ids, Limits, Scratch, decode, encode, gzip};

/// Real and made-up profiles: CPU, heap, mutex, labels, inlining, several binaries, mangled and Unicode names.
const PROFILES: [&str; 12] = [
    "cpu_web_a_00.pb.gz",
    "heap_web_00.pb.gz",
    "mutex_web.pb.gz",
    "goroutine_web.pb.gz",
    "self_cpu.pb.gz",
    "self_heap.pb.gz",
    "synth_labels.pb.gz",
    "synth_inlined.pb.gz",
    "synth_mappings.pb.gz",
    "synth_unicode.pb.gz",
    "synth_deep.pb.gz",
    "synth_zero.pb.gz",
];

/// Everything that Go's pprof knows of a profile, as text. Without the tool the test fails: to skip it would be to pass it.
fn raw(file: &Path) -> String {
    let pprof = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/pprof");
    assert!(pprof.exists(), "there is no {}: build it with `scripts/need tools`", pprof.display());
    let output = Command::new(pprof).args(["-symbolize=none", "-raw"]).arg(file).output().expect("pprof runs");
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn gos_pprof_reads_from_an_export_what_it_reads_from_the_original() {
    let directory = std::env::temp_dir().join(format!("go-pprof-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    for file in super::files("testdata/conformance/inputs", ".pb.gz") {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        if !PROFILES.contains(&name.as_str()) {
            continue;
        }
        let original = std::fs::read(&file).expect("a profile");
        let profile = decode(&original, Ids::Unique, &Limits::default(), &mut Scratch::default()).expect("sound");
        let export = directory.join(&name);
        std::fs::write(&export, gzip(&encode(&profile))).expect("room for an export");
        let (before, after) = (raw(&file), raw(&export));
        assert!(before.len() > 50, "{name}: {before}");
        assert_eq!(before, after, "{name}");
    }
    std::fs::remove_dir_all(&directory).expect("ours to remove");
}
