//! Comparing what was recorded with what came out this time, bit for bit, and naming the first place.

use serde::Serialize;
use serde_json::Value;

/// A place where two results differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The field, such as `command.joints.q[2]`.
    pub field: String,
    /// What the recording has.
    pub recorded: String,
    /// What came out this time.
    pub replayed: String,
}

/// The first place where two values differ, as they would be written to a recording; `None` if they are the
/// same to the last bit. Only what is written is compared.
///
/// # Errors
/// The serializer's.
pub fn first_difference<T: Serialize>(recorded: &T, replayed: &T) -> serde_json::Result<Option<Place>> {
    // Equal texts are equal bits: each number has one text, and NaN has its bits in it.
    if serde_json::to_string(recorded)? == serde_json::to_string(replayed)? {
        return Ok(None);
    }
    let (recorded, replayed) = (serde_json::to_value(recorded)?, serde_json::to_value(replayed)?);
    Ok(Some(find("", &recorded, &replayed).unwrap_or_else(|| Place {
        field: String::new(),
        recorded: recorded.to_string(),
        replayed: replayed.to_string(),
    })))
}

fn find(path: &str, a: &Value, b: &Value) -> Option<Place> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => a.iter().find_map(|(key, value)| {
            let dot = if path.is_empty() { "" } else { "." };
            find(&format!("{path}{dot}{key}"), value, b.get(key)?)
        }),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(index, (a, b))| find(&format!("{path}[{index}]"), a, b))
        }
        // By text, so that -0.0 is not 0.0.
        _ if a.to_string() == b.to_string() => None,
        _ => Some(Place { field: path.to_owned(), recorded: a.to_string(), replayed: b.to_string() }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Sample {
        list: Vec<f64>,
        #[serde(with = "reflexarc_vla_model::exact")]
        number: f64,
    }

    fn sample(last: f64, number: f64) -> Sample {
        Sample { list: vec![0.5, last], number }
    }

    #[test]
    fn the_first_place_is_named_with_both_sides() {
        let same = first_difference(&sample(0.1, f64::NAN), &sample(0.1, f64::NAN)).unwrap();
        assert_eq!(same, None);
        let other = f64::from_bits(0.1_f64.to_bits() + 1);
        let place = first_difference(&sample(0.1, 0.0), &sample(other, 0.0)).unwrap().unwrap();
        assert_eq!((place.field.as_str(), place.recorded.as_str()), ("list[1]", "0.1"));
        let place = first_difference(&sample(0.1, 0.0), &sample(0.1, -0.0)).unwrap().unwrap();
        assert_eq!((place.field.as_str(), place.replayed.as_str()), ("number", "-0.0"));
    }
}
