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
    keys: Vec<u64>,
}

impl Keys {
    pub(super) fn new<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Keys {
        let first = names.clone().next().unwrap_or_default().as_bytes();
        let common =
            names.clone().fold(first.len(), |common, name| common_prefix(&first[..common], name.as_bytes()));
        Keys {
            prefix: first[..common].into(),
            keys: names.map(|name| key(&name.as_bytes()[common..])).collect(),
        }
    }

    /// Bytes beside the struct itself.
    pub(super) fn footprint(&self) -> usize {
        self.prefix.len() + self.keys.capacity() * size_of::<u64>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Finds `name`. If the keys do not decide, the names themselves do.
    #[inline]
    pub(super) fn find<'n>(&self, name: &[u8], name_at: impl Fn(usize) -> &'n [u8]) -> Option<usize> {
        let rest = name.get(self.prefix.len()..)?;
        let key = key(rest);
        let mut index = self.keys.partition_point(|other| *other < key);
        if rest.len() < KEY_LEN && rest.last() != Some(&0) {
            // For such a name, equal keys mean equal rests, so only the prefix is left to be compared. (An empty prefix
            // is not compared: it has no address, and processors may take a hundred cycles to read nothing from there.)
            let has_prefix = || self.prefix.is_empty() || name.starts_with(&self.prefix);
            let is_equal = self.keys.get(index) == Some(&key) && has_prefix();
            return is_equal.then_some(index);
        }
        while self.keys.get(index) == Some(&key) {
            if name_at(index) == name {
                return Some(index);
            }
            index += 1;
        }
        None
    }

    /// Which name is the first that is not below `name`.
    pub(super) fn first_not_below<'n>(&self, name: &[u8], name_at: impl Fn(usize) -> &'n [u8]) -> usize {
        let (head, tail) = name.split_at(self.prefix.len().min(name.len()));
        if !self.prefix.is_empty() {
            match head.cmp(&self.prefix) {
                std::cmp::Ordering::Less => return 0,
                std::cmp::Ordering::Greater => return self.keys.len(),
                std::cmp::Ordering::Equal => {}
            }
        }
        let key = key(tail);
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

    /// Returns false, and changes nothing, when the name does not begin as the others do: build new keys then.
    #[must_use]
    pub(super) fn insert(&mut self, index: usize, name: &str) -> bool {
        let rest = if self.is_empty() { None } else { name.as_bytes().strip_prefix(&*self.prefix) };
        rest.map(|rest| self.keys.insert(index, key(rest))).is_some()
    }

    /// As [`insert`](Self::insert), for a name in the place of another.
    #[must_use]
    pub(super) fn replace(&mut self, index: usize, name: &str) -> bool {
        // If there is only one name, the prefix is the whole name, and would be kept for ever.
        let rest = if self.keys.len() == 1 { None } else { name.as_bytes().strip_prefix(&*self.prefix) };
        rest.map(|rest| self.keys[index] = key(rest)).is_some()
    }

    pub(super) fn remove(&mut self, index: usize) {
        self.keys.remove(index);
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The first bytes as a number that orders as they do. Names have no NUL, so the end of a short one orders before any
/// byte.
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
        fn names_are_found_where_they_are(names in prop::collection::btree_set("x[ab]{0,12}", 1..60), other in "[axb\0]{0,13}") {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let keys = Keys::new(names.iter().copied());
            for (index, name) in names.iter().enumerate() {
                prop_assert_eq!(keys.find(name.as_bytes(), |at| names[at].as_bytes()), Some(index));
                prop_assert_eq!(keys.first_not_below(name.as_bytes(), |at| names[at].as_bytes()), index);
            }
            let below = names.iter().filter(|name| **name < other.as_str()).count();
            prop_assert_eq!(keys.first_not_below(other.as_bytes(), |at| names[at].as_bytes()), below);
            prop_assert_eq!(keys.find(other.as_bytes(), |at| names[at].as_bytes()), names.binary_search(&other.as_str()).ok());
        }
    }
}
