//! Heap profiles of this process, in builds with jemalloc.

use server::HeapProfiler;

/// `None` in a build without jemalloc.
#[cfg(feature = "jemalloc")]
pub fn profiler() -> Option<HeapProfiler> {
    let control = jemalloc_pprof::PROF_CTL.as_ref()?.clone();
    Some(std::sync::Arc::new(move || control.blocking_lock().dump_pprof().map_err(|error| error.to_string())))
}

#[cfg(not(feature = "jemalloc"))]
pub fn profiler() -> Option<HeapProfiler> {
    None
}

/// jemalloc reads its settings before `main`: sample one allocation in 512 KiB, and a symbol that it looks for.
#[cfg(feature = "jemalloc")]
#[allow(unsafe_code, reason = "jemalloc finds its settings by this symbol's name; it is a constant string")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8] = b"prof:true,prof_active:true,lg_prof_sample:19\0";
