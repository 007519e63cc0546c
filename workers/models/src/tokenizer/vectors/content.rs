//! Vectors from what is written about items.
//!
//! In: attributes and text of each item. Out: rows of `U·√Σ` of the TF-IDF matrix of `key=value` attributes and
//! lower-case words, scaled to length 1. Features of a single item are left out: they bring no two items together.
//! Never looks at who consumed what.

use std::collections::{BTreeMap, HashMap};

use recmesh_contract::config::Content;

use super::{TokenizerError, Vectors, factorise::factorise, sparse::Sparse};

/// What is written about one item.
#[derive(Clone, Debug, Default)]
pub struct ItemText<'a> {
    /// Key and value.
    pub attributes: Vec<(&'a str, &'a str)>,
    /// Free text: titles, descriptions.
    pub text: &'a str,
}

/// One vector an item out of attributes and text. An item that shares no feature with another has the zero vector.
///
/// # Errors
/// When there are no items.
pub fn content(items: &[ItemText<'_>], params: &Content, seed: u64, threads: usize) -> Result<Vectors, TokenizerError> {
    if items.is_empty() {
        return Err(TokenizerError::NoItems);
    }
    factorise(&weigh(items), params.dims as usize, seed, threads)
}

/// The TF-IDF matrix: `(1 + ln tf)·ln(items/df)`, rows of length 1.
fn weigh(items: &[ItemText<'_>]) -> Sparse {
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut documents: Vec<u32> = Vec::new();
    let counted: Vec<BTreeMap<u32, u32>> = items
        .iter()
        .map(|item| {
            let mut terms: BTreeMap<u32, u32> = BTreeMap::new();
            for feature in features(item) {
                let fresh = numbers.len() as u32;
                let number = *numbers.entry(feature).or_insert(fresh);
                *terms.entry(number).or_insert(0) += 1;
            }
            documents.resize(numbers.len(), 0);
            terms.keys().for_each(|&term| documents[term as usize] += 1);
            terms
        })
        .collect();
    let total = items.len() as f64;
    let rows = counted.iter().map(|terms| {
        let weight = |(&term, &count): (&u32, &u32)| {
            let found = documents[term as usize];
            // A feature of every item says little, but it is all that a catalog of equal items has.
            let rarity = (total / f64::from(found)).ln().max(1e-3);
            (found > 1).then(|| (term, (1.0 + f64::from(count).ln()) * rarity))
        };
        let row: Vec<(u32, f64)> = terms.iter().filter_map(weight).collect();
        let length = row.iter().map(|(_, w)| w * w).sum::<f64>().sqrt();
        row.into_iter().map(|(term, w)| (term, (w / length) as f32)).collect()
    });
    Sparse::from_rows(numbers.len(), rows)
}

/// `key=value` of attributes, words of text. A separator that no word holds keeps both apart.
fn features(item: &ItemText<'_>) -> impl Iterator<Item = String> {
    let attributes = item.attributes.iter().map(|(key, value)| format!("{key}={}", value.trim().to_lowercase()));
    let words = item.text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    attributes.chain(words.map(str::to_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item<'a>(brand: &'a str, text: &'a str) -> ItemText<'a> {
        ItemText { attributes: vec![("brand", brand)], text }
    }

    #[test]
    fn alike_items_are_near() {
        let items = [
            item("Acme", "Red tennis racket, light"),
            item("acme", "tennis racket (blue)"),
            item("Acme", "light TENNIS racket"),
            item("Bolt", "running shoe light"),
            item("Bolt", "Running shoe blue"),
            item("bolt", "red running shoe"),
        ];
        let vectors = content(&items, &Content { dims: 2 }, 1, 1).unwrap();
        let dot = |a: usize, b: usize| vectors.of(a).iter().zip(vectors.of(b)).map(|(x, y)| x * y).sum::<f32>();
        for a in 0..6 {
            for b in (0..6).filter(|&b| b != a) {
                assert_eq!(dot(a, b) > 0.5, a / 3 == b / 3, "{a} {b}: {}", dot(a, b));
            }
        }
    }

    #[test]
    fn weights_are_tf_idf() {
        let items = [item("a", "x x y"), item("a", "y"), item("b", "")];
        let matrix = weigh(&items);
        // Brand a and word y stand in two of three items each; x and brand b in one only, so they are left out.
        let (brand, y) = ((3.0f64 / 2.0).ln(), (3.0f64 / 2.0).ln());
        let row: Vec<f32> = matrix.entries[matrix.offsets[0]..matrix.offsets[1]].iter().map(|e| e.1).collect();
        let length = (brand * brand + y * y).sqrt();
        assert_eq!(row, [(brand / length) as f32, (y / length) as f32]);
        assert_eq!(matrix.offsets[2], matrix.offsets[3], "nothing shared, nothing kept");
    }

    #[test]
    fn hard_inputs() {
        let params = Content { dims: 4 };
        assert!(content(&[], &params, 1, 1).is_err());
        let lone = content(&[item("a", "b")], &params, 1, 1).unwrap();
        assert!(lone.data.iter().all(|&x| x == 0.0));
        let same = content(&[item("a", "b"), item("a", "b")], &params, 1, 1).unwrap();
        assert!(same.of(0).iter().zip(same.of(1)).all(|(a, b)| (a - b).abs() < 1e-6));
        assert!(same.of(0).iter().any(|&x| x != 0.0));
    }
}
