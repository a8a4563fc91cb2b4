//! Reading a dataset back and checking it, the silent faults first: those with which LeRobot loads a set
//! that is not what was recorded.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};

use super::dataset::VERSION;

/// What a sound dataset holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Demonstrations.
    pub episodes: usize,
    /// Frames of all of them.
    pub frames: usize,
    /// The instructions.
    pub tasks: Vec<String>,
}

/// Reads the whole dataset in `folder`.
///
/// Checked are the version; that each task has its words (`tasks.parquet` must tell pandas that they are the
/// index); that episodes follow each other without a gap, one row group each; that index, timestamp and task
/// of every frame are right; that images decode to the promised size and numbers are finite; and that every
/// feature has statistics of its shape.
///
/// # Errors
/// The first fault, with the file and what was expected.
pub fn verify(folder: &Path) -> Result<Contents> {
    let info = read_json(&folder.join("meta/info.json"))?;
    ensure!(info["codebase_version"] == VERSION, "version {}, expected {VERSION}", info["codebase_version"]);
    let fps = info["fps"].as_u64().filter(|fps| *fps > 0).ok_or_else(|| anyhow!("info.json: no fps"))?;
    let features = info["features"].as_object().ok_or_else(|| anyhow!("info.json: no features"))?;
    verify_statistics(&read_json(&folder.join("meta/stats.json"))?, features)?;
    let tasks = read_tasks(&folder.join("meta/tasks.parquet"))?;
    let episodes = rows(&open(&folder.join("meta/episodes/chunk-000/file-000.parquet"))?)?;
    let mut frames = 0;
    let mut data: Option<((i64, i64), SerializedFileReader<File>, usize)> = None;
    for (number, episode) in episodes.iter().enumerate() {
        let int = |name: &str| int_of(episode, name).with_context(|| format!("episode {number}"));
        let (from, length) = (int("dataset_from_index")?, int("length")?);
        ensure!(int("episode_index")? == number as i64, "episode {number} is out of order");
        ensure!(from == frames as i64, "episode {number} begins at {from}, expected {frames}");
        ensure!(
            int("dataset_to_index")? == from + length,
            "episode {number} does not end where its length says"
        );
        let file = (int("data/chunk_index")?, int("data/file_index")?);
        let (reader, group) = match data.take().filter(|(open, ..)| *open == file) {
            Some((_, reader, group)) => (reader, group + 1),
            None => {
                let name = format!("data/chunk-{:03}/file-{:03}.parquet", file.0, file.1);
                (open(&folder.join(name))?, 0)
            }
        };
        ensure!(group < reader.num_row_groups(), "episode {number} has no row group of its own");
        let rows: Vec<Row> = reader.get_row_group(group)?.get_row_iter(None)?.collect::<Result<_, _>>()?;
        ensure!(rows.len() as i64 == length, "episode {number}: {} rows, expected {length}", rows.len());
        for (i, row) in rows.iter().enumerate() {
            let place = || format!("episode {number}, frame {i}");
            let expected = [("frame_index", i), ("index", frames + i), ("episode_index", number)];
            for (name, expected) in expected {
                let found = int_of(row, name).with_context(place)?;
                ensure!(found == expected as i64, "{}: {name} {found}, expected {expected}", place());
            }
            let task = usize::try_from(int_of(row, "task_index")?).ok().and_then(|task| tasks.get(task));
            let task = task.ok_or_else(|| anyhow!("{}: a task that has no words", place()))?;
            ensure!(texts_of(episode, "tasks")? == [task.as_str()], "{}: another task", place());
            let at = field(row, "timestamp")?;
            ensure!(*at == Field::Float(i as f32 / fps as f32), "{}: timestamp {at}", place());
            for (name, feature) in features {
                verify_value(field(row, name)?, feature).with_context(|| format!("{}: {name}", place()))?;
            }
        }
        frames += rows.len();
        data = Some((file, reader, group));
    }
    for (name, found) in
        [("total_episodes", episodes.len()), ("total_frames", frames), ("total_tasks", tasks.len())]
    {
        ensure!(info[name] == json!(found), "info.json: {name} {}, expected {found}", info[name]);
    }
    Ok(Contents { episodes: episodes.len(), frames, tasks })
}

/// The instructions in order. LeRobot finds them by the table's index as pandas has it.
fn read_tasks(path: &Path) -> Result<Vec<String>> {
    let reader = open(path)?;
    let notes = reader.metadata().file_metadata().key_value_metadata();
    let note = notes.and_then(|notes| notes.iter().find(|note| note.key == "pandas"));
    let note: Value = match note.and_then(|note| note.value.as_deref()) {
        Some(text) => serde_json::from_str(text)?,
        None => bail!("{}: no `pandas` metadata: every instruction would be read as 0", path.display()),
    };
    ensure!(
        note["index_columns"] == json!(["task"]),
        "{}: pandas index {}, expected [\"task\"]",
        path.display(),
        note["index_columns"]
    );
    let mut tasks = Vec::new();
    for (number, row) in rows(&reader)?.iter().enumerate() {
        ensure!(int_of(row, "task_index")? == number as i64, "task {number} is out of order");
        let Field::Str(task) = field(row, "task")? else { bail!("task {number} has no words") };
        tasks.push(task.clone());
    }
    Ok(tasks)
}

fn verify_value(value: &Field, feature: &Value) -> Result<()> {
    let shape: Vec<u64> =
        feature["shape"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    match (feature["dtype"].as_str(), shape.as_slice(), value) {
        (Some("int64"), [1], Field::Long(_)) => Ok(()),
        (Some("float32"), [1], Field::Float(value)) if value.is_finite() => Ok(()),
        (Some("float32"), [width], Field::ListInternal(list)) => {
            ensure!(list.len() as u64 == *width, "{} values, expected {width}", list.len());
            let finite = |value: &Field| matches!(value, Field::Float(value) if value.is_finite());
            ensure!(list.elements().iter().all(finite), "a value that is no finite number");
            Ok(())
        }
        (Some("image"), [height, width, 3], Field::Group(image)) => {
            let Field::Bytes(file) = field(image, "bytes")? else { bail!("no image") };
            let image = image::load_from_memory(file.data())?;
            let found = (u64::from(image.height()), u64::from(image.width()));
            ensure!(found == (*height, *width), "an image of {found:?} rows and columns, expected {shape:?}");
            Ok(())
        }
        (dtype, ..) => bail!("{value} is not {dtype:?} of shape {shape:?}"),
    }
}

fn verify_statistics(statistics: &Value, features: &serde_json::Map<String, Value>) -> Result<()> {
    for (name, feature) in features {
        let image = feature["dtype"] == "image";
        let width = if image { 3 } else { feature["shape"][0].as_u64().unwrap_or(0) as usize };
        for statistic in ["min", "max", "mean", "std", "q01", "q10", "q50", "q90", "q99"] {
            let values = statistics[name][statistic].as_array().map_or(&[][..], Vec::as_slice);
            let number = |value: &Value| if image { value[0][0].is_number() } else { value.is_number() };
            ensure!(
                values.len() == width && values.iter().all(number),
                "stats.json: {statistic} of {name} is {}, expected {width} numbers",
                statistics[name][statistic]
            );
        }
        ensure!(statistics[name]["count"][0].is_u64(), "stats.json: no count of {name}");
    }
    Ok(())
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

fn open(path: &Path) -> Result<SerializedFileReader<File>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    SerializedFileReader::new(file).with_context(|| format!("{} is not Parquet", path.display()))
}

fn rows(reader: &SerializedFileReader<File>) -> Result<Vec<Row>> {
    Ok(reader.get_row_iter(None)?.collect::<Result<_, _>>()?)
}

fn field<'a>(row: &'a Row, name: &str) -> Result<&'a Field> {
    let found = row.get_column_iter().find(|(column, _)| *column == name);
    found.map(|(_, field)| field).ok_or_else(|| anyhow!("no column {name}"))
}

fn int_of(row: &Row, name: &str) -> Result<i64> {
    match field(row, name)? {
        Field::Long(value) => Ok(*value),
        other => bail!("{name} is {other}, expected an integer"),
    }
}

fn texts_of<'a>(row: &'a Row, name: &str) -> Result<Vec<&'a str>> {
    let Field::ListInternal(list) = field(row, name)? else { bail!("{name} is no list") };
    let text = |value: &'a Field| match value {
        Field::Str(text) => Ok(text.as_str()),
        other => bail!("{name} holds {other}, expected words"),
    };
    list.elements().iter().map(text).collect()
}
