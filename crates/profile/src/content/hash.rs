//! Keyed 128-bit content hashes.
//!
//! Senders choose the bytes, so the key is secret and drawn once per process: without it nobody can
//! prepare two frames that fall on the same hash. Two lanes of folded 64-bit multiplications, sixteen
//! bytes a step; a lane's state enters the next step's other operand.

/// The secret of one process, expanded to the words that the lanes use.
#[derive(Clone)]
pub struct HashKey {
    words: [u64; 8],
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A hash in progress.
#[derive(Clone, Copy)]
pub struct Hasher<'a> {
    key: &'a HashKey,
    a: u64,
    b: u64,
    words: u64,
}

/// What is hashed; keeps a function from ever having the hash of a string.
#[derive(Clone, Copy)]
pub enum Domain {
    String = 1,
    Mapping,
    Function,
    Location,
    /// A location of one line.
    Line,
    Stack,
    LabelSet,
    Export,
}

impl HashKey {
    /// Expands 128 secret bits with the finalizer of SplitMix64.
    pub fn new(secret: [u64; 2]) -> Self {
        let mut words = [0; 8];
        for (ix, word) in words.iter_mut().enumerate() {
            let mut z = secret[ix % 2].wrapping_add((ix as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *word = z ^ (z >> 31);
        }
        Self { words }
    }

    #[inline(always)]
    pub fn start(&self, domain: Domain) -> Hasher<'_> {
        let tag = (domain as u64) << 56;
        Hasher { key: self, a: self.words[0] ^ tag, b: self.words[1] ^ tag, words: 0 }
    }

    #[inline]
    pub fn bytes(&self, domain: Domain, bytes: &[u8]) -> u128 {
        let mut hasher = self.start(domain);
        let (chunks, rest) = bytes.as_chunks::<16>();
        for chunk in chunks {
            let (x, y) = words_of(chunk);
            hasher.mix(x, y);
        }
        if !rest.is_empty() {
            // the last sixteen, some of them for the second time; the length tells which
            let (x, y) = bytes.last_chunk().map_or_else(|| words_of_fewer(rest), words_of);
            hasher.mix(x, y);
        }
        hasher.finish(bytes.len() as u64)
    }

    /// A run of ids, four to a step.
    #[inline]
    pub fn ids(&self, domain: Domain, ids: impl ExactSizeIterator<Item = u32>) -> u128 {
        let len = ids.len() as u64;
        let mut ids = ids;
        let mut hasher = self.start(domain);
        for _ in 0..len / 4 {
            let mut four = [0u64; 4];
            for slot in &mut four {
                *slot = u64::from(ids.next().unwrap_or_default());
            }
            hasher.mix(four[0] | four[1] << 32, four[2] | four[3] << 32);
        }
        if !len.is_multiple_of(4) {
            let mut four = [0u64; 4];
            for (slot, id) in four.iter_mut().zip(ids) {
                *slot = u64::from(id);
            }
            hasher.mix(four[0] | four[1] << 32, four[2] | four[3] << 32);
        }
        hasher.finish(len)
    }
}

#[inline(always)]
fn words_of(sixteen: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*sixteen);
    (both as u64, (both >> 64) as u64)
}

/// All bits of 1 to 15 bytes, some of them twice.
#[inline(always)]
fn words_of_fewer(bytes: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)));
    }
    let at = |ix: usize| bytes.get(ix).copied().map_or(0, u64::from);
    (at(0) | at(1) << 8, at(2))
}

impl Hasher<'_> {
    #[inline(always)]
    pub fn mix(&mut self, x: u64, y: u64) {
        self.a = fold(x ^ self.a, y ^ self.key.words[2]);
        self.b = fold(y ^ self.b, x ^ self.key.words[3]);
        self.words += 1;
    }

    /// Takes in a hash of something below.
    #[inline(always)]
    pub fn child(&mut self, hash: u128) {
        self.mix(hash as u64, (hash >> 64) as u64);
    }

    /// `len` tells apart inputs that differ only in padding.
    #[inline(always)]
    pub fn finish(self, len: u64) -> u128 {
        let k = &self.key.words;
        let low = fold(self.a ^ len ^ k[4], self.b ^ k[5]);
        let high = fold(self.b ^ len ^ k[6], self.a ^ self.words ^ k[7]);
        u128::from(low) | u128::from(high) << 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_that_differ_only_in_padding_or_length_have_different_hashes() {
        let key = HashKey::new([1, 2]);
        let mut seen = std::collections::HashSet::new();
        for len in 0..100 {
            assert!(seen.insert(key.bytes(Domain::String, &vec![0; len])), "{len} zeros");
        }
        for ix in 0..64 {
            let mut bytes = [0; 64];
            bytes[ix] = 1;
            assert!(seen.insert(key.bytes(Domain::String, &bytes)));
        }
    }

    #[test]
    fn another_key_gives_other_hashes_and_so_does_another_domain() {
        let hash = |secret, domain| HashKey::new(secret).bytes(domain, b"runtime.mallocgc");
        assert_ne!(hash([1, 2], Domain::String), hash([1, 3], Domain::String));
        assert_ne!(hash([1, 2], Domain::String), hash([2, 2], Domain::String));
        assert_ne!(hash([1, 2], Domain::String), hash([1, 2], Domain::Function));
    }

    #[test]
    fn low_and_high_bits_of_id_runs_are_spread() {
        let key = HashKey::new([7, 9]);
        let (mut low, mut high) = (std::collections::HashSet::new(), std::collections::HashSet::new());
        for a in 0..300u32 {
            for b in 0..100u32 {
                let hash = key.ids(Domain::Stack, [a, b, 5, 6, 7].into_iter());
                low.insert(hash as u32);
                high.insert((hash >> 96) as u32);
            }
        }
        assert!(low.len() > 29_980 && high.len() > 29_980, "{} {}", low.len(), high.len());
    }
}
