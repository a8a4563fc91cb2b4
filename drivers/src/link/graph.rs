//! What ROS 2 sees of a link: the liveliness keys of `rmw_zenoh` (its `liveliness_utils.cpp`).
//!
//! A token under such a key says for as long as it lives that a node, a publisher or a subscription is
//! there. A publisher's key is also what its gid is made from.

use crate::msg::Message;
use crate::topic::{Topic, dds_type};

/// What an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Publisher,
    Subscription,
}

/// A session's node. It has the number 0; its endpoints count from 1. Enclave and namespace are the root:
/// what belongs to a robot says so in the topic's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    /// The ROS domain.
    pub(super) domain: u32,
    /// The session's identity, hexadecimal.
    pub(super) session: &'a str,
    /// The node's name.
    pub(super) name: &'a str,
}

impl Node<'_> {
    /// Whether the name can be a node's in ROS 2, and so a part of a key.
    pub(super) fn has_good_name(&self) -> bool {
        !self.name.is_empty()
            && !self.name.starts_with(|first: char| first.is_ascii_digit())
            && self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    }

    /// The key of the node itself.
    pub(super) fn key(&self) -> String {
        let Self { domain, session, name } = self;
        format!("@ros2_lv/{domain}/{session}/0/0/NN/%/%/{name}")
    }

    /// The key of the endpoint `id` on `topic`. A slash within a part is written as `%`.
    pub(super) fn endpoint_key<M: Message>(&self, id: u64, kind: Kind, topic: &Topic<M>) -> String {
        let Self { domain, session, name } = self;
        let kind = match kind {
            Kind::Publisher => "MP",
            Kind::Subscription => "MS",
        };
        format!(
            "@ros2_lv/{domain}/{session}/0/{id}/{kind}/%/%/{name}/%{}/{}/{}/{}",
            topic.name().replace('/', "%"),
            dds_type(M::TYPE_NAME),
            M::TYPE_HASH,
            topic.qos().ros()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::Topics;

    const NODE: Node<'_> =
        Node { domain: 0, session: "aac3178e146ba6f1fc6e6a4085e77f21", name: "edge_runtime" };

    #[test]
    fn keys_have_the_form_of_rmw_zenoh() {
        let topics = Topics::new("");
        assert_eq!(NODE.key(), "@ros2_lv/0/aac3178e146ba6f1fc6e6a4085e77f21/0/0/NN/%/%/edge_runtime");
        assert_eq!(
            NODE.endpoint_key(10, Kind::Publisher, &topics.tactile("left")),
            "@ros2_lv/0/aac3178e146ba6f1fc6e6a4085e77f21/0/10/MP/%/%/edge_runtime/%tactile%left%taxels/\
             std_msgs::msg::dds_::Float32MultiArray_/\
             RIHS01_0599f6f85b4bfca379873a0b4375a0aca022156bd2d7021275d116ed1fa8bfe0/2::,1:,:,:,,"
        );
        assert_eq!(
            NODE.endpoint_key(2, Kind::Subscription, &topics.instruction),
            "@ros2_lv/0/aac3178e146ba6f1fc6e6a4085e77f21/0/2/MS/%/%/edge_runtime/%instruction/\
             std_msgs::msg::dds_::String_/\
             RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18/:1:,1:,:,:,,"
        );
        let arm = Node { domain: 7, ..NODE };
        assert_eq!(
            arm.endpoint_key(1, Kind::Publisher, &Topics::new("arm").joint_states),
            "@ros2_lv/7/aac3178e146ba6f1fc6e6a4085e77f21/0/1/MP/%/%/edge_runtime/%arm%joint_states/\
             sensor_msgs::msg::dds_::JointState_/\
             RIHS01_a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e/::,10:,:,:,,"
        );
    }

    #[test]
    fn names_that_are_no_nodes_are_found_out() {
        for name in ["edge_runtime", "sim", "A1", "_hidden"] {
            assert!(Node { name, ..NODE }.has_good_name(), "{name:?}");
        }
        for name in ["", "1a", "a/b", "a-b", "a b", "*", "é"] {
            assert!(!Node { name, ..NODE }.has_good_name(), "{name:?}");
        }
    }
}
