//! Records the observations that the device suite of `vla-model` puts to the shipped weights.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};

use reflexarc_examples::episode::{Decider, Episode, Lent, run};
use reflexarc_examples::translate;
use reflexarc_runtime::config::ChunkConfig;
use reflexarc_runtime::fault::FaultProfile;
use reflexarc_sim::node::Faults;
use reflexarc_sim::scene::Scene;
use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::decision::{Subtask, Verdict};
use reflexarc_vla_model::device::DeviceChoice;
use reflexarc_vla_model::goal::policy::GoalPolicy;
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::phrasing;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

const SEED: u64 = 1000;

/// Keeps, of each subtask, the observation of which the policy was surest, and how sure it was.
struct Keeping {
    policy: GoalPolicy,
    surest: BTreeMap<Subtask, (f32, Observation)>,
}

impl Policy for Keeping {
    fn name(&self) -> &str {
        self.policy.name()
    }

    fn instruct(&mut self, instruction: &str) {
        self.policy.instruct(instruction);
    }

    fn decide(&mut self, observation: &Observation, _: &Ahead) -> Result<Output, PolicyError> {
        let decision = self.policy.decision(observation)?;
        if let Verdict::Act { subtask, .. } = decision.verdict
            && self.surest.get(&subtask).is_none_or(|(most, _)| *most < decision.confidence)
        {
            self.surest.insert(subtask, (decision.confidence, observation.clone()));
        }
        Ok(Output::Goals(decision))
    }
}

#[test]
#[ignore = "writes vla-model/tests/data/observations.safetensors"]
fn record() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let policy =
        GoalPolicy::load(&crates.join("vla-model/weights/goal.safetensors"), DeviceChoice::Cpu).unwrap();
    let scene = Scene::pick(SEED);
    let (target, placed) = (scene.target, scene.target());
    let instruction = phrasing::canonical(translate::color(placed.paint), translate::object(placed.kind()));
    let episode = Episode {
        scene,
        instruction: instruction.clone(),
        target,
        limit_s: 12.0,
        faults: Faults::default(),
        chunk: ChunkConfig::default(),
        profile: FaultProfile::default(),
        delay_ms: None,
        servos: None,
    };
    let keeping = Arc::new(Mutex::new(Keeping { policy, surest: BTreeMap::new() }));
    let result = run(&episode, Decider::Policy(Box::new(Lent(Arc::clone(&keeping))))).unwrap();
    assert_eq!(result.outcome, "success");

    let surest = &keeping.lock().unwrap().surest;
    for (subtask, (confidence, _)) in surest {
        println!("{subtask}: {confidence}");
    }
    let gather = |part: &dyn Fn(&Observation) -> Vec<u8>| -> Vec<u8> {
        surest.values().flat_map(|(_, observation)| part(observation)).collect()
    };
    let bytes_of = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let image = |name: &str| gather(&|o| o.camera(name).unwrap().rgb.clone());
    let pad = |name: &str| gather(&|o| bytes_of(&o.tactile(name).unwrap().taxels_n));
    let tensors: [(&str, Dtype, &[usize], Vec<u8>); 8] = [
        ("scene", Dtype::U8, &[96, 96, 3], image("scene")),
        ("wrist", Dtype::U8, &[96, 96, 3], image("wrist")),
        ("left", Dtype::F32, &[4, 4, 3], pad("left")),
        ("right", Dtype::F32, &[4, 4, 3], pad("right")),
        ("joints_rad", Dtype::F32, &[7], gather(&|o| bytes_of(&o.joints_rad))),
        ("gripper_width_m", Dtype::F32, &[1], gather(&|o| bytes_of(&[o.gripper_width_m]))),
        ("tool_position_m", Dtype::F32, &[3], gather(&|o| bytes_of(&o.base_from_tool.position_m))),
        ("tool_rotation_xyzw", Dtype::F32, &[4], gather(&|o| bytes_of(&o.base_from_tool.rotation_xyzw))),
    ];
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let shape = [&[surest.len()], *shape].concat();
        (*name, TensorView::new(*dtype, shape, bytes).unwrap())
    });
    let metadata = HashMap::from([("instruction".to_owned(), instruction)]);
    let file = safetensors::serialize(views, Some(metadata)).unwrap();
    std::fs::write(crates.join("vla-model/tests/data/observations.safetensors"), file).unwrap();
}
