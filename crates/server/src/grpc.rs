//! The common front of all RPCs, however they come in.

pub(crate) mod lease;
pub(crate) mod method;
pub(crate) mod observe;
pub(crate) mod reflection;
pub(crate) mod stack;
pub(crate) mod unimplemented;
pub(crate) mod web;
