//! Named texts: the custom header of a command, the properties of a message.

use std::fmt;
use std::ops::Index;

/// Texts by name, sorted by name.
///
/// A simulated second has thousands of them, and each command a dozen: they share one buffer
/// instead of having two allocations each.
///
/// # Examples
///
/// ```
/// use rocketmq_testkit::wire::Fields;
///
/// let mut fields = Fields::new();
/// fields.insert("topic", "Orders");
/// fields.insert("queueId", "3");
/// assert_eq!(fields.get("topic"), Some("Orders"));
/// assert_eq!(&fields["queueId"], "3");
/// assert_eq!(fields.iter().next(), Some(("queueId", "3")));
/// ```
#[derive(Clone, Default)]
pub struct Fields {
    /// Names, each followed by its value, in the order in which they came.
    text: String,
    /// Sorted by name.
    places: Vec<Place>,
}

/// Where in the buffer a name begins, where it ends and its value begins, and where that ends.
#[derive(Clone, Copy)]
struct Place {
    name: u32,
    value: u32,
    end: u32,
}

impl Fields {
    /// No fields.
    pub const fn new() -> Self {
        Self { text: String::new(), places: Vec::new() }
    }

    /// With room for this much text.
    pub(super) fn with_capacity(text: usize) -> Self {
        Self { text: String::with_capacity(text), places: Vec::with_capacity(16) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The text with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.find(name).ok()?;
        Some(self.at(self.places[found]).1)
    }

    /// Whether there is a text with this name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// Adds a text, in the place of one with the same name.
    pub fn insert(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        let found = self.find(name);
        let begin = self.offset();
        self.text.push_str(name);
        let middle = self.offset();
        self.text.push_str(value);
        let place = Place { name: begin, value: middle, end: self.offset() };
        match found {
            // The old text stays in the buffer, out of sight: this is rare.
            Ok(index) => self.places[index] = place,
            Err(index) => self.places.insert(index, place),
        }
    }

    /// Takes a text out.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let place = self.find(name).ok().map(|index| self.places.remove(index))?;
        Some(self.at(place).1.to_owned())
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.text.clear();
        self.places.clear();
    }

    /// Names and texts, sorted by name.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> + ExactSizeIterator {
        self.places.iter().map(|place| self.at(*place))
    }

    fn offset(&self) -> u32 {
        u32::try_from(self.text.len()).expect("fields of less than 4 GiB")
    }

    fn at(&self, place: Place) -> (&str, &str) {
        let [name, value, end] = [place.name, place.value, place.end].map(|at| at as usize);
        (&self.text[name..value], &self.text[value..end])
    }

    fn name_at(&self, index: usize) -> &[u8] {
        let place = self.places[index];
        &self.text.as_bytes()[place.name as usize..place.value as usize]
    }

    /// The index of a name, or where it would be.
    fn find(&self, name: &str) -> Result<usize, usize> {
        // What comes over the wire is mostly sorted already.
        let last = self.places.len().checked_sub(1);
        if last.is_none_or(|last| self.name_at(last) < name.as_bytes()) {
            return Err(self.places.len());
        }
        let bytes =
            |place: &Place| &self.text.as_bytes()[place.name as usize..place.value as usize];
        self.places.binary_search_by(|place| bytes(place).cmp(name.as_bytes()))
    }
}

impl Index<&str> for Fields {
    type Output = str;

    /// # Panics
    /// If there is no text with this name.
    fn index(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("no field {name}"))
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Fields {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Self {
        let mut fields = Self::new();
        pairs.into_iter().for_each(|(name, value)| fields.insert(name, value));
        fields
    }
}

// Where in the buffer the texts are says nothing about them.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::network::Random;

    #[test]
    fn fields_are_a_sorted_map() {
        let mut random = Random::new(5);
        let (mut fields, mut map) = (Fields::new(), BTreeMap::new());
        for step in 0..2_000 {
            let name = ["", "a", "ab", "b", "é", "queueId", "topic"][random.below(7) as usize];
            let value = "x".repeat(random.below(4) as usize);
            match random.below(10) {
                0..4 => {
                    fields.insert(name, &value);
                    map.insert(name, value);
                }
                4..7 => assert_eq!(fields.remove(name), map.remove(name)),
                _ => assert_eq!(fields.get(name), map.get(name).map(String::as_str)),
            }
            if step % 500 == 0 {
                fields.clear();
                map.clear();
            }
            assert_eq!((fields.len(), fields.is_empty()), (map.len(), map.is_empty()));
            assert!(fields.iter().eq(map.iter().map(|(name, value)| (*name, value.as_str()))));
            assert_eq!(fields, map.iter().collect::<Fields>());
            assert_eq!(format!("{fields:?}"), format!("{map:?}"));
        }
    }
}
