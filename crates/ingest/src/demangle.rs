//! Names as people read them, of the names that linkers see.
//!
//! As Parca's mode `simple`: C++ without parameters and template arguments, Rust without its hash. What is not mangled, or
//! mangled in a way that nobody knows, stays as it is.

use std::borrow::Cow;
use std::fmt::{self, Write};

use cpp_demangle::{BorrowedSymbol, DemangleNodeType, DemangleOptions, DemangleWrite};
use profile::{NONE, Strings, Symbols};

/// Bytes of a name. Substitutions let a short C++ symbol stand for gigabytes.
const NAME_BYTES_MAX: usize = 4_096;
/// Of a mangled name that is worth a try.
const SYMBOL_BYTES_MAX: usize = 16_384;

/// Of one profile's demangled names: what a short profile may have.
const NAMES_BYTES_MIN: usize = 64 << 10;

/// `symbol` where it is not mangled.
pub(crate) fn demangled(symbol: &[u8]) -> Cow<'_, [u8]> {
    // most names
    if symbol.first() != Some(&b'_') {
        return Cow::Borrowed(symbol);
    }
    let mangled = [&b"_Z"[..], b"__Z", b"_R", b"__R"].iter().any(|prefix| symbol.starts_with(prefix));
    if !mangled || symbol.len() > SYMBOL_BYTES_MAX {
        return Cow::Borrowed(symbol);
    }
    let Ok(text) = std::str::from_utf8(symbol) else { return Cow::Borrowed(symbol) };
    let name = rust(text).or_else(|| cpp(symbol));
    name.map_or(Cow::Borrowed(symbol), |name| Cow::Owned(name.into_bytes()))
}

/// Names the functions whose names are mangled, or that have none beside a mangled system name. A name that gives
/// way becomes the system name where there is none.
///
/// Names are together at most as long as all strings that were sent, and [`NAMES_BYTES_MIN`] in any case; what comes
/// after stays as it is.
pub(crate) fn name_functions(symbols: &mut Symbols) {
    let Symbols { strings, functions, .. } = symbols;
    let mut room = strings.bytes.len().max(NAMES_BYTES_MIN);
    // by string: its row demangled
    let mut known: Vec<u32> = Vec::new();
    for (name, system_name) in functions.name.iter_mut().zip(&mut functions.system_name) {
        let sent = if strings.get(*name).is_empty() { *system_name } else { *name };
        if strings.get(sent).first() != Some(&b'_') {
            continue;
        }
        if known.is_empty() {
            known = vec![NONE; strings.len()];
        }
        let known = &mut known[sent as usize];
        if *known == NONE {
            *known = demangled_row(strings, sent, &mut room);
        }
        if *known != sent {
            if strings.get(*system_name).is_empty() {
                *system_name = sent;
            }
            *name = *known;
        }
    }
}

/// A new row, or `sent` where it is not mangled or there is no room.
fn demangled_row(strings: &mut Strings, sent: u32, room: &mut usize) -> u32 {
    match demangled(strings.get(sent)) {
        Cow::Owned(name) if name.len() <= *room => {
            *room -= name.len();
            strings.push(&name)
        }
        _ => sent,
    }
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
    use profile::{Strings, Symbols};

    use super::{demangled, demangled_row, name_functions};

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

    /// (name, system name) of each function, before and after.
    fn named(functions: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut symbols = Symbols { strings: Strings::with_empty(), ..Symbols::default() };
        for (name, system_name) in functions {
            let (name, system_name) =
                (symbols.strings.push(name.as_bytes()), symbols.strings.push(system_name.as_bytes()));
            symbols.functions.name.push(name);
            symbols.functions.system_name.push(system_name);
        }
        name_functions(&mut symbols);
        let text = |row: &u32| symbols.strings.get_str(*row).into_owned();
        let names = symbols.functions.name.iter().zip(&symbols.functions.system_name);
        names.map(|(name, system_name)| (text(name), text(system_name))).collect()
    }

    #[test]
    fn functions_are_named_by_what_the_linker_calls_them_and_keep_that_as_their_system_name() {
        let sent = [
            ("main.main", "main.main"),
            ("_ZN3foo3barEi", "_ZN3foo3barEi"),
            ("_ZN3foo3barEi", ""),
            ("", "_ZN3foo3barEi"),
            ("foo", "_ZN3foo3barEi"),
            ("_start", ""),
            ("", "start"),
        ];
        let wanted = [
            ("main.main", "main.main"),
            ("foo::bar", "_ZN3foo3barEi"),
            ("foo::bar", "_ZN3foo3barEi"),
            ("foo::bar", "_ZN3foo3barEi"),
            ("foo", "_ZN3foo3barEi"),
            ("_start", ""),
            ("", "start"),
        ];
        assert_eq!(named(&sent), wanted.map(|(name, system_name)| (name.to_owned(), system_name.to_owned())));
    }

    #[test]
    fn names_for_which_there_is_no_room_stay_as_they_were_sent() {
        let mut strings = Strings::with_empty();
        let sent = strings.push(b"_ZN3foo3barEi");
        let mut room = "foo::bar".len();
        let first = demangled_row(&mut strings, sent, &mut room);
        assert_eq!((strings.get(first), room), (&b"foo::bar"[..], 0));
        assert_eq!(demangled_row(&mut strings, sent, &mut room), sent);
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
