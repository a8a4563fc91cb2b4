//! What the mind remembers of the chunks that it has sent, and how it makes them known.

use std::collections::VecDeque;
use std::sync::Arc;

use reflexarc_drivers::msg::{Duration, Header, JointTrajectory, JointTrajectoryPoint, Time};
use reflexarc_drivers::topic::Topics;
use reflexarc_drivers::{Link, LinkError, Publisher};
use reflexarc_kinematics::Chain;
use reflexarc_vla_model::chunk::{ActionChunk, Ahead};

use super::Playing;
use crate::config::Config;

/// The chunk in force is among so many of the newest.
const REMEMBERED: usize = 4;

/// The chunks sent so far, and the topic `action_chunk`.
pub struct Spoken {
    count: u64,
    recent: VecDeque<(u64, Arc<ActionChunk>)>,
    publisher: Publisher<JointTrajectory>,
    joint_names: Vec<String>,
    horizon: usize,
    unsent: u64,
}

impl Spoken {
    /// Announces the publisher.
    ///
    /// # Errors
    /// [`LinkError`] if the link refuses.
    pub fn new(link: &Link, topics: &Topics, config: &Config, chain: &Chain) -> Result<Self, LinkError> {
        let mut joint_names = chain.joint_names().to_vec();
        joint_names.push(config.robot.gripper_joint.clone());
        Ok(Self {
            count: 0,
            recent: VecDeque::with_capacity(REMEMBERED),
            publisher: link.publisher(&topics.action_chunk)?,
            joint_names,
            horizon: config.chunk.execution_horizon,
            unsent: 0,
        })
    }

    /// Whether it is too early for the next chunk: the last one has not been `heard`, so that what is playing
    /// says nothing about the next, or more of the one in force is to be executed first.
    #[must_use]
    pub fn too_early(&self, heard: u64, playing: Option<&Playing>) -> bool {
        heard < self.count
            || playing.is_some_and(|playing| playing.position + (playing.delay as f64) < self.horizon as f64)
    }

    /// What will be executed while the policy computes: the rest of the chunk in force from `playing` on,
    /// between two actions in proportion.
    #[must_use]
    pub fn ahead(&self, playing: Option<&Playing>) -> Ahead {
        let Some(playing) = playing else {
            return Ahead::default();
        };
        let Some((_, chunk)) = self.recent.iter().find(|(number, _)| *number == playing.number) else {
            return Ahead::default();
        };
        // Not negative.
        let first = playing.position as usize;
        let share = (playing.position - first as f64) as f32;
        let rest = (first..chunk.count()).map_while(|index| {
            let (from, to) = (chunk.action(index)?, chunk.action(index + 1));
            // Past the last action there is nothing to go half way to.
            if to.is_none() && share > 0.0 {
                return None;
            }
            Some(from.iter().zip(to.unwrap_or(from)).map(move |(from, to)| from + share * (to - from)))
        });
        Ahead { actions: rest.flatten().collect(), delay: playing.delay }
    }

    /// Numbers a chunk that passed the audit, remembers and publishes it.
    pub fn say(&mut self, chunk: ActionChunk) -> (u64, Arc<ActionChunk>) {
        self.publish(&chunk);
        self.count += 1;
        let chunk = Arc::new(chunk);
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((self.count, Arc::clone(&chunk)));
        (self.count, chunk)
    }

    fn publish(&mut self, chunk: &ActionChunk) {
        let point = |(index, action): (usize, &[f32])| JointTrajectoryPoint {
            positions: action.iter().map(|value| f64::from(*value)).collect(),
            time_from_start: Duration::from_ns(chunk.period_ns.saturating_mul(index as u64)),
            ..JointTrajectoryPoint::default()
        };
        let message = JointTrajectory {
            // The first action belongs to the moment of the observation.
            header: Header { stamp: Time::from_ns(chunk.observation_ns), ..Header::default() },
            joint_names: self.joint_names.clone(),
            points: chunk.actions.chunks_exact(chunk.width.max(1)).enumerate().map(point).collect(),
        };
        // Nobody may be listening, and a full network must not stop the mind.
        if self.publisher.put(&message).is_err() {
            self.unsent += 1;
        }
    }

    /// Chunks that the link did not take.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.unsent
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use reflexarc_drivers::{Bus, Clock};
    use reflexarc_kinematics::ARM7_URDF;

    #[test]
    fn the_policy_is_told_what_is_left_of_the_chunk_in_force() {
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
        let link = Link::in_process(&Bus::new(), Clock::manual(0));
        let mut config = Config::default();
        config.chunk.execution_horizon = 3;
        let mut spoken = Spoken::new(&link, &Topics::new(""), &config, &chain).unwrap();
        let chunk = |first: u8| ActionChunk {
            observation_ns: 0,
            period_ns: 1,
            width: 2,
            actions: (0..8).map(|value| f32::from(first) + value as f32).collect(),
        };
        assert_eq!(spoken.say(chunk(0)).0, 1);
        assert_eq!(spoken.say(chunk(100)).0, 2);
        let playing = |number, position| Playing { number, position, delay: 1 };
        let ahead = |playing: &Playing| spoken.ahead(Some(playing));
        let expected = Ahead { actions: vec![2.0, 3.0, 4.0, 5.0, 6.0, 7.0], delay: 1 };
        assert_eq!(ahead(&playing(1, 1.0)), expected);
        assert_eq!(ahead(&playing(2, 2.5)), Ahead { actions: vec![105.0, 106.0], delay: 1 });
        assert!(ahead(&playing(2, 9.0)).actions.is_empty());
        assert_eq!(ahead(&playing(3, 0.0)), Ahead::default());
        assert_eq!(spoken.ahead(None), Ahead::default());

        assert!(!spoken.too_early(2, None));
        assert!(spoken.too_early(1, None));
        assert!(spoken.too_early(2, Some(&playing(2, 1.9))));
        assert!(!spoken.too_early(2, Some(&playing(2, 2.0))));
    }
}
