//! The crate from outside: recorded cases of Go's own `regexp`, and properties.

mod hostile;
mod vectors;
