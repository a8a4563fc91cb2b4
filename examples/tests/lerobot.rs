//! The exported dataset: what it holds, and that its verifier sees what LeRobot would load in silence.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use reflexarc_examples::episode::{Decider, Episode, run};
use reflexarc_examples::lerobot::columns::{Column, Table};
use reflexarc_examples::lerobot::dataset::{Frame, Recording, Writer};
use reflexarc_examples::lerobot::record;
use reflexarc_examples::lerobot::verify::{Contents, verify};
use reflexarc_runtime::config::ChunkConfig;
use reflexarc_runtime::fault::FaultProfile;
use reflexarc_sim::node::Faults;
use reflexarc_sim::scene::Scene;
use reflexarc_vla_model::chunk::{ActionChunk, Ahead};
use reflexarc_vla_model::observation::{Camera, Observation, ToolPose};
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("reflexarc-{name}-{}", std::process::id()));
        let _absent = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _kept = std::fs::remove_dir_all(&self.0);
    }
}

fn frame(number: u8) -> Frame {
    let camera = |name: &str, value: u8| Camera {
        name: name.to_owned(),
        width: 3,
        height: 2,
        rgb: (0..18).map(|i| value + i).collect(),
    };
    let number_f = f32::from(number);
    Frame {
        observation: Observation {
            time_ns: u64::from(number) * 50_000_000,
            cameras: vec![camera("scene", number), camera("wrist", 100 + number)],
            tactile: vec![],
            joints_rad: vec![0.25 * number_f, -1.5],
            gripper_width_m: 0.0625,
            base_from_tool: ToolPose { position_m: [0.4, 0.0, 0.3], rotation_xyzw: [1.0, 0.0, 0.0, 0.0] },
        },
        action: vec![0.25 * number_f + 0.5, -1.25, 0.03125],
    }
}

/// Two tasks, three episodes of three, two and one frame.
fn write(folder: &Path) {
    let mut writer = Writer::create(folder, 20, &["shoulder", "elbow", "gripper"]).unwrap();
    for (task, numbers) in
        [("pick up the red mug", 0..3), ("pick up the blue cube", 3..5), ("pick up the red mug", 5..6)]
    {
        let recording = Recording { task: task.to_owned(), frames: numbers.map(frame).collect() };
        writer.push(&recording).unwrap();
    }
    writer.finish().unwrap();
}

/// Schema, metadata and rows of a Parquet file; images by their size.
fn describe(path: &Path) -> String {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let mut text = Vec::new();
    parquet::schema::printer::print_schema(&mut text, reader.metadata().file_metadata().schema());
    let mut text = String::from_utf8(text).unwrap();
    for note in reader.metadata().file_metadata().key_value_metadata().into_iter().flatten() {
        let _ok = writeln!(text, "{}: {}", note.key, note.value.as_deref().unwrap_or_default());
    }
    for group in 0..reader.num_row_groups() {
        let _ok = writeln!(text, "row group {group}");
        for row in reader.get_row_group(group).unwrap().get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let values = row.get_column_iter().map(|(name, value)| match value {
                parquet::record::Field::Group(image) => {
                    let (_, path) = image.get_column_iter().nth(1).unwrap();
                    format!("{name}: image {path}")
                }
                value => format!("{name}: {value}"),
            });
            let _ok = writeln!(text, "  {}", values.collect::<Vec<_>>().join(", "));
        }
    }
    text
}

#[test]
fn a_dataset_is_what_the_format_says() {
    let folder = Folder::new("lerobot-golden");
    write(&folder.0);
    let mut found = String::new();
    for name in ["meta/info.json", "meta/stats.json"] {
        let _ok = writeln!(found, "== {name}\n{}", std::fs::read_to_string(folder.0.join(name)).unwrap());
    }
    for name in ["meta/tasks", "meta/episodes/chunk-000/file-000", "data/chunk-000/file-000"] {
        let _ok =
            writeln!(found, "== {name}.parquet\n{}", describe(&folder.0.join(format!("{name}.parquet"))));
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lerobot.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    assert!(found == expected, "differs from {}:\n{found}", golden.display());
}

#[test]
fn a_dataset_reads_back() {
    let folder = Folder::new("lerobot-back");
    write(&folder.0);
    let tasks = ["pick up the red mug", "pick up the blue cube"].map(str::to_owned).to_vec();
    assert_eq!(verify(&folder.0).unwrap(), Contents { episodes: 3, frames: 6, tasks });
    // The images are those that were written.
    let reader =
        SerializedFileReader::new(File::open(folder.0.join("data/chunk-000/file-000.parquet")).unwrap());
    let row = reader.unwrap().get_row_iter(None).unwrap().nth(4).unwrap().unwrap();
    let (_, image) = row.get_column_iter().find(|(name, _)| *name == "observation.images.wrist").unwrap();
    let parquet::record::Field::Group(image) = image else { panic!("no image") };
    let parquet::record::Field::Bytes(file) = image.get_column_iter().next().unwrap().1 else {
        panic!("no bytes")
    };
    let rgb = image::load_from_memory(file.data()).unwrap().into_rgb8();
    assert_eq!((rgb.width(), rgb.height()), (3, 2));
    assert_eq!(rgb.as_raw(), &frame(4).observation.cameras[1].rgb);
}

#[test]
fn faults_that_load_in_silence_are_found() {
    type Spoil = dyn Fn(&Path);
    let spoil_json = |name: &'static str, from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let path = folder.join(name);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{from} is not in {name}");
            std::fs::write(&path, text.replace(from, to)).unwrap();
        }
    };
    let tasks = |metadata: &'static [(&'static str, &'static str)]| {
        move |folder: &Path| {
            let columns = [
                ("task_index".to_owned(), Column::Int(vec![0, 1])),
                (
                    "task".to_owned(),
                    Column::Text(vec!["pick up the red mug".into(), "pick up the blue cube".into()]),
                ),
            ];
            let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
            let mut table = Table::create(&folder.join("meta/tasks.parquet"), &columns, &metadata).unwrap();
            table.push(&columns).unwrap();
            table.finish().unwrap();
        }
    };
    let cases: [(&Spoil, &str); 8] = [
        (&tasks(&[]), "no `pandas` metadata"),
        (&tasks(&[("pandas", r#"{"index_columns": []}"#)]), "pandas index [], expected [\"task\"]"),
        (&spoil_json("meta/info.json", "\"v3.0\"", "\"v2.1\""), "version \"v2.1\", expected v3.0"),
        (&spoil_json("meta/info.json", "\"fps\": 20", "\"fps\": 30"), "timestamp"),
        (
            &spoil_json("meta/info.json", "\"total_frames\": 6", "\"total_frames\": 7"),
            "total_frames 7, expected 6",
        ),
        (
            &spoil_json("meta/info.json", "\"observation.state\"", "\"observation.pose\""),
            "of observation.pose",
        ),
        (&spoil_json("meta/stats.json", "\"q99\"", "\"q98\""), "stats.json: q99 of"),
        (
            &|folder| std::fs::remove_file(folder.join("data/chunk-000/file-000.parquet")).unwrap(),
            "cannot read",
        ),
    ];
    for (number, (spoil, said)) in cases.into_iter().enumerate() {
        let folder = Folder::new(&format!("lerobot-fault-{number}"));
        write(&folder.0);
        spoil(&folder.0);
        let error = format!("{:#}", verify(&folder.0).unwrap_err());
        assert!(error.contains(said), "case {number}: {error}");
    }
}

#[test]
fn what_does_not_belong_in_a_dataset_is_refused() {
    let folder = Folder::new("lerobot-refused");
    let names = ["shoulder", "elbow", "gripper"];
    let push = |change: &dyn Fn(&mut Frame)| {
        let mut writer = Writer::create(&folder.0, 20, &names).unwrap();
        let mut frames = vec![frame(0), frame(1)];
        change(&mut frames[1]);
        writer.push(&Recording { task: "wait".into(), frames }).unwrap_err().to_string()
    };
    assert!(push(&|frame| frame.action.truncate(2)).contains("an action of 2 values, expected 3"));
    assert!(push(&|frame| frame.action[0] = f32::NAN).contains("not finite"));
    assert!(push(&|frame| frame.observation.cameras.truncate(1)).contains("cameras"));
    assert!(push(&|frame| frame.observation.joints_rad.push(0.0)).contains("joint positions has 3 values"));
    std::fs::create_dir_all(&folder.0).unwrap();
    std::fs::write(folder.0.join("notes.txt"), "mine").unwrap();
    let error = Writer::create(&folder.0, 20, &names).err().unwrap().to_string();
    assert!(error.contains("is not empty"), "{error}");
}

fn pick_one(seed: u64) -> Episode {
    let scene = Scene::pick_one(seed);
    Episode {
        target: scene.target,
        scene,
        instruction: "pick up the red cube".into(),
        limit_s: 12.0,
        faults: Faults::default(),
        chunk: ChunkConfig { rate_hz: 20.0, execution_horizon: 10, ..ChunkConfig::default() },
        profile: FaultProfile::default(),
        delay_ms: None,
        servos: None,
    }
}

/// Says a recording's actions again, at their times.
struct Again(Recording);

impl Policy for Again {
    fn name(&self) -> &'static str {
        "again"
    }

    fn instruct(&mut self, _: &str) {}

    fn decide(&mut self, observation: &Observation, _: &Ahead) -> Result<Output, PolicyError> {
        let frames = &self.0.frames;
        let elapsed_ns = observation.time_ns.saturating_sub(frames[0].observation.time_ns);
        let action = |number: u64| {
            let at = (elapsed_ns + number * 50_000_000) as f32 / 5e7;
            let (from, to) = (at as usize, at as usize + 1);
            let from = &frames[from.min(frames.len() - 1)].action;
            let to = &frames[to.min(frames.len() - 1)].action;
            from.iter().zip(to).map(move |(from, to)| from + (to - from) * at.fract())
        };
        Ok(Output::Chunk(ActionChunk {
            observation_ns: observation.time_ns,
            period_ns: 50_000_000,
            width: 8,
            actions: (0..20).flat_map(action).collect(),
        }))
    }
}

#[test]
fn a_demonstration_said_again_in_chunks_lifts_the_cube() {
    for seed in [3, 4] {
        let episode = pick_one(seed);
        let recording = record::record(&episode, 20).unwrap().unwrap();
        let result = run(&episode, Decider::Policy(Box::new(Again(recording)))).unwrap();
        assert_eq!(result.outcome, "success", "{result:?}");
        assert_eq!(result.refused, 0);
    }
}

#[test]
fn a_demonstration_pairs_what_was_seen_with_what_was_commanded() {
    let episode = pick_one(3);
    let recording = record::record(&episode, 20).unwrap().unwrap();
    let frames = &recording.frames;
    assert!((30..120).contains(&frames.len()), "{} frames", frames.len());
    for pair in frames.windows(2) {
        assert_eq!(pair[1].observation.time_ns - pair[0].observation.time_ns, 50_000_000);
        // The arm is on its way from one command to the next.
        for joint in 0..7 {
            let lag = pair[1].observation.joints_rad[joint] - pair[0].action[joint];
            assert!(lag.abs() < 0.12, "joint {joint} is {lag} rad from the last command");
        }
    }
    let gripper = |frame: &Frame| (frame.observation.gripper_width_m, frame.action[7]);
    assert!(gripper(&frames[0]).1 > 0.07, "it begins open");
    let (seen_m, commanded_m) = gripper(frames.last().unwrap());
    assert!(commanded_m < 0.001 && (0.03..0.05).contains(&seen_m), "it ends around a cube: {seen_m} m");
    assert!(record::record(&episode, 7).is_err(), "7 does not divide 60");
}
