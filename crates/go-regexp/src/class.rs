//! Character classes: Perl's (`\d`), POSIX' (`[:alpha:]`), Unicode's (`\p{Greek}`) and simple case folding.
//!
//! Go's tables are Unicode 15, those of `regex-syntax` are Unicode 16: a character that is younger than 15 may be a letter
//! here and unassigned there.

use std::sync::OnceLock;

use regex_syntax::{
    ParserBuilder,
    hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind},
};

/// ASCII only, as in Go. `None` if `letter` names no Perl class; the flag says that the class is to be negated.
pub(crate) fn perl(letter: u8) -> Option<(ClassUnicode, bool)> {
    let ranges: &[(char, char)] = match letter.to_ascii_lowercase() {
        b'd' => &[('0', '9')],
        b's' => &[('\t', '\n'), ('\x0C', '\r'), (' ', ' ')],
        b'w' => WORD,
        _ => return None,
    };
    Some((ascii(ranges), letter.is_ascii_uppercase()))
}

const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

/// `name` is what stands between `[:` and `:]`, with a leading `^` if the class is to be negated.
pub(crate) fn posix(name: &[u8]) -> Option<(ClassUnicode, bool)> {
    let (name, negated) = match name.strip_prefix(b"^") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let ranges: &[(char, char)] = match name {
        b"alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        b"alpha" => &[('A', 'Z'), ('a', 'z')],
        b"ascii" => &[('\0', '\x7F')],
        b"blank" => &[('\t', '\t'), (' ', ' ')],
        b"cntrl" => &[('\0', '\x1F'), ('\x7F', '\x7F')],
        b"digit" => &[('0', '9')],
        b"graph" => &[('!', '~')],
        b"lower" => &[('a', 'z')],
        b"print" => &[(' ', '~')],
        b"punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        b"space" => &[('\t', '\r'), (' ', ' ')],
        b"upper" => &[('A', 'Z')],
        b"word" => WORD,
        b"xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some((ascii(ranges), negated))
}

/// A general category or a script. Go 1.25 and later ignore case, `_`, `-` and space in a name and know the long names of
/// categories; with `exact` a name must be spelled as in Go's tables of old (`Lu`, `Old_Italic`).
pub(crate) fn unicode(name: &str, exact: bool) -> Option<ClassUnicode> {
    let squeezed: String =
        name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).map(|c| c.to_ascii_lowercase()).collect();
    if let Some(class) = special(&squeezed, name, exact) {
        return Some(class);
    }
    let category = CATEGORIES.iter().find(|(short, long)| {
        if exact { *short == name } else { short.eq_ignore_ascii_case(&squeezed) || *long == squeezed }
    });
    if let Some((short, _)) = category {
        return table(&format!("gc={short}"));
    }
    let script = SCRIPTS
        .iter()
        .find(|script| if exact { **script == name } else { script.replace('_', "").eq_ignore_ascii_case(&squeezed) });
    table(&format!("sc={}", script?))
}

/// What Go treats apart, and the surrogates, which no UTF-8 text contains.
fn special(squeezed: &str, name: &str, exact: bool) -> Option<ClassUnicode> {
    match squeezed {
        "any" if !exact || name == "Any" => Some(ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)])),
        "ascii" if !exact => Some(ascii(&[('\0', '\x7F')])),
        "assigned" if !exact => table("gc=Cn").map(|mut unassigned| {
            unassigned.negate();
            unassigned
        }),
        "cs" if !exact || name == "Cs" => Some(ClassUnicode::empty()),
        "surrogate" if !exact => Some(ClassUnicode::empty()),
        _ => None,
    }
}

/// Go's `unicode.IsLetter` or `unicode.IsDigit`.
pub(crate) fn is_letter_or_decimal(c: char) -> bool {
    static CLASS: OnceLock<ClassUnicode> = OnceLock::new();
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let class = CLASS.get_or_init(|| {
        let mut class = table("gc=L").unwrap_or_else(ClassUnicode::empty);
        class.union(&table("gc=Nd").unwrap_or_else(ClassUnicode::empty));
        class
    });
    let after = class.ranges().partition_point(|range| range.end() < c);
    class.ranges().get(after).is_some_and(|range| range.start() <= c)
}

fn ascii(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|&(start, end)| ClassUnicodeRange::new(start, end)))
}

fn table(property: &str) -> Option<ClassUnicode> {
    let class = ParserBuilder::new().build().parse(&format!(r"[\p{{{property}}}]")).ok()?;
    match class.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        // A class of one character, as `Zl`.
        HirKind::Literal(literal) => {
            let character = str::from_utf8(&literal.0).ok()?.chars().next()?;
            Some(ClassUnicode::new([ClassUnicodeRange::new(character, character)]))
        }
        _ => None,
    }
}

/// General categories: the name in Go's tables, and the long name without its underscores.
const CATEGORIES: &[(&str, &str)] = &[
    ("C", "other"),
    ("Cc", "control"),
    ("Cc", "cntrl"),
    ("Cf", "format"),
    ("Cn", "unassigned"),
    ("Co", "privateuse"),
    ("L", "letter"),
    ("LC", "casedletter"),
    ("Ll", "lowercaseletter"),
    ("Lm", "modifierletter"),
    ("Lo", "otherletter"),
    ("Lt", "titlecaseletter"),
    ("Lu", "uppercaseletter"),
    ("M", "mark"),
    ("M", "combiningmark"),
    ("Mc", "spacingmark"),
    ("Me", "enclosingmark"),
    ("Mn", "nonspacingmark"),
    ("N", "number"),
    ("Nd", "decimalnumber"),
    ("Nd", "digit"),
    ("Nl", "letternumber"),
    ("No", "othernumber"),
    ("P", "punctuation"),
    ("P", "punct"),
    ("Pc", "connectorpunctuation"),
    ("Pd", "dashpunctuation"),
    ("Pe", "closepunctuation"),
    ("Pf", "finalpunctuation"),
    ("Pi", "initialpunctuation"),
    ("Po", "otherpunctuation"),
    ("Ps", "openpunctuation"),
    ("S", "symbol"),
    ("Sc", "currencysymbol"),
    ("Sk", "modifiersymbol"),
    ("Sm", "mathsymbol"),
    ("So", "othersymbol"),
    ("Z", "separator"),
    ("Zl", "lineseparator"),
    ("Zp", "paragraphseparator"),
    ("Zs", "spaceseparator"),
];

/// Scripts of Unicode 15, spelled as in Go's tables.
const SCRIPTS: &[&str] = &[
    "Adlam",
    "Ahom",
    "Anatolian_Hieroglyphs",
    "Arabic",
    "Armenian",
    "Avestan",
    "Balinese",
    "Bamum",
    "Bassa_Vah",
    "Batak",
    "Bengali",
    "Bhaiksuki",
    "Bopomofo",
    "Brahmi",
    "Braille",
    "Buginese",
    "Buhid",
    "Canadian_Aboriginal",
    "Carian",
    "Caucasian_Albanian",
    "Chakma",
    "Cham",
    "Cherokee",
    "Chorasmian",
    "Common",
    "Coptic",
    "Cuneiform",
    "Cypriot",
    "Cypro_Minoan",
    "Cyrillic",
    "Deseret",
    "Devanagari",
    "Dives_Akuru",
    "Dogra",
    "Duployan",
    "Egyptian_Hieroglyphs",
    "Elbasan",
    "Elymaic",
    "Ethiopic",
    "Georgian",
    "Glagolitic",
    "Gothic",
    "Grantha",
    "Greek",
    "Gujarati",
    "Gunjala_Gondi",
    "Gurmukhi",
    "Han",
    "Hangul",
    "Hanifi_Rohingya",
    "Hanunoo",
    "Hatran",
    "Hebrew",
    "Hiragana",
    "Imperial_Aramaic",
    "Inherited",
    "Inscriptional_Pahlavi",
    "Inscriptional_Parthian",
    "Javanese",
    "Kaithi",
    "Kannada",
    "Katakana",
    "Kawi",
    "Kayah_Li",
    "Kharoshthi",
    "Khitan_Small_Script",
    "Khmer",
    "Khojki",
    "Khudawadi",
    "Lao",
    "Latin",
    "Lepcha",
    "Limbu",
    "Linear_A",
    "Linear_B",
    "Lisu",
    "Lycian",
    "Lydian",
    "Mahajani",
    "Makasar",
    "Malayalam",
    "Mandaic",
    "Manichaean",
    "Marchen",
    "Masaram_Gondi",
    "Medefaidrin",
    "Meetei_Mayek",
    "Mende_Kikakui",
    "Meroitic_Cursive",
    "Meroitic_Hieroglyphs",
    "Miao",
    "Modi",
    "Mongolian",
    "Mro",
    "Multani",
    "Myanmar",
    "Nabataean",
    "Nag_Mundari",
    "Nandinagari",
    "New_Tai_Lue",
    "Newa",
    "Nko",
    "Nushu",
    "Nyiakeng_Puachue_Hmong",
    "Ogham",
    "Ol_Chiki",
    "Old_Hungarian",
    "Old_Italic",
    "Old_North_Arabian",
    "Old_Permic",
    "Old_Persian",
    "Old_Sogdian",
    "Old_South_Arabian",
    "Old_Turkic",
    "Old_Uyghur",
    "Oriya",
    "Osage",
    "Osmanya",
    "Pahawh_Hmong",
    "Palmyrene",
    "Pau_Cin_Hau",
    "Phags_Pa",
    "Phoenician",
    "Psalter_Pahlavi",
    "Rejang",
    "Runic",
    "Samaritan",
    "Saurashtra",
    "Sharada",
    "Shavian",
    "Siddham",
    "SignWriting",
    "Sinhala",
    "Sogdian",
    "Sora_Sompeng",
    "Soyombo",
    "Sundanese",
    "Syloti_Nagri",
    "Syriac",
    "Tagalog",
    "Tagbanwa",
    "Tai_Le",
    "Tai_Tham",
    "Tai_Viet",
    "Takri",
    "Tamil",
    "Tangsa",
    "Tangut",
    "Telugu",
    "Thaana",
    "Thai",
    "Tibetan",
    "Tifinagh",
    "Tirhuta",
    "Toto",
    "Ugaritic",
    "Vai",
    "Vithkuqi",
    "Wancho",
    "Warang_Citi",
    "Yezidi",
    "Yi",
    "Zanabazar_Square",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_has_a_table() {
        for (short, long) in CATEGORIES {
            let class = unicode(short, true);
            assert!(class.is_some(), "{short}");
            assert_eq!(unicode(long, false), class, "{long}");
        }
        for script in SCRIPTS {
            let class = unicode(script, true);
            assert!(class.as_ref().is_some_and(|class| !class.ranges().is_empty()), "{script}");
            assert_eq!(unicode(&script.to_lowercase().replace('_', "-"), false), class, "{script}");
        }
    }
}
