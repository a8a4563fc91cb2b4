//! Observations of one simulated episode, kept as a file (see the README beside it).

use std::path::Path;

use reflexarc_vla_model::goal::config::GoalModelConfig;
use reflexarc_vla_model::goal::features::{proprio, scene_patches, tactile_pair, wrist_patches};
use reflexarc_vla_model::goal::model::HostInputs;
use reflexarc_vla_model::observation::{Camera, Observation, Tactile, ToolPose};
use safetensors::SafeTensors;

/// What the robot was told, and moments of what it then saw and felt.
pub(crate) fn episode() -> (String, Vec<Observation>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/observations.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let instruction = header.metadata().as_ref().unwrap()["instruction"].clone();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let moments = file.tensor("scene").unwrap().shape()[0];
    let row = |name: &str, moment: usize| {
        let data = file.tensor(name).unwrap().data();
        data.chunks_exact(data.len() / moments).nth(moment).unwrap()
    };
    let floats = |name: &str, moment| -> Vec<f32> {
        row(name, moment).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let camera = |name: &str, moment| {
        let tensor = file.tensor(name).unwrap();
        let &[_, height, width, 3] = tensor.shape() else { panic!("{name}: {:?}", tensor.shape()) };
        Camera { name: name.to_owned(), width, height, rgb: row(name, moment).to_vec() }
    };
    let pad = |name: &str, moment| Tactile { name: name.to_owned(), taxels_n: floats(name, moment) };
    let observation = |moment| Observation {
        time_ns: moment as u64,
        cameras: vec![camera("scene", moment), camera("wrist", moment)],
        tactile: vec![pad("left", moment), pad("right", moment)],
        joints_rad: floats("joints_rad", moment),
        gripper_width_m: floats("gripper_width_m", moment)[0],
        base_from_tool: ToolPose {
            position_m: floats("tool_position_m", moment).try_into().unwrap(),
            rotation_xyzw: floats("tool_rotation_xyzw", moment).try_into().unwrap(),
        },
    };
    (instruction, (0..moments).map(observation).collect())
}

/// One observation, as the policy lays it out.
pub(crate) fn inputs(config: &GoalModelConfig, observation: &Observation) -> HostInputs {
    let mut inputs = HostInputs::zeros(config, 1);
    let image = |name| &observation.camera(name).unwrap().rgb;
    let pad = |name| &observation.tactile(name).unwrap().taxels_n;
    assert!(scene_patches(image("scene"), config.image_px, &mut inputs.scene));
    assert!(wrist_patches(image("wrist"), config.image_px, &mut inputs.wrist));
    assert!(tactile_pair(pad("left"), pad("right"), &mut inputs.tactile));
    inputs.proprio.copy_from_slice(&proprio(observation));
    inputs
}
