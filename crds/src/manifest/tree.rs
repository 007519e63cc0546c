//! YAML text to trees of values that know their place.
//!
//! In: a file. Out: a tree a document, every problem of syntax with its position. Kubernetes reads YAML 1.1 and we read
//! 1.2, so whatever the two read differently is refused. Never looks at meaning.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};
use serde_json::{Map, Value};

use super::scalar;
use crate::resource::Position;

/// Most nodes that aliases may copy in one file; a small file cannot become a huge tree.
const ALIASED_NODES: usize = 10_000;
/// Bytes of text that weigh as much as a node.
const NODE_BYTES: usize = 64;
/// Deepest nesting; far beyond any manifest, far below the stack.
const DEPTH: usize = 64;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) data: Data,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// Null, a truth value, a number or text.
    Scalar(Value),
    /// A scalar that was objected to.
    Mistaken,
    /// Items in order.
    List(Vec<Node>),
    /// Fields in order, each with the place of its key.
    Fields(Vec<(String, Position, Node)>),
}

/// What is known of a document's fields and items, by JSON pointer.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Where each begins: a field at its name.
    pub(crate) positions: BTreeMap<String, Position>,
    /// Those that hold a scalar that was objected to.
    pub(crate) mistaken: BTreeSet<String>,
}

/// A mistake in the YAML itself.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) at: Position,
    pub(crate) message: String,
}

/// What a file holds: its documents, and every mistake.
pub(crate) fn read(text: &str) -> (Vec<Node>, Vec<Mistake>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        Reader { parser: Parser::new_from_str(text), text, anchors: HashMap::new(), copied: 0, mistakes: Vec::new() };
    let mut documents = Vec::new();
    if let Err(stop) = reader.documents(&mut documents) {
        reader.mistakes.push(stop);
    }
    (documents, reader.mistakes)
}

impl Node {
    /// The plain value, and what is known of every field and item by JSON pointer.
    pub(crate) fn value(&self, pointer: &str, places: &mut Places) -> Value {
        match &self.data {
            Data::Scalar(value) => value.clone(),
            Data::Mistaken => {
                places.mistaken.insert(pointer.to_owned());
                Value::Null
            }
            Data::List(items) => {
                let item = |(i, node): (usize, &Self)| {
                    let pointer = format!("{pointer}/{i}");
                    places.positions.insert(pointer.clone(), node.at);
                    node.value(&pointer, places)
                };
                Value::Array(items.iter().enumerate().map(item).collect())
            }
            Data::Fields(fields) => {
                let field = |(key, at, node): &(String, Position, Self)| {
                    let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                    places.positions.insert(pointer.clone(), *at);
                    (key.clone(), node.value(&pointer, places))
                };
                Value::Object(fields.iter().map(field).collect::<Map<_, _>>())
            }
        }
    }

    fn size(&self) -> usize {
        1 + match &self.data {
            Data::Scalar(Value::String(text)) => text.len() / NODE_BYTES,
            Data::Scalar(_) | Data::Mistaken => 0,
            Data::List(items) => items.iter().map(Self::size).sum(),
            Data::Fields(fields) => fields.iter().map(|(key, _, node)| key.len() / NODE_BYTES + node.size()).sum(),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    anchors: HashMap<usize, Node>,
    copied: usize,
    mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Position)>, Mistake> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, position(&span.start)))),
            Some(Err(error)) => Err(self.broken(&error)),
        }
    }

    fn documents(&mut self, documents: &mut Vec<Node>) -> Result<(), Mistake> {
        while let Some((event, at)) = self.next()? {
            match event {
                Event::StreamEnd => break,
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                event => {
                    let node = self.node(event, at, 0)?;
                    // A document that holds nothing but comments reads as null.
                    if !matches!(node.data, Data::Scalar(Value::Null)) {
                        documents.push(node);
                    }
                }
            }
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, at: Position, depth: usize) -> Result<Node, Mistake> {
        if depth > DEPTH {
            return Err(Mistake { at, message: format!("nested more than {DEPTH} levels deep") });
        }
        let (data, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref().map(shown);
                let plain = style == ScalarStyle::Plain;
                let data = scalar::resolve(&text, plain, tag.as_deref()).map(Data::Scalar).unwrap_or_else(|message| {
                    self.mistakes.push(Mistake { at, message });
                    Data::Mistaken
                });
                (data, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.untagged(tag.as_deref(), at);
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.untagged(tag.as_deref(), at);
                (self.fields(depth)?, anchor)
            }
            _ => return Err(Mistake { at, message: "unexpected end of the document".into() }),
        };
        let node = Node { at, data };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn untagged(&mut self, tag: Option<&Tag>, at: Position) {
        if let Some(tag) = tag.map(shown) {
            self.mistakes.push(Mistake { at, message: format!("remove the tag {tag}: manifests use none") });
        }
    }

    fn list(&mut self, depth: usize) -> Result<Data, Mistake> {
        let mut items = Vec::new();
        while let Some((event, at)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, at, depth + 1)?);
        }
        Ok(Data::List(items))
    }

    fn fields(&mut self, depth: usize) -> Result<Data, Mistake> {
        let mut fields: Vec<(String, Position, Node)> = Vec::new();
        let mut places: HashMap<String, Position> = HashMap::new();
        while let Some((event, at)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, at, depth + 1)?;
            let Some((event, value_at)) = self.next()? else { break };
            let value = self.node(event, value_at, depth + 1)?;
            let Some(name) = self.key(key) else { continue };
            match places.get(&name) {
                Some(first) => {
                    let message = format!("field {name} is given twice, first on line {}: remove one", first.line);
                    self.mistakes.push(Mistake { at, message });
                }
                None => {
                    places.insert(name.clone(), at);
                    fields.push((name, at, value));
                }
            }
        }
        Ok(Data::Fields(fields))
    }

    fn key(&mut self, node: Node) -> Option<String> {
        let message = match node.data {
            Data::Mistaken => return None,
            Data::Scalar(Value::String(text)) if text == "<<" => {
                "merge keys (<<) are not read: write the fields out".to_owned()
            }
            Data::Scalar(Value::String(text)) => return Some(text),
            Data::Scalar(other) => format!("a field's name must be text: quote it, as in \"{other}\""),
            Data::List(_) | Data::Fields(_) => "a field's name must be text, not a list or fields".to_owned(),
        };
        self.mistakes.push(Mistake { at: node.at, message });
        None
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<Node, Mistake> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Mistake { at, message: "an alias inside its own anchor: write the value out".into() });
        };
        self.copied += node.size();
        if self.copied > ALIASED_NODES {
            return Err(Mistake { at, message: format!("aliases copy more than {ALIASED_NODES} values") });
        }
        Ok(Node { at, data: node.data.clone() })
    }

    /// A syntax error; the parser cannot go on after it.
    fn broken(&self, error: &ScanError) -> Mistake {
        let at = position(error.marker());
        let line = self.text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
        let indent = line.len() - line.trim_start().len();
        let message = match line.get(..indent).and_then(|blank| blank.find('\t')) {
            Some(_) => "a tab in the indentation: YAML is indented with spaces".to_owned(),
            None => format!("not YAML: {}; nothing after this line was checked", error.info()),
        };
        Mistake { at, message }
    }
}

/// A tag as people write it.
fn shown(tag: &Tag) -> String {
    if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() }
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}
