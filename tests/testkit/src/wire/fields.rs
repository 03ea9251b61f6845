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
    /// Tells most names apart without a look into the buffer.
    prefix: u64,
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
    pub(crate) fn with_capacity(text: usize) -> Self {
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
        let found = self.find(prefix(name), name).ok()?;
        Some(self.at(self.places[found]).1)
    }

    /// Whether there is a text with this name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.find(prefix(name), name).is_ok()
    }

    /// Adds a text, in the place of one with the same name.
    pub fn insert(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        let prefix = prefix(name);
        let found = self.find(prefix, name);
        let begin = self.offset();
        self.text.push_str(name);
        let middle = self.offset();
        self.text.push_str(value);
        let place = Place { prefix, name: begin, value: middle, end: self.offset() };
        match found {
            // The old text stays in the buffer, out of sight: this is rare.
            Ok(index) => self.places[index] = place,
            Err(index) => self.places.insert(index, place),
        }
    }

    /// Takes a text out.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let place = self.find(prefix(name), name).ok().map(|index| self.places.remove(index))?;
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

    /// The index of a name, or where it would be.
    fn find(&self, prefix: u64, name: &str) -> Result<usize, usize> {
        // What comes over the wire is mostly sorted already.
        if self.places.last().is_none_or(|last| last.prefix < prefix) {
            return Err(self.places.len());
        }
        let order = |place: &Place| {
            // Equal prefixes say nothing about what is behind them, or about zeros at the end.
            place.prefix.cmp(&prefix).then_with(|| self.at(*place).0.cmp(name))
        };
        self.places.binary_search_by(order)
    }
}

/// The first eight bytes of a name, ordered as they are.
fn prefix(name: &str) -> u64 {
    let first = name.bytes().take(8);
    first.zip((0..8).rev()).fold(0, |prefix, (byte, place)| prefix | u64::from(byte) << (8 * place))
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
            let name = ["", "a", "a\0", "ab", "é", "queueId", "queueOffset", "queueOffs"]
                [random.below(8) as usize];
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
