//! Which part of a target pose counts.

/// Which part of a target pose a solver has to meet.
///
/// An arm with fewer than six joints cannot take every pose: with five, ask for [`Task::PositionAndAxis`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Task {
    /// Position and orientation.
    #[default]
    Pose,
    /// Position, and the direction of the tip's z axis; the turn about it is free.
    PositionAndAxis,
    /// Position alone.
    Position,
}
