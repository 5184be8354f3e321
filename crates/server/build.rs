//! Compiles `proto/` to Rust without protoc, keeps the descriptors for reflection and the REST gateway, and
//! lists the built UI for embedding.

use std::error::Error;
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
        .out_dir(out)
        .include_file("generated.rs")
        .compile_fds_with_config(generated, config)?;
    Ok(())
}
