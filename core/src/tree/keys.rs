//! Searching sorted names without looking at them.

/// How many bytes of a name a key stands for.
const KEY_LEN: usize = 8;

/// A stand-in of eight bytes for each of some sorted names, in their order.
///
/// The names of siblings begin alike (`instance-0000000012`), so the stand-ins are taken from behind what all of
/// them have in common. They order as the names do, except that different names may have the same one.
#[derive(Clone, Default)]
pub(super) struct Keys {
    /// What all names begin with.
    prefix: Box<[u8]>,
    keys: Box<[u64]>,
}

impl Keys {
    pub(super) fn new<'n>(names: impl Iterator<Item = &'n [u8]> + Clone) -> Keys {
        let first = names.clone().next().unwrap_or_default();
        let common = names.clone().fold(first.len(), |common, name| common_prefix(&first[..common], name));
        Keys { prefix: first[..common].into(), keys: names.map(|name| key(&name[common..])).collect() }
    }

    /// Bytes beside the struct itself.
    pub(super) fn footprint(&self) -> usize {
        self.prefix.len() + size_of_val(&*self.keys)
    }

    /// Which name is the first that is not below `name`.
    #[inline]
    pub(super) fn first_not_below<'n>(&self, name: &[u8], name_at: impl Fn(usize) -> &'n [u8]) -> usize {
        let head = &name[..self.prefix.len().min(name.len())];
        let order =
            if is_same(head, &self.prefix) { std::cmp::Ordering::Equal } else { head.cmp(&self.prefix) };
        match order {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => self.search(name, name_at),
            std::cmp::Ordering::Greater => self.keys.len(),
        }
    }

    /// As [`first_not_below`](Self::first_not_below), for a name that begins as these do.
    #[inline]
    fn search<'n>(&self, name: &[u8], name_at: impl Fn(usize) -> &'n [u8]) -> usize {
        let key = key(name.get(self.prefix.len()..).unwrap_or_default());
        let start = self.keys.partition_point(|other| *other < key);
        let alike = self.keys[start..].iter().take_while(|other| **other == key).count();
        let (mut low, mut high) = (start, start + alike);
        while low < high {
            let middle = (low + high) / 2;
            match name_at(middle) < name {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// Takes another name in the place of one. Returns false, and changes nothing, when it does not begin as the others
    /// do: build new keys then.
    #[must_use]
    pub(super) fn replace(&mut self, index: usize, name: &[u8]) -> bool {
        // If there is only one name, the prefix is the whole name, and would be kept for ever.
        let rest = if self.keys.len() == 1 { None } else { name.strip_prefix(&*self.prefix) };
        rest.map(|rest| self.keys[index] = key(rest)).is_some()
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The first bytes as a number that orders as they do. One name may be the beginning of another: it orders before it, or
/// as it does.
fn key(bytes: &[u8]) -> u64 {
    if let Some(bytes) = bytes.first_chunk::<KEY_LEN>() {
        return u64::from_be_bytes(*bytes);
    }
    let bits = 8 * bytes.len() as u32;
    // Reads that overlap, instead of a loop.
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_be_bytes(*first)) << 32 | u64::from(u32::from_be_bytes(*last)) << (64 - bits)
        }
        _ => match (bytes.first_chunk::<2>(), bytes.last_chunk::<2>()) {
            (Some(first), Some(last)) => {
                u64::from(u16::from_be_bytes(*first)) << 48
                    | u64::from(u16::from_be_bytes(*last)) << (64 - bits)
            }
            _ => bytes.first().map_or(0, |byte| u64::from(*byte) << 56),
        },
    }
}

/// Whether two names, or what they begin with, are equal. Most are short: these are compared by reads that overlap,
/// without a call. (Nothing is not read at all: an empty slice may have no address, and processors may take a hundred
/// cycles to find that out.)
#[inline]
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        0 => true,
        1..4 => (a[0], a[a.len() / 2], a[a.len() - 1]) == (b[0], b[b.len() / 2], b[b.len() - 1]),
        4..8 => ends::<4>(a) == ends::<4>(b),
        8..=16 => ends::<8>(a) == ends::<8>(b),
        _ => a == b,
    }
}

#[inline]
fn ends<const N: usize>(bytes: &[u8]) -> Option<(&[u8; N], &[u8; N])> {
    Some((bytes.first_chunk()?, bytes.last_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_order_as_the_bytes_do(a in "[ab]{0,10}", b in "[ab]{0,10}") {
            let (ka, kb) = (key(a.as_bytes()), key(b.as_bytes()));
            let cut = |name: &str| name.as_bytes()[..name.len().min(8)].to_vec();
            prop_assert_eq!(ka.cmp(&kb), cut(&a).cmp(&cut(&b)));
        }

        #[test]
        fn names_are_the_same_if_all_their_bytes_are(a in "[ab]{0,20}", b in "[ab]{0,20}", flipped in 0usize..20) {
            prop_assert!(is_same(a.as_bytes(), a.clone().as_bytes()));
            prop_assert_eq!(is_same(a.as_bytes(), b.as_bytes()), a == b);
            let mut other = a.clone().into_bytes();
            if let Some(byte) = other.get_mut(flipped) {
                *byte ^= 1;
                prop_assert!(!is_same(a.as_bytes(), &other));
            }
        }

        #[test]
        fn names_are_found_where_they_are(names in prop::collection::btree_set("x[ab\0]{0,12}", 1..60), other in "[axb\0]{0,13}") {
            let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
            let keys = Keys::new(names.iter().copied());
            for (index, name) in names.iter().enumerate() {
                prop_assert_eq!(keys.first_not_below(name, |at| names[at]), index);
            }
            let below = names.iter().filter(|name| **name < other.as_bytes()).count();
            prop_assert_eq!(keys.first_not_below(other.as_bytes(), |at| names[at]), below);
        }
    }
}
