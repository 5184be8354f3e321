//! Private keys, signing requests, and what a certificate says: RSA of 2048 bits, as the Python charm has them, so that its
//! keys and certificates stay in use after a refresh.

use std::fmt;

use num_bigint::BigUint;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};

use crate::der;

const KEY_BITS: usize = 2048;

/// The usual public exponent.
const EXPONENT: u32 = 65537;

/// Rounds of Miller and Rabin's test with random bases. FIPS 186-5 asks for 5 of primes of 1024 bits.
const ROUNDS: usize = 8;

/// `rsaEncryption` with its parameters, null.
const RSA: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
/// `sha256WithRSAEncryption` with its parameters, null.
const RSA_WITH_SHA256: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0];
const COMMON_NAME: [u8; 3] = [0x55, 4, 3];
const UNIQUE_IDENTIFIER: [u8; 3] = [0x55, 4, 45];
const EXTENSION_REQUEST: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];
const SUBJECT_ALTERNATIVE_NAME: [u8; 3] = [0x55, 0x1d, 17];

/// Why there is no key, or no use of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(pub String);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

/// A private key, and its text.
pub struct PrivateKey {
    pem: String,
    pair: KeyPair,
}

impl PrivateKey {
    /// A new key. Takes some tenths of a second.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<PrivateKey, KeyError> {
        let exponent = BigUint::from(EXPONENT);
        let one = BigUint::from(1u32);
        loop {
            let (a, b) = (prime(KEY_BITS / 2, &exponent)?, prime(KEY_BITS / 2, &exponent)?);
            // the larger comes first
            let (p, q) = if a > b { (a, b) } else { (b, a) };
            let (p_less, q_less) = (&p - &one, &q - &one);
            // coprime to the exponent, both of them, so there is one; and equal primes have no inverse
            let private = exponent.modinv(&(&p_less * &q_less));
            let (Some(private), Some(inverse)) = (private, q.modinv(&p)) else { continue };
            let numbers =
                [&p * &q, exponent.clone(), private.clone(), p, q, &private % p_less, &private % q_less, inverse];
            let mut parts = vec![der::unsigned(&[0])];
            parts.extend(numbers.iter().map(|number| der::unsigned(&number.to_bytes_be())));
            let key = der::holding(der::SEQUENCE, parts.iter().map(Vec::as_slice));
            return PrivateKey::from_pem(&der::to_pem("RSA PRIVATE KEY", &key));
        }
    }

    /// Reads a key, as PKCS #1 or #8.
    ///
    /// # Errors
    /// It is no RSA key of 2048 to 4096 bits.
    pub fn from_pem(pem: &str) -> Result<PrivateKey, KeyError> {
        let unreadable = |why: &dyn fmt::Display| KeyError(format!("the private key cannot be read: {why}"));
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|why| unreadable(&why))?;
        let pair = match &key {
            PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            _ => return Err(unreadable(&"it is no RSA key")),
        };
        Ok(PrivateKey { pem: pem.trim().to_owned(), pair: pair.map_err(|why| unreadable(&why))? })
    }

    /// Its text. Secret.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The public key with its algorithm, as requests and certificates hold it.
    fn public_key(&self) -> Vec<u8> {
        let key = der::bits(self.pair.public().as_ref());
        der::holding(der::SEQUENCE, [&RSA[..], &key])
    }

    /// Asks for a certificate of this name for this host. Two requests are never the same.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn request(&self, name: &str, host: &str) -> Result<String, KeyError> {
        let subject = der::holding(
            der::SEQUENCE,
            [attribute(&COMMON_NAME, name).as_slice(), attribute(&UNIQUE_IDENTIFIER, &random_uuid()?).as_slice()],
        );
        let names = der::holding(der::SEQUENCE, [der::value(der::DNS_NAME, host.as_bytes()).as_slice()]);
        let names = der::value(der::OCTET_STRING, &names);
        let oid = der::value(der::OID, &SUBJECT_ALTERNATIVE_NAME);
        let extension = der::holding(der::SEQUENCE, [oid.as_slice(), &names]);
        let extensions = der::holding(der::SEQUENCE, [extension.as_slice()]);
        let extensions = der::holding(der::SET, [extensions.as_slice()]);
        let oid = der::value(der::OID, &EXTENSION_REQUEST);
        let attribute = der::holding(der::SEQUENCE, [oid.as_slice(), &extensions]);
        let attributes = der::holding(der::CONTEXT_0, [attribute.as_slice()]);
        let info =
            der::holding(der::SEQUENCE, [der::unsigned(&[0]).as_slice(), &subject, &self.public_key(), &attributes]);
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &info, &mut signature)
            .map_err(|_| KeyError("the request cannot be signed".to_owned()))?;
        let signature = der::bits(&signature);
        let request = der::holding(der::SEQUENCE, [info.as_slice(), &RSA_WITH_SHA256, &signature]);
        Ok(der::to_pem("CERTIFICATE REQUEST", &request))
    }

    /// Whether a request is of this key, for this name and host.
    pub fn has_asked(&self, request: &str, name: &str, host: &str) -> bool {
        let Ok(request) = CertificateSigningRequestDer::from_pem_slice(request.as_bytes()) else { return false };
        let host = der::value(der::DNS_NAME, host.as_bytes());
        // The name may be any kind of string; its type stands between.
        let oid = der::value(der::OID, &COMMON_NAME);
        let named = der::value(der::UTF8_STRING, name.as_bytes());
        let named = request.windows(oid.len() + named.len()).any(|part| {
            let (key, text) = part.split_at(oid.len());
            key == oid && text[1..] == named[1..]
        });
        named && holds(&request, &host) && holds(&request, &self.public_key())
    }

    /// Whether a certificate is of this key.
    pub fn fits(&self, certificate: &str) -> bool {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
        certificate.is_ok_and(|certificate| holds(&certificate, &self.public_key()))
    }
}

fn holds(der: &[u8], part: &[u8]) -> bool {
    der.windows(part.len()).any(|window| window == part)
}

fn attribute(oid: &[u8], text: &str) -> Vec<u8> {
    let oid = der::value(der::OID, oid);
    let text = der::value(der::UTF8_STRING, text.as_bytes());
    let pair = der::holding(der::SEQUENCE, [oid.as_slice(), &text]);
    der::holding(der::SET, [pair.as_slice()])
}

/// When a certificate ends, in seconds since 1970. `None` for what is no certificate.
pub fn not_after(certificate: &str) -> Option<i64> {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
    let (certificate, _) = der::expect(&certificate, der::SEQUENCE)?;
    let (mut rest, _) = der::expect(certificate, der::SEQUENCE)?;
    if let Some((_, after)) = der::expect(rest, der::CONTEXT_0) {
        // the version, which the oldest leave out
        rest = after;
    }
    let (_, rest) = der::expect(rest, der::INTEGER)?;
    let (_, rest) = der::expect(rest, der::SEQUENCE)?;
    let (_, rest) = der::expect(rest, der::SEQUENCE)?;
    let (validity, _) = der::expect(rest, der::SEQUENCE)?;
    let (_, _, rest) = der::read(validity)?;
    let (tag, time, _) = der::read(rest)?;
    let digits = |from: usize, to: usize| {
        let part = std::str::from_utf8(time.get(from..to)?).ok()?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i64>().ok())?
    };
    let (year, at) = match tag {
        // RFC 5280: until 2049
        der::UTC_TIME => (digits(0, 2).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
        der::GENERALIZED_TIME => (digits(0, 4)?, 4),
        _ => return None,
    };
    let part = |nth: usize| digits(at + 2 * nth, at + 2 * nth + 2);
    let days = days_since_1970(year, part(0)?, part(1)?);
    Some(days * 86_400 + part(2)? * 3600 + part(3)? * 60 + part(4)?)
}

/// A day of the Gregorian calendar, also before 1970.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // years begin in March: the leap day is then the last of a year
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Seconds since 1970 in RFC 3339, UTC.
pub fn rfc3339(seconds: i64) -> String {
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, (shifted + 2) % 12 + 1);
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// SHA-256 in hexadecimal.
pub fn sha256_hex(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fills `bytes` with the system's random numbers. ring asks the kernel itself; the crate getrandom looks for the C library's
/// function at run time, and in a static program falls back to a file in /dev.
pub fn random(bytes: &mut [u8]) -> Result<(), KeyError> {
    SystemRandom::new().fill(bytes).map_err(|_| KeyError("there are no random numbers".to_owned()))
}

/// Version 4 of RFC 9562.
pub fn random_uuid() -> Result<String, KeyError> {
    let mut bytes = [0; 16];
    random(&mut bytes)?;
    let uuid = u128::from_be_bytes(bytes) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{uuid:032x}");
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// A prime of this many bits, its two highest bits set, so that the product of two has all of theirs; less one it has no
/// factor in common with the exponent, which is a prime.
fn prime(bits: usize, exponent: &BigUint) -> Result<BigUint, KeyError> {
    let mut bytes = vec![0; bits / 8];
    loop {
        random(&mut bytes)?;
        bytes[0] |= 0xc0;
        bytes[bits / 8 - 1] |= 1;
        let candidate = BigUint::from_bytes_be(&bytes);
        let zero = BigUint::ZERO;
        if SMALL_PRIMES.iter().any(|small| &candidate % *small == zero) || &candidate % exponent == BigUint::from(1u32)
        {
            continue;
        }
        if is_prime(&candidate)? {
            return Ok(candidate);
        }
    }
}

/// They sort out nine of ten candidates at little cost.
const SMALL_PRIMES: [u32; 94] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199, 211, 223, 227, 229, 233, 239,
    241, 251, 257, 263, 269, 271, 277, 281, 283, 293, 307, 311, 313, 317, 331, 337, 347, 349, 353, 359, 367, 373, 379,
    383, 389, 397, 401, 409, 419, 421, 431, 433, 439, 443, 449, 457, 461, 463, 467, 479, 487, 491, 499,
];

/// Miller and Rabin's test of an odd number above 3.
fn is_prime(candidate: &BigUint) -> Result<bool, KeyError> {
    let (one, two) = (BigUint::from(1u32), BigUint::from(2u32));
    let less = candidate - &one;
    let twos = less.trailing_zeros().unwrap_or(0);
    let odd = &less >> twos;
    let mut bytes = vec![0; candidate.to_bytes_be().len()];
    'rounds: for _ in 0..ROUNDS {
        random(&mut bytes)?;
        let base = BigUint::from_bytes_be(&bytes) % (&less - &two) + &two;
        let mut power = base.modpow(&odd, candidate);
        if power == one || power == less {
            continue;
        }
        for _ in 1..twos {
            power = power.modpow(&two, candidate);
            if power == less {
                continue 'rounds;
            }
        }
        return Ok(false);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn random_uuids_are_of_version_4() {
        let uuid = random_uuid().unwrap();
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"), "{uuid}");
        assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
        assert_ne!(uuid, random_uuid().unwrap());
    }

    fn openssl(arguments: &[&str], stdin: &str) -> String {
        let mut child = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl runs");
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    }

    #[test]
    fn openssl_finds_a_new_key_sound_and_takes_its_request() {
        let key = PrivateKey::generate().unwrap();
        assert!(key.pem().starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
        assert!(openssl(&["rsa", "-check", "-noout"], key.pem()).contains("RSA key ok"));
        let request = key.request("parca-k8s", "a.b.local").unwrap();
        let text = openssl(&["req", "-noout", "-verify", "-text"], &request);
        for part in
            ["CN = parca-k8s", "x500UniqueIdentifier = ", "DNS:a.b.local", "(2048 bit)", "sha256WithRSAEncryption"]
        {
            assert!(text.contains(part), "no {part} in {text}");
        }
        assert!(key.has_asked(&request, "parca-k8s", "a.b.local"));
        for (name, host) in [("parca", "a.b.local"), ("parca-k8s", "b.local"), ("parca-k8s", "a.b.loca")] {
            assert!(!key.has_asked(&request, name, host), "{name} {host}");
        }
        assert_ne!(request, key.request("parca-k8s", "a.b.local").unwrap());
        let other = PrivateKey::from_pem(&openssl(&["genrsa", "-traditional", "2048"], "")).unwrap();
        assert!(!other.has_asked(&request, "parca-k8s", "a.b.local"));
    }

    #[test]
    fn keys_of_pkcs8_are_read_too_and_others_refused() {
        let pkcs8 = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "");
        let key = PrivateKey::from_pem(&pkcs8).unwrap();
        assert!(key.has_asked(&key.request("a", "h").unwrap(), "a", "h"));
        let curve = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "");
        assert!(PrivateKey::from_pem(&curve).is_err());
        assert!(PrivateKey::from_pem("nonsense").is_err());
    }

    #[test]
    fn a_certificate_tells_its_end_and_whose_it_is() {
        let key = PrivateKey::generate().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        std::fs::write(&path, key.pem()).unwrap();
        let path = path.to_str().unwrap();
        for (days, year_days) in [("10", 10), ("20000", 20_000)] {
            let certificate = openssl(&["req", "-x509", "-new", "-key", path, "-subj", "/CN=x", "-days", days], "");
            assert!(key.fits(&certificate));
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
            let end = not_after(&certificate).unwrap();
            assert!((end - now - year_days * 86_400).abs() < 120, "{end}");
            assert!(!PrivateKey::generate().unwrap().fits(&certificate));
        }
        assert_eq!(not_after("nonsense"), None);
    }

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_651_199, "2026-11-25T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn primes_are_told_from_what_only_looks_like_one() {
        let is = |text: &str| is_prime(&text.parse().unwrap()).unwrap();
        assert!(is("170141183460469231731687303715884105727"), "2^127 - 1");
        for composite in ["561", "3215031751", "341550071728321", "170141183460469231731687303715884105725"] {
            assert!(!is(composite), "{composite}");
        }
    }
}
