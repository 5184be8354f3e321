//! Compiles `proto/` to Rust without protoc, keeps the descriptors for reflection and the REST gateway, and
//! lists the built UI for embedding.

use std::error::Error;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The files with services. What they import is compiled with them.
const SERVICES: [&str; 8] = [
    "parca/query/v1alpha1/query.proto",
    "parca/profilestore/v1alpha1/profilestore.proto",
    "parca/scrape/v1alpha1/scrape.proto",
    "parca/debuginfo/v1alpha1/debuginfo.proto",
    "parca/telemetry/v1alpha1/telemetry.proto",
    "parca/metastore/v1alpha1/metastore.proto",
    "parca/share/v1alpha1/share.proto",
    "opentelemetry/proto/collector/profiles/v1development/profiles_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    compile_proto(&root.join("proto"), &out)?;
    embed_ui(&root.join("ui/dist"), &out)?;
    Ok(())
}

fn compile_proto(proto: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", proto.display());
    let mut compiler = protox::Compiler::new([proto])?;
    compiler.include_imports(true).include_source_info(true).open_files(SERVICES)?;
    // encoded by protox itself, which keeps the HTTP options that prost_types would drop
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    let mut generated = compiler.file_descriptor_set();
    // the options' own types: read from the descriptors, never as Rust types
    generated.file.retain(|file| file.package() != "google.api");
    // Messages need no `Clone`-per-byte: a raw profile is a slice of the request's buffer.
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]);
    tonic_prost_build::configure()
        .build_client(false)
        // nests as deep as a stack: written in one pass instead
        .extern_path(".parca.query.v1alpha1.FlamegraphRootNode", "crate::encoded::Encoded")
        // has many small parts
        .extern_path(".parca.query.v1alpha1.Callgraph", "crate::encoded::Encoded")
        .out_dir(out)
        .include_file("generated.rs")
        .compile_fds_with_config(generated, config)?;
    Ok(())
}

/// Writes `assets.rs`: a table of the files below `dist` by path, empty when the UI has not been built.
fn embed_ui(dist: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    // cargo watches only what exists; a folder that is missing would mean a rebuild every time
    fs::create_dir_all(dist)?;
    let dist = dist.canonicalize()?;
    println!("cargo::rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    collect(&dist, &mut files)?;
    if files.is_empty() {
        println!("cargo::warning=ui/dist is empty: the server is built without its user interface");
    }
    files.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    let mut table = String::from("static ASSETS: &[Asset] = &[\n");
    for file in &files {
        let path = file.strip_prefix(&dist)?.to_str().ok_or("a file name in ui/dist is not UTF-8")?;
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or("");
        if matches!(extension, "br" | "gz") {
            continue;
        }
        let mut hasher = DefaultHasher::new();
        fs::read(file)?.hash(&mut hasher);
        let etag = format!("\"{:016x}\"", hasher.finish());
        let compressed = |suffix: &str| {
            let beside = dist.join(format!("{path}.{suffix}"));
            if beside.is_file() { format!("Some(include_bytes!({beside:?}))") } else { "None".to_owned() }
        };
        writeln!(
            table,
            "Asset {{ path: {path:?}, content_type: {:?}, etag: {etag:?}, plain: include_bytes!({file:?}), \
             brotli: {}, gzip: {} }},",
            content_type(extension),
            compressed("br"),
            compressed("gz"),
        )?;
    }
    table.push_str("];\n");
    fs::write(out.join("assets.rs"), table)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn content_type(extension: &str) -> &'static str {
    match extension {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}
