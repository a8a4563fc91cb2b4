//! The XML layer of a robot description: one bounded pass that leaves only what this crate uses.
//!
//! `urdf-rs` builds and frees a tree by recursion, which a deep text turns into a stack overflow, drops what is
//! not a number from a vector, and can say neither which element its message is about nor whether a number
//! stood in the file or was filled in. So the text passes through here first. What comes out is a plain document
//! of links with their collision shapes and of joints, without comments, text, namespaces, looks, masses and
//! simulator extensions, and a note of where each element lies and which of a joint's optional attributes were
//! in the file.
//!
//! Work and memory are linear in the length of the text, which is bounded, as are depth and counts.

use std::fmt::Write as _;
use std::ops::Range;

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};

use crate::urdf::UrdfError;

const MAX_BYTES: usize = 64 << 20;
const MAX_ELEMENTS: usize = 1 << 20;
const MAX_ATTRIBUTES: usize = 64;
/// A URDF needs six; simulator extensions go somewhat deeper.
const MAX_DEPTH: usize = 64;

/// Attributes that hold several numbers.
const VECTORS: [&str; 5] = ["xyz", "rpy", "quat_xyzw", "size", "scale"];

/// Which of a joint's optional parts are in the file. `urdf-rs` fills in numbers for absent ones.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    pub(crate) limit: bool,
    pub(crate) lower: bool,
    pub(crate) upper: bool,
    pub(crate) velocity: bool,
    pub(crate) soft_lower: bool,
    pub(crate) soft_upper: bool,
}

/// The cleaned text.
#[derive(Default)]
pub(crate) struct Document {
    pub(crate) text: String,
    /// One per `<joint>`, in the order of the text.
    pub(crate) given: Vec<Given>,
    /// Where the opening tag of `<robot>` lies.
    head: Range<usize>,
    /// What to call each `<link>` and `<joint>`, and where it lies.
    elements: Vec<(String, Range<usize>)>,
    /// Names of the open elements that are kept.
    open: Vec<String>,
    /// Open elements that are left out; they lie inside the kept ones.
    skipped: usize,
    count: usize,
}

impl Document {
    /// Cleans a URDF text.
    pub(crate) fn read(text: &str) -> Result<Self, UrdfError> {
        within("bytes", text.len(), MAX_BYTES)?;
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut document = Self::default();
        loop {
            let event = reader
                .read_event()
                .map_err(|error| unreadable(line(text, reader.error_position()), error))?;
            let at_line = || line(text, reader.buffer_position());
            match event {
                Event::Start(tag) => document.start(&tag, at_line)?,
                Event::End(_) => document.end(),
                Event::Text(between) if document.open.is_empty() && !between.trim_ascii().is_empty() => {
                    return Err(unreadable(at_line(), "text outside <robot>"));
                }
                Event::Eof if !document.open.is_empty() => {
                    return Err(unreadable(at_line(), "it ends inside an element"));
                }
                Event::Eof if document.text.is_empty() => {
                    return Err(unreadable(at_line(), "there is no <robot> element"));
                }
                Event::Eof => return Ok(document),
                _ => {}
            }
        }
    }

    /// Names the first element that `urdf-rs` refuses by itself; `message` is what it said of the whole.
    pub(crate) fn culprit(&self, message: String) -> UrdfError {
        for (element, range) in &self.elements {
            let alone = [&self.text[self.head.clone()], &self.text[range.clone()], "</robot>"].concat();
            if let Err(error) = urdf_rs::read_from_string(&alone) {
                let message = error.to_string().trim_start_matches("custom: ").to_owned();
                return UrdfError::Element { element: element.clone(), message };
            }
        }
        UrdfError::Parse { message }
    }

    fn start(&mut self, tag: &BytesStart<'_>, at_line: impl Fn() -> usize) -> Result<(), UrdfError> {
        let qualified = tag.name();
        let name = utf8(qualified.as_ref());
        let depth = self.open.len() + self.skipped + 1;
        self.count += 1;
        within("nested elements", depth, MAX_DEPTH)?;
        within("elements", self.count, MAX_ELEMENTS)?;
        if name.starts_with("xacro:") {
            return Err(UrdfError::Xacro { found: format!("<{name}>"), line: at_line() });
        }
        if depth == 1 && (name != "robot" || !self.text.is_empty()) {
            return Err(unreadable(at_line(), format!("expected one <robot> element, found <{name}>")));
        }
        if self.skipped > 0 || !self.uses(name) {
            self.skipped += 1;
            return Ok(());
        }
        let start = self.text.len();
        if depth == 2 {
            self.elements.push((format!("<{name}> number {}", self.elements.len() + 1), start..start));
            if name == "joint" {
                self.given.push(Given::default());
            }
        }
        self.note(name, "");
        let _ = write!(self.text, "<{}", plain(name, &at_line)?);
        for (index, attribute) in tag.attributes().enumerate() {
            within("attributes of one element", index + 1, MAX_ATTRIBUTES)?;
            self.attribute(name, &attribute.map_err(|error| unreadable(at_line(), error))?, &at_line)?;
        }
        self.text.push('>');
        if depth == 1 {
            self.head = start..self.text.len();
        }
        self.open.push(name.to_owned());
        Ok(())
    }

    /// Whether an element inside the open ones matters for chains and collisions.
    fn uses(&self, name: &str) -> bool {
        if name.contains(':') {
            return false;
        }
        match self.open.get(1).map(String::as_str) {
            None => self.open.is_empty() || matches!(name, "link" | "joint"),
            Some("link") => self.open.len() > 2 || name == "collision",
            _ => matches!(
                name,
                "origin" | "parent" | "child" | "axis" | "limit" | "mimic" | "safety_controller"
            ),
        }
    }

    fn attribute(
        &mut self,
        element: &str,
        attribute: &Attribute<'_>,
        at_line: &impl Fn() -> usize,
    ) -> Result<(), UrdfError> {
        let key = utf8(attribute.key.as_ref());
        // Namespaces have no meaning in URDF, and the root has only a name and a version.
        let is_root = self.open.is_empty();
        if key.contains(':') || key == "xmlns" || (is_root && !matches!(key, "name" | "version")) {
            return Ok(());
        }
        let value = attribute.unescape_value().map_err(|error| unreadable(at_line(), error))?;
        if value.contains("${") || value.contains("$(") {
            return Err(UrdfError::Xacro { found: format!("{key}=\"{value}\""), line: at_line() });
        }
        if VECTORS.contains(&key)
            && let Some(word) = value.split_whitespace().find(|word| word.parse::<f64>().is_err())
        {
            let message = format!("{key} of <{element}> holds `{word}`, expected numbers");
            return Err(match self.elements.last() {
                Some((of, _)) => UrdfError::Element { element: of.clone(), message },
                None => unreadable(at_line(), message),
            });
        }
        let _ = write!(self.text, " {}=\"{}\"", plain(key, at_line)?, escape(value.as_ref()));
        if self.open.len() == 1
            && key == "name"
            && let Some((label, _)) = self.elements.last_mut()
        {
            *label = format!("{element} `{value}`");
        }
        self.note(element, key);
        Ok(())
    }

    /// Keeps in mind that a child `element` of a joint has the attribute `key`, or is there at all (no key). Links
    /// have no children of these names.
    fn note(&mut self, element: &str, key: &str) {
        let (2, Some(given)) = (self.open.len(), self.given.last_mut()) else { return };
        match (element, key) {
            ("limit", "") => given.limit = true,
            ("limit", "lower") => given.lower = true,
            ("limit", "upper") => given.upper = true,
            ("limit", "velocity") => given.velocity = true,
            ("safety_controller", "soft_lower_limit") => given.soft_lower = true,
            ("safety_controller", "soft_upper_limit") => given.soft_upper = true,
            _ => {}
        }
    }

    fn end(&mut self) {
        if self.skipped > 0 {
            self.skipped -= 1;
            return;
        }
        if let Some(name) = self.open.pop() {
            let _ = write!(self.text, "</{name}>");
        }
        if let (1, Some((_, range))) = (self.open.len(), self.elements.last_mut()) {
            range.end = self.text.len();
        }
    }
}

fn within(what: &'static str, found: usize, capacity: usize) -> Result<(), UrdfError> {
    if found > capacity { Err(UrdfError::TooLarge { what, found, capacity }) } else { Ok(()) }
}

fn unreadable(line: usize, message: impl std::fmt::Display) -> UrdfError {
    UrdfError::Parse { message: format!("line {line}: {message}") }
}

/// The one-based line that holds the byte at `position`.
fn line(text: &str, position: u64) -> usize {
    let position = usize::try_from(position).unwrap_or(usize::MAX).min(text.len());
    1 + text.as_bytes()[..position].iter().filter(|byte| **byte == b'\n').count()
}

/// `name`, if any XML reader takes it for a name.
fn plain<'a>(name: &'a str, at_line: &impl Fn() -> usize) -> Result<&'a str, UrdfError> {
    let good = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.');
    if name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && name.chars().all(good) {
        return Ok(name);
    }
    Err(unreadable(at_line(), format!("`{name}` is not the name of an element or attribute")))
}

/// Names come from a `str` and are cut at ASCII characters, so they are UTF-8.
fn utf8(name: &[u8]) -> &str {
    std::str::from_utf8(name).unwrap_or_default()
}
