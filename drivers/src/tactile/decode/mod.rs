//! Bytes → frames: state machines that know no port and no clock.
//!
//! A [`Decoder`] takes bytes as they come, in pieces of any size, and hands out the frames among them. It
//! holds no more than a few frames' bytes, does work in proportion to what it is given, and finds its way
//! back after any noise: how soon is said with each format. It never believes a frame in part.

mod anyskin;
mod anyskin_ascii;
mod taxels;
mod window;

use self::anyskin::AnySkin;
use self::anyskin_ascii::AnySkinAscii;
use self::taxels::Taxels;
use self::window::Window;
use super::{TactileConfig, TactileFormat};

/// One sample of a pad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame<'a> {
    /// `rows · columns · channels` raw values, the channel fastest, in the device's unit. All are finite and
    /// within ± `max_abs`.
    pub values: &'a [f32],
    /// When the first byte came, as told to [`Decoder::push`].
    pub arrival_ns: u64,
    /// The device's number of the frame, where the format has one.
    pub sequence: Option<u16>,
}

/// What became of a decoder's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeCounts {
    /// Frames believed.
    pub frames: u64,
    /// Times that a frame did not begin where the last one ended.
    pub resyncs: u64,
    /// Bytes that belong to no frame, those before the first one included.
    pub discarded_bytes: u64,
    /// What looked like a frame, with a checksum that says otherwise (taxels).
    pub crc_errors: u64,
    /// Whole frames refused for a value that is not finite or not possible.
    pub implausible: u64,
    /// Frames missing between the numbers of two (taxels). A device that starts anew counts as one.
    pub sequence_gaps: u64,
    /// Frames refused because they had the number of the one before (taxels).
    pub repeated: u64,
    /// Frames of another shape than the configured one (taxels).
    pub wrong_shape: u64,
}

/// What a format makes of the front of the bytes. `bytes` are done with.
enum Look {
    /// It takes more bytes to tell.
    More,
    /// These belong to no frame. Zero is for a parser that changes its mind about where to look.
    Garbage { bytes: usize },
    /// A frame, whole but not to be used.
    Refused { bytes: usize, why: Refusal },
    /// A frame, whose values have been written.
    Frame { bytes: usize, sequence: Option<u16> },
}

enum Refusal {
    /// A value that cannot be.
    Implausible,
    /// The number of the frame before.
    Repeated,
    /// Not a frame after all; what follows its first byte is looked at again.
    Crc,
    /// A header with another shape; what follows its first byte is looked at again.
    WrongShape,
}

/// One format's way of reading.
trait Parse: Send {
    /// Looks at the front of `bytes`; writes the values of a frame to `values`, which comes empty.
    fn look(&mut self, bytes: &[u8], values: &mut Vec<f32>) -> Look;
    /// With so many bytes, `look` never asks for more.
    fn reach(&self) -> usize;
    /// Frames that have turned out missing since it was asked last.
    fn take_gaps(&mut self) -> u64 {
        0
    }
    /// The last shape of a [`Refusal::WrongShape`]: rows, columns, channels.
    fn found_shape(&self) -> Option<[u8; 3]> {
        None
    }
}

/// Finds the frames in a pad's bytes.
pub struct Decoder {
    config: TactileConfig,
    parser: Box<dyn Parse>,
    window: Window,
    values: Vec<f32>,
    synchronous: bool,
    counts: DecodeCounts,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("counts", &self.counts).finish_non_exhaustive()
    }
}

fn parser(config: &TactileConfig) -> Box<dyn Parse> {
    match config.format {
        TactileFormat::Anyskin => Box::new(AnySkin::new(config)),
        TactileFormat::AnyskinAscii => Box::new(AnySkinAscii::new(config)),
        TactileFormat::Taxels => Box::new(Taxels::new(config)),
    }
}

impl Decoder {
    /// For a pad as in `config`, which must be [valid](TactileConfig::validate).
    #[must_use]
    pub fn new(config: &TactileConfig) -> Self {
        let parser = parser(config);
        let window = Window::new(parser.reach());
        let values = Vec::with_capacity(config.values());
        let counts = DecodeCounts::default();
        Self { config: config.clone(), parser, window, values, synchronous: false, counts }
    }

    /// Forgets what it holds and where it was, for another stream of the same pad. The counts stay.
    pub fn restart(&mut self) {
        self.counts.discarded_bytes += self.held() as u64;
        self.parser = parser(&self.config);
        self.window = Window::new(self.parser.reach());
        self.synchronous = false;
    }

    /// Takes `bytes` that came at `arrival_ns` and calls `found` for each frame that is complete with them,
    /// in their order.
    pub fn push(&mut self, bytes: &[u8], arrival_ns: u64, mut found: impl FnMut(Frame<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.window.fill(rest, arrival_ns);
            rest = rest.get(taken..).unwrap_or_default();
            self.scan(&mut found);
            self.window.tidy();
        }
    }

    fn scan(&mut self, found: &mut impl FnMut(Frame<'_>)) {
        loop {
            self.values.clear();
            match self.parser.look(self.window.bytes(), &mut self.values) {
                Look::More => return,
                Look::Garbage { bytes } => self.discard(bytes),
                Look::Refused { bytes, why } => match why {
                    Refusal::Implausible => {
                        self.counts.implausible += 1;
                        self.window.advance(bytes);
                    }
                    Refusal::Repeated => {
                        self.counts.repeated += 1;
                        self.window.advance(bytes);
                    }
                    Refusal::Crc => {
                        self.counts.crc_errors += 1;
                        self.discard(bytes);
                    }
                    Refusal::WrongShape => {
                        self.counts.wrong_shape += 1;
                        self.discard(bytes);
                    }
                },
                Look::Frame { bytes, sequence } => {
                    self.synchronous = true;
                    self.counts.frames += 1;
                    self.counts.sequence_gaps += self.parser.take_gaps();
                    found(Frame { values: &self.values, arrival_ns: self.window.arrival_ns(), sequence });
                    self.window.advance(bytes);
                }
            }
        }
    }

    fn discard(&mut self, bytes: usize) {
        self.counts.resyncs += u64::from(self.synchronous);
        self.synchronous = false;
        self.counts.discarded_bytes += bytes as u64;
        self.window.advance(bytes);
    }

    /// What became of the bytes so far. Those not yet accounted for are held: [`Decoder::held`].
    #[must_use]
    pub fn counts(&self) -> DecodeCounts {
        self.counts
    }

    /// Bytes held until more come.
    #[must_use]
    pub fn held(&self) -> usize {
        self.window.bytes().len()
    }

    /// Most bytes ever held.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.window.capacity()
    }

    /// The last other shape (rows, columns, channels) that the device has sent, if it has.
    #[must_use]
    pub fn found_shape(&self) -> Option<[u8; 3]> {
        self.parser.found_shape()
    }
}
