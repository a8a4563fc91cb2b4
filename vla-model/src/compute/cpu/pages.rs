//! Large pages for weights.
//!
//! A model reads each of its weights for each decision. In pages of 4 KiB the processor has to look up a page for
//! every 64 cache lines, and each look-up pushes out what the rest of the program had there; in pages of 2 MiB it is
//! one for 32,768. Linux gives them to whoever asks (transparent huge pages, madvise(2); "madvise" is the setting of
//! Debian, Ubuntu and JetPack), for memory that begins at a multiple of their size. So weights are cut, one after
//! another, out of regions that do. Where the system refuses they lie on common pages, and nothing else changes.
#![allow(unsafe_code, reason = "parts of one mapping, each with one owner")]

use std::sync::{Arc, Mutex, PoisonError};

use memmap2::MmapMut;

use super::memory::Line;

/// A large page of x86-64, and of aarch64 with pages of 4 KiB.
const PAGE_BYTES: usize = 2 << 20;
/// What is asked of the system at least. Only what is written to takes memory, page by page.
const REGION_BYTES: usize = 4 * PAGE_BYTES;

/// Zeroed memory that begins at a large page; of which lines are owned, its parts know.
struct Region {
    start: *mut Line,
    lines: usize,
    _map: MmapMut,
}

// SAFETY: a region reads and writes nothing; its parts do, each its own lines.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// `None` when the system has no such memory.
    fn new(lines: usize) -> Option<Self> {
        let bytes = lines.checked_mul(size_of::<Line>())?.max(REGION_BYTES);
        let bytes = bytes.checked_next_multiple_of(PAGE_BYTES)?;
        let mut map = MmapMut::map_anon(bytes.checked_add(PAGE_BYTES)?).ok()?;
        let skip = map.as_ptr().align_offset(PAGE_BYTES);
        // A kernel without large pages refuses, and that is no fault.
        #[cfg(target_os = "linux")]
        let _refused_or_not = map.advise_range(memmap2::Advice::HugePage, skip, bytes);
        let start = map.get_mut(skip..)?.as_mut_ptr().cast();
        Some(Self { start, lines: bytes / size_of::<Line>(), _map: map })
    }
}

/// Lines of a region that have one owner. The region stays for as long as any of its parts.
pub(super) struct Part {
    region: Arc<Region>,
    first: usize,
    len: usize,
}

impl Part {
    pub(super) fn lines(&self) -> &[Line] {
        // SAFETY: `Pages` gave these lines, which are in the region and initialised, to this part alone.
        unsafe { std::slice::from_raw_parts(self.region.start.add(self.first), self.len) }
    }

    pub(super) fn lines_mut(&mut self) -> &mut [Line] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.region.start.add(self.first), self.len) }
    }
}

/// Where weights come from.
#[derive(Default)]
pub(super) struct Pages {
    /// The newest region, and how many of its lines have an owner.
    newest: Mutex<Option<(Arc<Region>, usize)>>,
}

impl Pages {
    /// So many zeroed lines; `None` when the system has no such memory. A region's lines are given out once: what a
    /// dropped part leaves is free again with the last of its region.
    pub(super) fn part(&self, len: usize) -> Option<Part> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let (region, used) = match newest.take() {
            Some((region, used)) if len <= region.lines - used => (region, used),
            _ => (Arc::new(Region::new(len)?), 0),
        };
        *newest = Some((Arc::clone(&region), used + len));
        Some(Part { region, first: used, len })
    }
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn parts_are_zeroed_aligned_and_apart() {
        let pages = Pages::default();
        let region_lines = REGION_BYTES / size_of::<Line>();
        let mut parts: Vec<Part> =
            [1, 0, 7, region_lines, 3, region_lines + 1, 5].map(|len| pages.part(len).unwrap()).into();
        assert!(parts[0].lines().as_ptr().addr().is_multiple_of(PAGE_BYTES));
        for (mark, part) in (1_u8..).zip(&mut parts) {
            for line in part.lines_mut() {
                assert_eq!(line.0, [0; 64]);
                line.0 = [mark; 64];
            }
        }
        for (mark, part) in (1_u8..).zip(&parts) {
            assert!(part.lines().iter().all(|line| line.0 == [mark; 64]));
        }
    }

    #[test]
    fn a_part_outlives_where_it_came_from() {
        let pages = Pages::default();
        let mut part = pages.part(2).unwrap();
        drop((pages.part(REGION_BYTES), pages));
        part.lines_mut()[1].0[63] = 9;
        assert_eq!(part.lines()[1].0[63], 9);
    }

    #[test]
    fn more_than_there_is_is_refused() {
        assert!(Pages::default().part(usize::MAX / 2).is_none());
        assert!(Pages::default().part(1 << 50).is_none());
    }
}
