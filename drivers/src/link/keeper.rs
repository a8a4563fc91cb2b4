//! Who frees what was handed out.

use std::sync::Arc;

/// Keeps one handle of everything that its owner hands out to other threads, until nobody else has one.
///
/// A reader may then drop its handle at any time: it is never the last, so dropping it frees nothing and
/// costs one atomic subtraction. The memory is given back by the owner, at the next [`Keeper::keep`]. That
/// is what lets a real-time thread hold messages without ever calling the allocator.
#[derive(Debug)]
pub struct Keeper<T> {
    kept: Vec<Arc<T>>,
}

impl<T> Default for Keeper<T> {
    fn default() -> Self {
        Self { kept: Vec::new() }
    }
}

impl<T> Keeper<T> {
    /// A handle of `value` to hand out. Frees what everybody else has dropped since; the work is bounded by
    /// the number of handles that readers still hold.
    #[must_use]
    pub fn keep(&mut self, value: T) -> Arc<T> {
        // Nobody can make a second handle of one that only this list has, so a count of 1 stays 1.
        self.kept.retain(|kept| Arc::strong_count(kept) > 1);
        let value = Arc::new(value);
        self.kept.push(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_dropped_is_freed_by_the_owner_only() {
        let mut keeper = Keeper::default();
        let first = keeper.keep(1);
        let watch = Arc::downgrade(&first);
        drop(first);
        assert!(watch.upgrade().is_some(), "dropping a reader's handle frees nothing");
        let second = keeper.keep(2);
        assert!(watch.upgrade().is_none());
        for round in 3..100 {
            let _read_and_dropped = keeper.keep(round);
            assert!(keeper.kept.len() <= 3, "it holds no more than its readers do");
        }
        assert_eq!(*second, 2);
    }
}
