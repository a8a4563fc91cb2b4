//! Cameras as nodes, on devices that do what a test says: frames, faults, silence.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reflexarc_drivers::camera::{
    CameraConfig, CameraError, CameraNode, CameraSource, CameraStats, Device, DeviceError, Format, Frame,
    Stamp, synthetic,
};
use reflexarc_drivers::msg::{DiagnosticLevel, Image};
use reflexarc_drivers::{Bus, Clock, Link, QueueSubscription, Topics};

const LINK_NS: u64 = 1_763_650_000_123_456_789;
const DEVICE_NS: u64 = 5_000_000_000;
const SIDE: usize = 4;

/// What a fake device does when it is next asked to wait.
#[derive(Clone, Debug)]
enum Step {
    /// These frames are there.
    Frames(Vec<Fake>),
    /// The device says that a frame is there, and has none.
    Nothing,
    /// The device fails.
    Fail(DeviceError),
    /// The device has a defect.
    Panic,
}

/// One frame of a single grey level.
#[derive(Clone, Debug)]
struct Fake {
    level: u8,
    sequence: u32,
    stamp: Stamp,
    broken: bool,
    garbage: bool,
}

fn fake(sequence: u32) -> Fake {
    let stamp = Stamp::FrameEnd(DEVICE_NS - 1_000_000);
    Fake { level: sequence as u8, sequence, stamp, broken: false, garbage: false }
}

fn one(frame: Fake) -> Step {
    Step::Frames(vec![frame])
}

/// After its last step a fake is silent.
struct FakeDevice {
    steps: VecDeque<Step>,
    ready: VecDeque<Fake>,
    bytes: Vec<Vec<u8>>,
    out: usize,
    open: Arc<AtomicUsize>,
}

impl FakeDevice {
    fn new(steps: Vec<Step>, open: &Arc<AtomicUsize>) -> Self {
        assert_eq!(open.fetch_add(1, Ordering::SeqCst), 0, "the last one must be closed first");
        Self {
            steps: steps.into(),
            ready: VecDeque::new(),
            bytes: Vec::new(),
            out: 0,
            open: Arc::clone(open),
        }
    }
}

impl Drop for FakeDevice {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Device for FakeDevice {
    fn wait(&mut self, timeout: Duration) -> Result<bool, DeviceError> {
        assert_eq!(self.out, 0, "buffers that were not given back");
        match self.steps.pop_front() {
            Some(Step::Frames(frames)) => self.ready.extend(frames),
            Some(Step::Nothing) => {}
            Some(Step::Fail(error)) => return Err(error),
            Some(Step::Panic) => panic!("as the test wants it"),
            None => {
                std::thread::sleep(timeout);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn dequeue(&mut self) -> Result<Option<Frame>, DeviceError> {
        let Some(fake) = self.ready.pop_front() else { return Ok(None) };
        let format = match fake.garbage {
            true => Format::Mjpeg { width_px: SIDE, height_px: SIDE },
            false => Format::Rgb8 { width_px: SIDE, height_px: SIDE },
        };
        self.bytes.push(vec![fake.level; SIDE * SIDE * 3]);
        self.out += 1;
        Ok(Some(Frame {
            slot: self.bytes.len() - 1,
            used_bytes: SIDE * SIDE * 3,
            format,
            sequence: fake.sequence,
            stamp: fake.stamp,
            broken: fake.broken,
        }))
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        &self.bytes[frame.slot]
    }

    fn release(&mut self, _: Frame) -> Result<(), DeviceError> {
        self.out -= 1;
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        DEVICE_NS
    }

    fn describe(&self) -> String {
        "fake".to_owned()
    }
}

/// What opening a fake gives, one after the other; then it is missing.
type Openings = Vec<Result<Vec<Step>, DeviceError>>;

fn missing() -> DeviceError {
    DeviceError::Missing { path: PathBuf::from("/dev/video0") }
}

/// A camera on a bus of its own, with all that it publishes.
struct Rig {
    node: CameraNode,
    frames: QueueSubscription<Image>,
}

fn small() -> CameraConfig {
    CameraConfig {
        width_px: SIDE as u32,
        height_px: SIDE as u32,
        timeout_ms: 60_000,
        ..CameraConfig::new(CameraSource::Folder { folder: "unused".into(), repeat: false })
    }
}

impl Rig {
    fn new(config: &CameraConfig, openings: Openings) -> Self {
        let bus = Bus::new();
        let topics = Topics::new("robot");
        let link = Link::in_process(&bus, Clock::manual(LINK_NS));
        let frames = link.subscribe_queue(&topics.camera("scene"), 1024).unwrap();
        let mut openings = VecDeque::from(openings);
        let open = Arc::new(AtomicUsize::new(0));
        let node = CameraNode::start_with("scene", config, &link, &topics, move || {
            let steps = openings.pop_front().unwrap_or_else(|| Err(missing()))?;
            Ok(Box::new(FakeDevice::new(steps, &open)))
        })
        .unwrap();
        Self { node, frames }
    }

    fn once(config: &CameraConfig, steps: Vec<Step>) -> Self {
        Self::new(config, vec![Ok(steps)])
    }

    /// Waits until the counters are as `done` wants them.
    fn until(&self, done: impl Fn(&CameraStats) -> bool) -> CameraStats {
        for _ in 0..1000 {
            let stats = self.node.stats();
            if done(&stats) {
                return stats;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("not within 10 s: {:?} {:?}", self.node.stats(), self.node.status());
    }

    /// The grey levels and the stamps published so far.
    fn published(&mut self) -> Vec<(u8, u64)> {
        let mut all = Vec::new();
        while let Some(sample) = self.frames.recv_timeout(Duration::ZERO) {
            let pixels = sample.value.rgb8_pixels().unwrap();
            assert!(pixels.iter().all(|byte| *byte == pixels[0]), "a mix of frames");
            all.push((pixels[0], sample.value.header.stamp_ns()));
        }
        all
    }
}

#[test]
fn capture_stamps_pass_through_exactly() {
    let ages_ns = [4_999_999_999, 77_123_456, 33_000_001, 1, 0];
    let steps = ages_ns
        .iter()
        .zip(0..)
        .map(|(age_ns, sequence)| {
            let captured_ns = DEVICE_NS - age_ns;
            let stamp = match sequence % 2 {
                0 => Stamp::FrameEnd(captured_ns),
                _ => Stamp::ExposureStart(captured_ns),
            };
            one(Fake { stamp, ..fake(sequence) })
        })
        .collect();
    let mut rig = Rig::once(&small(), steps);
    let stats = rig.until(|stats| stats.published == 5);
    let expected = ages_ns.map(|age_ns| LINK_NS - age_ns);
    assert_eq!(rig.published().iter().map(|frame| frame.1).collect::<Vec<_>>(), expected);
    assert_eq!(stats, CameraStats { captured: 5, published: 5, ..CameraStats::default() });
    let stamps = rig.node.status().values.into_iter().find(|pair| pair.key == "stamps").unwrap();
    assert_eq!(stamps.value, "end of frame");
}

#[test]
fn stamps_that_cannot_be_true_become_the_arrival_and_are_counted() {
    let stamps = [
        Stamp::Unknown,
        Stamp::FrameEnd(DEVICE_NS + 1),
        Stamp::FrameEnd(u64::MAX),
        // Fine: those before it said nothing about the order.
        Stamp::FrameEnd(DEVICE_NS - 5),
        Stamp::FrameEnd(DEVICE_NS - 4),
        // Before the last.
        Stamp::FrameEnd(DEVICE_NS - 6),
        Stamp::FrameEnd(DEVICE_NS - 3),
    ];
    let frames =
        stamps.iter().zip(0..).map(|(stamp, sequence)| one(Fake { stamp: *stamp, ..fake(sequence) }));
    let mut rig = Rig::once(&small(), frames.collect());
    let stats = rig.until(|stats| stats.published == 7);
    let ages_ns: Vec<u64> = rig.published().iter().map(|frame| LINK_NS - frame.1).collect();
    assert_eq!(ages_ns, [0, 0, 0, 5, 4, 0, 3]);
    assert_eq!(stats.unstamped, 4);
}

#[test]
fn the_newest_frame_wins_and_older_ones_are_counted() {
    let steps = vec![
        Step::Frames(vec![fake(0), fake(1), fake(2)]),
        one(fake(3)),
        Step::Frames(vec![fake(4), Fake { broken: true, ..fake(5) }]),
    ];
    let mut rig = Rig::once(&small(), steps);
    let stats = rig.until(|stats| stats.captured == 6 && stats.published == 3);
    assert_eq!(rig.published().iter().map(|frame| frame.0).collect::<Vec<_>>(), [2, 3, 4]);
    let expected = CameraStats {
        captured: 6,
        published: 3,
        skipped_older: 2,
        error_frames: 1,
        ..CameraStats::default()
    };
    assert_eq!(stats, expected);
}

#[test]
fn lost_broken_and_undecodable_frames_are_counted_and_not_published() {
    let steps = vec![
        one(fake(10)),
        one(fake(13)),
        one(Fake { broken: true, ..fake(14) }),
        Step::Nothing,
        one(Fake { garbage: true, ..fake(15) }),
    ];
    let mut rig = Rig::once(&small(), steps);
    let stats = rig.until(|stats| stats.decode_errors == 1);
    assert_eq!(rig.published().iter().map(|frame| frame.0).collect::<Vec<_>>(), [10, 13]);
    let expected = CameraStats {
        captured: 4,
        published: 2,
        sequence_gaps: 2,
        error_frames: 1,
        decode_errors: 1,
        ..CameraStats::default()
    };
    assert_eq!(stats, expected);
    let status = rig.node.status();
    assert_eq!((status.level, status.name.as_str()), (DiagnosticLevel::Warn as u8, "camera: scene"));
    assert!(status.message.contains("expected the start of an image"), "{}", status.message);
    let decode_errors = status.values.iter().find(|pair| pair.key == "decode_errors").unwrap();
    assert_eq!(decode_errors.value, "1");
}

#[test]
fn a_camera_that_is_unplugged_is_opened_again() {
    let call = DeviceError::Call { call: "VIDIOC_REQBUFS", reason: "busy".into() };
    let openings = vec![
        Ok(vec![one(fake(7)), Step::Fail(DeviceError::Gone)]),
        Err(missing()),
        Err(call),
        // Its count begins anew, which is no gap.
        Ok(vec![one(fake(0)), one(fake(1))]),
    ];
    let mut rig = Rig::new(&small(), openings);
    let stats = rig.until(|stats| stats.published == 3);
    assert_eq!(rig.published().iter().map(|frame| frame.0).collect::<Vec<_>>(), [7, 0, 1]);
    let expected =
        CameraStats { captured: 3, published: 3, device_errors: 3, reopened: 1, ..CameraStats::default() };
    assert_eq!(stats, expected);
    assert_eq!(rig.node.status().level, DiagnosticLevel::Ok as u8);
}

#[test]
fn a_panic_is_reported_and_counters_stay() {
    let rig = Rig::once(&small(), vec![one(fake(0)), Step::Panic]);
    rig.until(|_| rig.node.status().message.contains("panicked"));
    assert_eq!(rig.node.status().level, DiagnosticLevel::Error as u8);
    assert_eq!(rig.node.stats().published, 1);
}

#[test]
fn a_camera_that_stays_away_is_reported_and_stopping_does_not_wait_for_it() {
    let rig = Rig::once(&small(), vec![Step::Fail(DeviceError::Gone)]);
    rig.until(|stats| stats.device_errors >= 3);
    let status = rig.node.status();
    assert_eq!(status.level, DiagnosticLevel::Error as u8);
    assert!(status.message.contains("/dev/video0: no such device"), "{}", status.message);
    let clock = Clock::system();
    let before_ns = clock.now_ns();
    drop(rig);
    assert!(clock.now_ns() - before_ns < 4_000_000_000, "stopping waited");
}

#[test]
fn a_frozen_camera_is_reopened_and_holds_up_no_other() {
    let bus = Bus::new();
    let topics = Topics::new("");
    let link = Link::in_process(&bus, Clock::system());
    let mut lively = link.subscribe(&topics.camera("lively")).unwrap();
    let impatient = CameraConfig { timeout_ms: 10, rate_hz: 1000.0, ..small() };
    let open = Arc::new(AtomicUsize::new(0));
    let frozen = CameraNode::start_with("frozen", &impatient, &link, &topics, move || {
        Ok(Box::new(FakeDevice::new(vec![one(fake(1))], &open)))
    })
    .unwrap();
    let config = CameraConfig {
        width_px: 64,
        height_px: 48,
        rate_hz: 200.0,
        ..CameraConfig::new(CameraSource::Synthetic)
    };
    let running = CameraNode::start("lively", &config, &link, &topics).unwrap();
    let mut seen = 0;
    for _ in 0..1000 {
        let stats = frozen.stats();
        if stats.frozen >= 3 && stats.reopened >= 2 && seen > 20 {
            break;
        }
        seen = running.stats().published;
        std::thread::sleep(Duration::from_millis(10));
    }
    let (frozen, running) = (frozen.stats(), running.stats());
    assert!(frozen.frozen >= 3 && frozen.reopened >= 2, "{frozen:?}");
    assert_eq!(frozen.device_errors, 0);
    assert!(running.published > 20 && running.frozen == 0, "{running:?}");
    assert!(lively.latest().is_some());
}

#[test]
fn a_device_that_cries_wolf_is_frozen() {
    let impatient = CameraConfig { timeout_ms: 20, rate_hz: 1000.0, ..small() };
    let rig = Rig::once(&impatient, vec![Step::Nothing; 1000]);
    rig.until(|stats| stats.frozen == 1);
}

#[test]
fn a_gel_shows_the_difference_from_its_background() {
    let level = |sequence, level| one(Fake { level, ..fake(sequence) });
    let config = CameraConfig { background_frames: 3, ..small() };
    let openings = vec![
        // Mean 101, rounded.
        Ok(vec![level(0, 100), level(1, 101), level(2, 103), level(3, 101), Step::Fail(DeviceError::Gone)]),
        // Kept over a reopening; clamped at both ends.
        Ok(vec![level(0, 91), level(1, 255), level(2, 0)]),
    ];
    let mut rig = Rig::new(&config, openings);
    let stats = rig.until(|stats| stats.captured == 7 && stats.published == 4);
    assert_eq!(rig.published().iter().map(|frame| frame.0).collect::<Vec<_>>(), [128, 118, 255, 27]);
    assert_eq!(stats.background, 3);
    let mut bright = Rig::once(
        &CameraConfig { background_frames: 1, ..small() },
        vec![level(0, 200), level(1, 0), level(2, 72), level(3, 73)],
    );
    bright.until(|stats| stats.published == 3);
    assert_eq!(bright.published().iter().map(|frame| frame.0).collect::<Vec<_>>(), [0, 0, 1]);
}

#[test]
fn every_captured_frame_is_accounted_for() {
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut sequence = 0;
        let mut captured = 0;
        let mut openings = Vec::new();
        for round in 0..2 {
            let mut steps: Vec<Step> = (0..200)
                .map(|_| match rng.random_range(0..10) {
                    0 => Step::Nothing,
                    _ => Step::Frames(
                        (0..rng.random_range(1..4))
                            .map(|_| {
                                sequence += rng.random_range(0..3);
                                captured += 1;
                                Fake {
                                    broken: rng.random_range(0..8) == 0,
                                    garbage: rng.random_range(0..8) == 0,
                                    ..fake(sequence)
                                }
                            })
                            .collect(),
                    ),
                })
                .collect();
            if round == 0 {
                steps.push(Step::Fail(DeviceError::Gone));
            }
            openings.push(Ok(steps));
        }
        let config = CameraConfig { background_frames: 5, ..small() };
        let rig = Rig::new(&config, openings);
        let accounted = |stats: &CameraStats| {
            stats.published
                + stats.skipped_older
                + stats.error_frames
                + stats.decode_errors
                + stats.background
                + stats.publish_errors
        };
        let stats = rig.until(|stats| stats.captured == captured && accounted(stats) == captured);
        let least = [stats.published, stats.skipped_older, stats.error_frames, stats.decode_errors];
        assert!(least.iter().all(|count| *count > 0), "seed {seed}: {stats:?}");
        assert_eq!((stats.background, stats.device_errors, stats.reopened), (5, 1, 1), "seed {seed}");
    }
}

#[test]
fn a_synthetic_camera_is_read_from_its_topic() {
    let bus = Bus::new();
    let topics = Topics::new("arm");
    let clock = Clock::manual(LINK_NS);
    let robot = Link::in_process(&bus, clock.clone());
    let mut frames = Link::in_process(&bus, clock).subscribe_queue(&topics.camera("wrist"), 1024).unwrap();
    let config = CameraConfig {
        width_px: 96,
        height_px: 64,
        rate_hz: 200.0,
        ..CameraConfig::new(CameraSource::Synthetic)
    };
    let node = CameraNode::start("wrist", &config, &robot, &topics).unwrap();
    for expected in 0..10 {
        let sample = frames.recv_timeout(Duration::from_secs(10)).unwrap();
        let image = &sample.value;
        assert_eq!((image.width, image.height, image.header.frame_id.as_str()), (96, 64, "wrist"));
        assert_eq!(synthetic::counter(96, image.rgb8_pixels().unwrap()), Some(expected));
        assert_eq!(image.header.stamp_ns(), LINK_NS);
    }
    let stats = node.stats();
    assert!(stats.published >= 10 && stats.unstamped == 0 && stats.sequence_gaps == 0, "{stats:?}");
}

/// A folder of its own, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(files: &[(&str, &[u8])]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("reflexarc-camera-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        Self(folder)
    }

    fn config(&self, repeat: bool) -> CameraConfig {
        let source = CameraSource::Folder { folder: self.0.clone(), repeat };
        CameraConfig { width_px: 4, height_px: 4, rate_hz: 200.0, ..CameraConfig::new(source) }
    }

    fn play(&self, repeat: bool) -> Rig {
        let topics = Topics::new("");
        let link = Link::in_process(&Bus::new(), Clock::manual(LINK_NS));
        let frames = link.subscribe_queue(&topics.camera("scene"), 64).unwrap();
        Rig { node: CameraNode::start("scene", &self.config(repeat), &link, &topics).unwrap(), frames }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn png(level: u8) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(8, 6, image::Rgb([level; 3]))
        .write_to(&mut out, image::ImageFormat::Png)
        .unwrap();
    out.into_inner()
}

#[test]
fn a_folder_is_played_in_order_to_its_end() {
    let (ten, twenty) = (png(10), png(20));
    let broken = &ten[..ten.len() / 2];
    let jpeg = include_bytes!("camera/grey.mjpeg").as_slice();
    let folder = Scratch::new(&[
        ("b.png", &twenty),
        ("a.PNG", &ten),
        ("c.png", broken),
        ("d.txt", b"no picture"),
        ("e.jpg", jpeg),
    ]);
    let mut rig = folder.play(false);
    let stats = rig.until(|stats| stats.captured == 4 && stats.published + stats.decode_errors == 4);
    for _ in 0..1000 {
        if rig.node.status().level == DiagnosticLevel::Stale as u8 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(rig.node.status().message, "All frames have been played.");
    // A file without Huffman tables is no file that others would read.
    assert_eq!((stats.published, stats.decode_errors, stats.frozen), (2, 2, 0));
    assert_eq!(rig.published(), [(10, LINK_NS), (20, LINK_NS)]);

    let rig = folder.play(true);
    rig.until(|stats| stats.published >= 6 && stats.decode_errors >= 4);
}

#[test]
fn a_camera_that_cannot_be_had_says_why() {
    let link = Link::in_process(&Bus::new(), Clock::manual(0));
    let topics = Topics::new("");
    let start = |name: &str, config: &CameraConfig| CameraNode::start(name, config, &link, &topics).err();
    let empty = Scratch::new(&[("readme.txt", b"")]);
    let no_pictures = start("scene", &empty.config(true)).unwrap();
    assert!(matches!(no_pictures, CameraError::Device(DeviceError::NoPictures { .. })), "{no_pictures}");
    let bad_name = start("a b", &CameraConfig::new(CameraSource::Synthetic)).unwrap();
    assert!(matches!(bad_name, CameraError::Link(_)), "{bad_name}");
    let v4l2: CameraConfig = toml::from_str("source = \"v4l2\"\ndevice = \"/dev/no-such-camera\"").unwrap();
    let error = start("scene", &v4l2).unwrap();
    assert!(
        matches!(error, CameraError::Device(DeviceError::Missing { .. } | DeviceError::Platform)),
        "{error}"
    );
    let square = CameraConfig { rotate_deg: 45, ..CameraConfig::new(CameraSource::Synthetic) };
    assert_eq!(
        start("scene", &square).unwrap().to_string(),
        "rotate_deg = 45: expected 0, 90, 180 or 270 degrees"
    );
}

#[test]
fn settings_are_read_written_and_checked() {
    let read = |text: &str| toml::from_str::<CameraConfig>(text).map_err(|error| error.message().to_owned());
    let config =
        read("source = \"v4l2\"\ndevice = \"/dev/video0\"\nformat = \"mjpeg\"\nwidth_px = 320").unwrap();
    assert_eq!((config.width_px, config.height_px, config.rate_hz), (320, 224, 30.0));
    for text in [
        "source = \"v4l2\"\ndevice = \"/dev/video0\"",
        "source = \"folder\"\nfolder = \"frames\"\nrepeat = true\nrotate_deg = 90",
        "source = \"synthetic\"\nbackground_frames = 10",
    ] {
        let config = read(text).unwrap();
        assert_eq!(config.validate(), Ok(()), "{text}");
        assert_eq!(read(&toml::to_string(&config).unwrap()), Ok(config), "{text}");
    }
    for (text, message) in [
        ("width_px = 224", "missing field `source`"),
        ("source = \"v4l\"", "unknown variant `v4l`"),
        ("source = \"v4l2\"", "device = none: expected a path"),
        ("source = \"synthetic\"\ncolour = 1", "unknown field `colour`"),
        ("source = \"synthetic\"\ndevice = \"x\"", "device = given for another source"),
        ("source = \"v4l2\"\ndevice = \"x\"\nrepeat = true", "repeat = given for another source"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(message), "{text}: {error}");
    }
    for (text, key) in [
        ("width_px = 0", "width_px"),
        ("height_px = 4097", "height_px"),
        ("width_px = 4096\nheight_px = 4096", "width_px x height_px"),
        ("rate_hz = 0", "rate_hz"),
        ("rate_hz = nan", "rate_hz"),
        ("rotate_deg = 91", "rotate_deg"),
        ("background_frames = 10001", "background_frames"),
        ("timeout_ms = 9", "timeout_ms"),
        ("width_px = 31", "source"),
    ] {
        let config = read(&format!("source = \"synthetic\"\n{text}")).unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key} = ")), "{text}: {error}");
    }
}

#[test]
fn counters_of_frames_survive_the_pattern() {
    for counter in [0, 1, 255, 0x8000_0001, u32::MAX] {
        for (width, height) in [(32, 8), (100, 80), (224, 224)] {
            let mut pixels = vec![0; width * height * 3];
            synthetic::draw(counter, width, &mut pixels);
            assert_eq!(synthetic::counter(width, &pixels), Some(counter), "{width} x {height}");
        }
    }
    assert_eq!(synthetic::counter(32, &[7; 32 * 8 * 3]), None);
    assert_eq!(synthetic::counter(31, &[0; 31 * 8 * 3]), None);
    assert_eq!(synthetic::counter(32, &[]), None);
}
