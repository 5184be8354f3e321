use go_regexp::{ErrorKind, Regex};

fn refused(pattern: &str) -> ErrorKind {
    Regex::new(pattern).expect_err("refused").kind()
}

#[test]
fn deep_nesting_is_refused_before_it_costs_the_stack() {
    // A thread of a server has 2 MiB; a test's thread as well.
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Regex::new(nested(900)).is_ok());
    assert_eq!(refused(&nested(1001)), ErrorKind::NestsTooDeeply);
    let starred = |depth: usize| format!("{}a{}", "(?:b".repeat(depth), ")*".repeat(depth));
    assert!(Regex::new(starred(450)).is_ok());
    assert_eq!(refused(&starred(1001)), ErrorKind::NestsTooDeeply);
    assert_eq!(refused(&"(".repeat(200_000)), ErrorKind::MissingParenthesis);
}

#[test]
fn patterns_that_would_take_much_memory_are_refused() {
    assert_eq!(refused(&"a".repeat(1 << 20)), ErrorKind::TooLarge);
    assert_eq!(refused(&r"\pL".repeat(80_000)), ErrorKind::TooLarge);
    assert_eq!(refused(&format!("[{}]", r"\pL".repeat(80_000))), ErrorKind::TooLarge);
    assert_eq!(refused(r"(?:\pL\pL){1000}"), ErrorKind::TooLarge);
    let small = Regex::new_within(r"[^a]{1000}", 10_000).expect_err("refused");
    assert_eq!(small.kind(), ErrorKind::TooLarge);
    assert_eq!(refused(&"(?:.{999}|b)".repeat(2_000)), ErrorKind::TooLarge);
    assert_eq!(refused(r"((a{100}){100}){100}"), ErrorKind::InvalidRepeatCount);
}

#[test]
fn a_match_takes_linear_time_on_the_classic_bombs() {
    let subject = "a".repeat(100_000);
    for pattern in ["(a*)*b", "(a|aa)+b", "(?:a?){500}a{500}b", "^(([a-z])+.)+[A-Z]([a-z])+$"] {
        assert!(!Regex::new(pattern).expect("compiles").is_match(&subject), "{pattern}");
    }
}
