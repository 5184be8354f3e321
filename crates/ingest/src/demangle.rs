//! Names as people read them, of the names that linkers see.
//!
//! As Parca's mode `simple`: C++ without parameters and template arguments, Rust without its hash. What is not mangled, or
//! mangled in a way that nobody knows, stays as it is.

use std::borrow::Cow;
use std::fmt::{self, Write};

use cpp_demangle::{BorrowedSymbol, DemangleNodeType, DemangleOptions, DemangleWrite};

/// Bytes of a name. Substitutions let a short C++ symbol stand for gigabytes.
const NAME_BYTES_MAX: usize = 4_096;
/// Of a mangled name that is worth a try.
const SYMBOL_BYTES_MAX: usize = 16_384;

/// `symbol` where it is not mangled.
pub(crate) fn demangled(symbol: &[u8]) -> Cow<'_, [u8]> {
    let mangled = [&b"_Z"[..], b"__Z", b"_R", b"__R"].iter().any(|prefix| symbol.starts_with(prefix));
    if !mangled || symbol.len() > SYMBOL_BYTES_MAX {
        return Cow::Borrowed(symbol);
    }
    let Ok(text) = std::str::from_utf8(symbol) else { return Cow::Borrowed(symbol) };
    let name = rust(text).or_else(|| cpp(symbol));
    name.map_or(Cow::Borrowed(symbol), |name| Cow::Owned(name.into_bytes()))
}

fn rust(symbol: &str) -> Option<String> {
    let parsed = rustc_demangle::try_demangle(symbol).ok()?;
    let mut name = Bounded(String::new());
    // `#`: without the hash
    write!(name, "{parsed:#}").ok()?;
    Some(name.0)
}

fn cpp(symbol: &[u8]) -> Option<String> {
    // on Mach-O every symbol has one more underscore
    let symbol = if symbol.starts_with(b"__Z") { &symbol[1..] } else { symbol };
    // clones of a function (`.cold`, `.isra.0`) are told by what follows
    let (parsed, _) = BorrowedSymbol::with_tail(symbol).ok()?;
    let mut simple = Simple { name: Bounded(String::new()), nodes: Vec::new(), within_arguments: 0, closing: false };
    let options = DemangleOptions::new().no_params().no_return_type();
    parsed.structured_demangle(&mut simple, &options).ok()?;
    (!simple.name.0.is_empty()).then_some(simple.name.0)
}

struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > NAME_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Leaves template arguments out.
struct Simple {
    name: Bounded,
    /// Whether each open node is a list of template arguments.
    nodes: Vec<bool>,
    within_arguments: usize,
    /// The list's brackets are written before and after its node: whether the second is due.
    closing: bool,
}

impl DemangleWrite for Simple {
    fn push_demangle_node(&mut self, node: DemangleNodeType) {
        let arguments = node == DemangleNodeType::TemplateArgs;
        self.nodes.push(arguments);
        if arguments && self.within_arguments == 0 {
            // with the space that keeps it apart from `operator<`
            let name = &mut self.name.0;
            let bare = name.strip_suffix('<').map(|name| name.strip_suffix(' ').unwrap_or(name).len());
            name.truncate(bare.unwrap_or(name.len()));
        }
        self.within_arguments += usize::from(arguments);
    }

    fn write_string(&mut self, text: &str) -> fmt::Result {
        if self.within_arguments > 0 {
            return Ok(());
        }
        let closed = std::mem::take(&mut self.closing);
        self.name.write_str(if closed { text.strip_prefix('>').unwrap_or(text) } else { text })
    }

    fn pop_demangle_node(&mut self) {
        let arguments = self.nodes.pop().unwrap_or(false);
        self.within_arguments -= usize::from(arguments);
        self.closing |= arguments && self.within_arguments == 0;
    }
}

#[cfg(test)]
mod tests {
    use super::demangled;

    fn name(symbol: &str) -> String {
        String::from_utf8_lossy(&demangled(symbol.as_bytes())).into_owned()
    }

    #[test]
    fn mangled_names_lose_parameters_template_arguments_and_hashes() {
        for (symbol, wanted) in [
            ("_ZN3foo3barEi", "foo::bar"),
            ("_ZN3foo3runEv", "foo::run"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"),
            ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector::push_back"),
            ("_ZN1aILi5EE1bI1cIdEEE", "a::b"),
            ("_Z3minIiET_S0_S0_", "min"),
            ("_ZltIiEbT_S0_", "operator<"),
        ] {
            assert_eq!(name(symbol), wanted, "{symbol}");
        }
    }

    #[test]
    fn what_is_not_mangled_stays_as_it_is() {
        for symbol in ["", "main", "<module>", "_Z", "_ZN", "_R", "runtime.main", "_ZZZZ"] {
            assert_eq!(name(symbol), symbol);
        }
    }

    #[test]
    fn a_symbol_that_stands_for_gigabytes_stays_as_it_is() {
        // each S_ doubles what came before
        let mut symbol = "_Z1fPFvvE".to_owned();
        for ix in 0..40 {
            let reference = if ix == 0 {
                "S_".to_owned()
            } else {
                format!("S{}_", char::from_digit((ix - 1) % 36, 36).unwrap_or('0').to_ascii_uppercase())
            };
            symbol.push_str(&format!("PF{reference}{reference}E"));
        }
        assert!(name(&symbol).len() <= super::NAME_BYTES_MAX.max(symbol.len()));
    }
}
