//! Why a text is not a configuration: which key, with which value, on which line, and what was expected.
//!
//! serde says what is wrong and not where. So each key of the text is tried by itself, and the first that
//! does not fit is named.

use serde::Deserialize as _;
use toml::de::DeTable;
use toml::{Table, Value};

use crate::config::{Config, ConfigError};

/// Names further apart than this share of their letters are not taken for a slip of the pen.
const SLIP: f64 = 0.5;

/// The error of a text that does not parse to a configuration. `error` is what the parser said.
pub(crate) fn explain(text: &str, error: &toml::de::Error) -> ConfigError {
    let found =
        text.parse::<Table>().ok().and_then(|table| first_fault(&mut Vec::new(), &Value::Table(table)));
    match found {
        Some(Fault { path, value, expected }) => {
            let at = line_of(text, &path).map_or_else(String::new, |line| format!(" (line {line})"));
            ConfigError::Value { key: path.join(".").into(), value, expected, at }
        }
        // Not TOML at all; the parser shows the line.
        None => ConfigError::Parse { origin: String::new(), message: error.to_string() },
    }
}

/// The line, counted from 1, on which a key is set.
pub(crate) fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let (mut table, mut start) = (table.into_inner(), None);
    for (index, part) in path.iter().enumerate() {
        let (key, value) = table.into_iter().find(|(key, _)| key.get_ref() == part)?;
        start = Some(key.span().start);
        match value.into_inner() {
            toml::de::DeValue::Table(inner) => table = inner,
            _ if index + 1 == path.len() => break,
            _ => return None,
        }
    }
    let before = text.get(..start?)?;
    Some(before.matches('\n').count() + 1)
}

struct Fault {
    path: Vec<String>,
    value: String,
    expected: String,
}

/// The first key below `path` that does not fit.
fn first_fault(path: &mut Vec<String>, value: &Value) -> Option<Fault> {
    let error = fit(path, value).err()?;
    let is_unknown = error.starts_with("unknown field");
    if let (Value::Table(entries), false) = (value, is_unknown && is_about(&error, path.last())) {
        for (key, inner) in entries {
            path.push(key.clone());
            let found = first_fault(path, inner);
            path.pop();
            if found.is_some() {
                return found;
            }
        }
    }
    let shown = match value {
        Value::Table(_) => "a section".to_owned(),
        other => other.to_string(),
    };
    let expected = if is_unknown { known_keys(path) } else { in_words(path, &error, value) };
    Some(Fault { path: path.clone(), value: shown, expected })
}

/// Whether an error about an unknown key is about this one, not about one inside it.
fn is_about(error: &str, key: Option<&String>) -> bool {
    key.is_some_and(|key| error.starts_with(&format!("unknown field `{key}`")))
}

/// Tries a configuration in which only this key is set.
fn fit(path: &[String], value: &Value) -> Result<(), String> {
    let mut nested = value.clone();
    for part in path.iter().rev() {
        nested = Value::Table(Table::from_iter([(part.clone(), nested)]));
    }
    Config::deserialize(nested).map(drop).map_err(|error| error.message().to_owned())
}

/// All keys that may stand in the section `path`; empty where that is no section.
pub(crate) fn keys_of(path: &[String]) -> Vec<String> {
    // No key has this name, so that serde lists those that there are.
    let mut path = path.to_vec();
    path.push("?".into());
    let error = fit(&path, &Value::Boolean(true)).err().unwrap_or_default();
    if !error.starts_with("unknown field") {
        return Vec::new();
    }
    error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

fn known_keys(path: &[String]) -> String {
    let Some((wrong, section)) = path.split_last() else {
        return "a table of sections".into();
    };
    let keys = keys_of(section);
    let close = keys
        .iter()
        .map(|key| (strsim::damerau_levenshtein(wrong, key), key))
        .filter(|(distance, key)| *distance as f64 <= SLIP * key.len().max(wrong.len()) as f64)
        .min();
    let guess = close.map_or_else(String::new, |(_, key)| format!("; did you mean `{key}`?"));
    format!("a known key, one of {}{guess}", keys.join(", "))
}

/// What serde expected, in the words of someone who writes a file.
fn in_words(path: &[String], error: &str, value: &Value) -> String {
    let one_of_words = error.ends_with("expected string or table") || error.ends_with("string only");
    let is_itself = one_of_words || error.starts_with("invalid type: sequence");
    let mut error = error.to_owned();
    if one_of_words {
        // One of several words: they are told when another word is tried.
        error = fit(path, &Value::String("?".into())).err().unwrap_or(error);
    }
    let error = error.as_str();
    let wanted = error.split_once(", expected ").map_or(error, |(_, wanted)| wanted).trim();
    let wanted = wanted.split('\n').next().unwrap_or(wanted);
    let words = match wanted {
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" => "a whole number from 0 to 4294967295".into(),
        "u64" | "usize" => "a whole number, 0 or more".into(),
        "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a string" => "text in quotes".into(),
        "path string" => "a path in quotes".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list in brackets".into(),
        other if other.starts_with("struct ") => "a section of keys".into(),
        other => other.replace('`', "\"").replace("an array of length", "a list of length"),
    };
    // An element is at fault where the list itself would do.
    let element = matches!(value, Value::Array(_)) && !is_itself && !words.starts_with("a list");
    if element { format!("a list whose entries are each {words}") } else { words }
}
