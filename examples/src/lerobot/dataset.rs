//! Writing a LeRobotDataset, version 3.0.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use reflexarc_vla_model::observation::{Camera, Observation};
use serde_json::{Value, json};

use super::columns::{Column, Table};
use super::statistics::{Numbers, Pixels};

/// Version of the format.
pub const VERSION: &str = "v3.0";
/// Most bytes of images in one data file; the next episode begins another file.
const FILE_BYTES: usize = 100 << 20;
/// Most files in one folder.
const FILES_PER_CHUNK: usize = 1000;
/// Path of a data file; LeRobot fills in the numbers.
const DATA_PATH: &str = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet";

/// One step of a demonstration.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// What a policy would have been shown.
    pub observation: Observation,
    /// What was commanded at that moment: joint angles, rad, then the gripper's opening, metres.
    pub action: Vec<f32>,
}

/// One demonstration.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The instruction.
    pub task: String,
    /// Its frames, evenly spaced in time.
    pub frames: Vec<Frame>,
}

/// Where one episode lies.
struct Entry {
    task: String,
    length: usize,
    first: usize,
    file: usize,
}

/// A dataset under construction. Episodes go to the disk as they come; [`Writer::finish`] writes what
/// describes them.
pub struct Writer {
    folder: PathBuf,
    fps: u32,
    names: Vec<String>,
    cameras: Vec<(String, usize, usize)>,
    table: Option<Table>,
    file: usize,
    tasks: Vec<String>,
    episodes: Vec<Entry>,
    numbers: BTreeMap<String, Numbers>,
    pixels: BTreeMap<String, Pixels>,
}

impl Writer {
    /// Begins a dataset in `folder`, which must be empty or not exist, at `fps` frames per second. `names`
    /// are those of the joints and the gripper.
    ///
    /// # Errors
    /// When the folder holds something.
    pub fn create(folder: &Path, fps: u32, names: &[&str]) -> Result<Self> {
        if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            bail!("{} is not empty: a dataset wants a folder of its own", folder.display());
        }
        ensure!(fps > 0, "a dataset needs at least one frame per second");
        Ok(Self {
            folder: folder.to_owned(),
            fps,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            cameras: Vec::new(),
            table: None,
            file: 0,
            tasks: Vec::new(),
            episodes: Vec::new(),
            numbers: BTreeMap::new(),
            pixels: BTreeMap::new(),
        })
    }

    /// Frames so far.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.episodes.last().map_or(0, |entry| entry.first + entry.length)
    }

    /// Adds one episode as one row group.
    ///
    /// # Errors
    /// When it has no frames, its frames differ in shape from those before, or the disk refuses.
    pub fn push(&mut self, recording: &Recording) -> Result<()> {
        let Some(first) = recording.frames.first() else { bail!("an episode without frames") };
        let shapes =
            |observation: &Observation| -> Vec<_> { observation.cameras.iter().map(shape_of).collect() };
        if self.episodes.is_empty() {
            self.cameras = shapes(&first.observation);
        }
        for frame in &recording.frames {
            let found = shapes(&frame.observation);
            ensure!(found == self.cameras, "cameras {found:?}, expected {:?}", self.cameras);
            frame.observation.check_body(self.names.len() - 1)?;
            let width = frame.action.len();
            ensure!(width == self.names.len(), "an action of {width} values, expected {}", self.names.len());
            ensure!(frame.action.iter().all(|v| v.is_finite()), "an action that is not finite");
        }
        let task = self.tasks.iter().position(|task| *task == recording.task).unwrap_or_else(|| {
            self.tasks.push(recording.task.clone());
            self.tasks.len() - 1
        });
        let columns = self.columns(recording, task)?;
        let size: usize = columns.iter().map(|(_, column)| image_bytes(column)).sum();
        if let Some(table) = self.table.take_if(|table| table.bytes() + size > FILE_BYTES) {
            table.finish()?;
            self.file += 1;
        }
        let path = self.data_file();
        let table = match &mut self.table {
            Some(table) => table,
            none => none.insert(Table::create(&path, &columns, &[])?),
        };
        table.push(&columns)?;
        self.count(recording, &columns);
        let entry = Entry {
            task: recording.task.clone(),
            length: recording.frames.len(),
            first: self.frames(),
            file: self.file,
        };
        self.episodes.push(entry);
        Ok(())
    }

    fn data_file(&self) -> PathBuf {
        let (chunk, file) = (self.file / FILES_PER_CHUNK, self.file % FILES_PER_CHUNK);
        self.folder.join(format!("data/chunk-{chunk:03}/file-{file:03}.parquet"))
    }

    fn columns(&self, recording: &Recording, task: usize) -> Result<Vec<(String, Column)>> {
        let frames = &recording.frames;
        let mut columns = Vec::new();
        let floats = |of: &dyn Fn(&Frame) -> Vec<f32>| Column::Floats {
            width: self.names.len(),
            values: frames.iter().flat_map(of).collect(),
        };
        columns.push(("action".to_owned(), floats(&|frame| frame.action.clone())));
        for (i, (name, ..)) in self.cameras.iter().enumerate() {
            let images = frames.iter().enumerate().map(|(number, frame)| {
                Ok((png(&frame.observation.cameras[i])?, format!("frame-{number:06}.png")))
            });
            columns.push((image_key(name), Column::Images(images.collect::<Result<_>>()?)));
        }
        columns.push(("observation.state".to_owned(), floats(&|frame| state_of(&frame.observation))));
        let (episode, first, fps) = (self.episodes.len() as i64, self.frames() as i64, self.fps as f32);
        let count = frames.len() as i64;
        let ints = |of: &dyn Fn(i64) -> i64| Column::Int((0..count).map(of).collect());
        columns.push(("timestamp".to_owned(), Column::Float((0..count).map(|i| i as f32 / fps).collect())));
        columns.push(("frame_index".to_owned(), ints(&|i| i)));
        columns.push(("episode_index".to_owned(), ints(&|_| episode)));
        columns.push(("index".to_owned(), ints(&|i| first + i)));
        columns.push(("task_index".to_owned(), ints(&|_| task as i64)));
        Ok(columns)
    }

    fn count(&mut self, recording: &Recording, columns: &[(String, Column)]) {
        for (name, column) in columns {
            let numbers = self.numbers.entry(name.clone()).or_default();
            match column {
                Column::Int(values) => values.iter().for_each(|v| numbers.push([*v as f64])),
                Column::Float(values) => values.iter().for_each(|v| numbers.push([f64::from(*v)])),
                Column::Floats { width, values } => {
                    values.chunks(*width).for_each(|row| numbers.push(row.iter().map(|v| f64::from(*v))));
                }
                Column::Images(_) | Column::Text(_) | Column::Texts(_) => {
                    self.numbers.remove(name);
                }
            }
        }
        for camera in recording.frames.iter().flat_map(|frame| &frame.observation.cameras) {
            self.pixels.entry(image_key(&camera.name)).or_default().push(&camera.rgb);
        }
    }

    /// Ends the data and writes `meta/`.
    ///
    /// # Errors
    /// When there are no episodes, or the disk refuses.
    pub fn finish(mut self) -> Result<()> {
        let Some(table) = self.table.take() else { bail!("a dataset without episodes") };
        table.finish()?;
        self.write_tasks()?;
        self.write_episodes()?;
        let statistics: BTreeMap<&String, Value> = self
            .numbers
            .iter()
            .map(|(name, numbers)| (name, numbers.to_json()))
            .chain(self.pixels.iter().map(|(name, pixels)| (name, pixels.to_json())))
            .collect();
        self.write_json("meta/stats.json", &json!(statistics))?;
        self.write_json("meta/info.json", &self.info())
    }

    fn info(&self) -> Value {
        let one = |dtype: &str| json!({ "dtype": dtype, "shape": [1], "names": null });
        let vector = || json!({ "dtype": "float32", "shape": [self.names.len()], "names": self.names });
        let mut features = json!({
            "action": vector(),
            "observation.state": vector(),
            "timestamp": one("float32"),
            "frame_index": one("int64"),
            "episode_index": one("int64"),
            "index": one("int64"),
            "task_index": one("int64"),
        });
        for (name, width, height) in &self.cameras {
            features[image_key(name)] = json!({
                "dtype": "image",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
            });
        }
        json!({
            "codebase_version": VERSION,
            "robot_type": "arm7",
            "fps": self.fps,
            "total_episodes": self.episodes.len(),
            "total_frames": self.frames(),
            "total_tasks": self.tasks.len(),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": FILE_BYTES >> 20,
            "video_files_size_in_mb": 200,
            "splits": { "train": format!("0:{}", self.episodes.len()) },
            "data_path": DATA_PATH,
            "video_path": null,
            "features": features,
        })
    }

    fn write_tasks(&self) -> Result<()> {
        let columns = [
            ("task_index".to_owned(), Column::Int((0..self.tasks.len() as i64).collect())),
            ("task".to_owned(), Column::Text(self.tasks.clone())),
        ];
        // LeRobot looks a task up by the index of the table as pandas has it. Without this note pandas makes
        // up an index of numbers, and every instruction silently becomes 0.
        let column = |name: &str, pandas: &str, numpy: &str| {
            json!({
                "name": name, "field_name": name, "pandas_type": pandas, "numpy_type": numpy, "metadata": null
            })
        };
        let note = json!({
            "index_columns": ["task"],
            "column_indexes": [{
                "name": null, "field_name": null, "pandas_type": "unicode", "numpy_type": "object",
                "metadata": { "encoding": "UTF-8" }
            }],
            "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
            "creator": { "library": "pyarrow", "version": "21.0.0" },
            "pandas_version": "2.3.0",
        });
        let path = self.folder.join("meta/tasks.parquet");
        let mut table = Table::create(&path, &columns, &[("pandas", note.to_string())])?;
        table.push(&columns)?;
        table.finish()
    }

    fn write_episodes(&self) -> Result<()> {
        let ints = |of: &dyn Fn(usize, &Entry) -> usize| {
            Column::Int(self.episodes.iter().enumerate().map(|(i, entry)| of(i, entry) as i64).collect())
        };
        let columns = [
            ("episode_index", ints(&|i, _| i)),
            ("tasks", Column::Texts(self.episodes.iter().map(|entry| entry.task.clone()).collect())),
            ("length", ints(&|_, entry| entry.length)),
            ("data/chunk_index", ints(&|_, entry| entry.file / FILES_PER_CHUNK)),
            ("data/file_index", ints(&|_, entry| entry.file % FILES_PER_CHUNK)),
            ("dataset_from_index", ints(&|_, entry| entry.first)),
            ("dataset_to_index", ints(&|_, entry| entry.first + entry.length)),
            ("meta/episodes/chunk_index", ints(&|_, _| 0)),
            ("meta/episodes/file_index", ints(&|_, _| 0)),
        ]
        .map(|(name, column)| (name.to_owned(), column));
        let path = self.folder.join("meta/episodes/chunk-000/file-000.parquet");
        let mut table = Table::create(&path, &columns, &[])?;
        table.push(&columns)?;
        table.finish()
    }

    fn write_json(&self, name: &str, value: &Value) -> Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, serde_json::to_string_pretty(value)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The feature of a camera.
fn image_key(camera: &str) -> String {
    format!("observation.images.{camera}")
}

/// The state of the arm as policies know it: joint angles, rad, then the gripper's opening, metres.
fn state_of(observation: &Observation) -> Vec<f32> {
    observation.joints_rad.iter().copied().chain([observation.gripper_width_m]).collect()
}

fn shape_of(camera: &Camera) -> (String, usize, usize) {
    (camera.name.clone(), camera.width, camera.height)
}

fn image_bytes(column: &Column) -> usize {
    match column {
        Column::Images(images) => images.iter().map(|(file, _)| file.len()).sum(),
        _ => 0,
    }
}

fn png(camera: &Camera) -> Result<Vec<u8>> {
    camera.check()?;
    let mut file = Vec::new();
    PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive).write_image(
        &camera.rgb,
        u32::try_from(camera.width)?,
        u32::try_from(camera.height)?,
        ExtendedColorType::Rgb8,
    )?;
    Ok(file)
}
