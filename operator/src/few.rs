//! A sorted set that mostly holds one thing.

/// A sorted set. A `BTreeSet` of one takes the room of eleven, and with many tenants there are many of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<T>(Vec<T>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> Few<T> {
    /// Adds `item`, unless it is there.
    pub fn insert(&mut self, item: T) {
        if let Err(place) = self.0.binary_search(&item) {
            if self.0.is_empty() {
                self.0.reserve_exact(1);
            }
            self.0.insert(place, item);
        }
    }

    /// Takes `item` out, if it is there.
    pub fn remove(&mut self, item: &T) {
        if let Ok(place) = self.0.binary_search(item) {
            self.0.remove(place);
        }
    }

    /// The smallest.
    pub fn first(&self) -> Option<&T> {
        self.0.first()
    }

    /// All of them, smallest first.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// True when there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a, T: Ord> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_sorted_set() {
        let mut few = Few::default();
        [3, 1, 2, 3, 1].into_iter().for_each(|item| few.insert(item));
        assert_eq!(few.iter().copied().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(few.first(), Some(&1));
        few.remove(&2);
        few.remove(&9);
        assert_eq!(few.iter().copied().collect::<Vec<_>>(), [1, 3]);
        [1, 3].iter().for_each(|item| few.remove(item));
        assert!(few.is_empty());
    }
}
