//! Arbitrary text as a robot description: an error or a chain, and a chain gives finite poses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reflexarc_kinematics::Chain;

/// A few names that the text itself offers, so that a mutated file still gives chains.
fn names(text: &str) -> Vec<&str> {
    let quoted =
        |start: &str| text.split(start).skip(1).filter_map(|rest| rest.split(['"', '\'']).next()).collect();
    let mut names: Vec<&str> = quoted("<link name=\"");
    names.extend::<Vec<&str>>(quoted("<link name='"));
    names.dedup();
    names
}

fn exercise(chain: &Chain) {
    let dof = chain.dof();
    assert!((1..=reflexarc_kinematics::MAX_DOF).contains(&dof));
    assert_eq!(chain.joint_names().len(), dof);
    for limits in chain.limits() {
        assert!(limits.lower_rad < limits.upper_rad, "{limits:?}");
        assert!(limits.velocity_rad_s > 0.0, "{limits:?}");
    }
    let middle = chain.clamp(&[]);
    assert!(middle.iter().zip(chain.limits()).all(|(q, limits)| q.is_finite() && limits.contains(*q, 0.0)));
    let far = chain.clamp(&[1e3; 8]);
    for q in [&*middle, &far, &[0.0; 8], &[1e3; 8], &[-0.7; 8]] {
        let pose = chain.base_from_tip(q);
        assert!(
            pose.translation.vector.iter().chain(pose.rotation.coords.iter()).all(|value| value.is_finite())
        );
        let (_, jacobian) = chain.jacobian(q);
        assert!(jacobian.columns().iter().flat_map(|column| column.iter()).all(|value| value.is_finite()));
        let mut visited = 0;
        chain.visit_links(q, |_, link| {
            assert!(link.translation.vector.iter().all(|value| value.is_finite()));
            visited += 1;
        });
        assert_eq!(visited, chain.link_names().len());
    }
}

fuzz_target!(|text: &str| {
    let names = names(text);
    let ends = names.first().zip(names.last()).map(|(first, last)| (*first, *last));
    for (base, tip) in
        [Some(("base", "tool")), ends, ends.map(|(first, last)| (last, first))].into_iter().flatten()
    {
        match Chain::from_urdf(text, base, tip) {
            Ok(chain) => exercise(&chain),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
