//! What is read from a sound folder.

use reflexarc_vla_model::checkpoint::{
    Checkpoint, Moments, Normalisation, PolicyConfig, RobotSenses, Tensors,
};

use super::common::{Folder, Raw, fixture, read};

const STATE_FILE: &str = "policy_preprocessor_step_5_normalizer_processor.safetensors";

#[test]
fn the_configuration_is_read() {
    let checkpoint = Checkpoint::open(&fixture("smolvla_tiny")).unwrap();
    let PolicyConfig::SmolVla(config) = &checkpoint.config else { panic!("a SmolVLA") };
    let names: Vec<&str> = config.common.cameras.iter().map(|camera| camera.name.as_str()).collect();
    assert_eq!(names, ["camera1", "camera2"]);
    assert_eq!((config.common.state_len, config.common.action_len), (6, 6));
    assert_eq!((config.common.chunk_size, config.common.n_action_steps), (10, 10));
    assert_eq!(config.common.normalisation.visual, Normalisation::Identity);
    assert_eq!((config.max_state_dim, config.max_action_dim), (8, 8));
    assert_eq!((config.image_size, config.num_steps, config.tokenizer_max_length), ((64, 64), 10, 12));
    assert_eq!((config.min_period, config.max_period, config.rtc), (4e-3, 4.0, None));
    let sizes = &config.backbone;
    assert_eq!((sizes.image_size, sizes.patch_size, sizes.pixel_shuffle), (64, 8, 4));
    assert_eq!((sizes.patches(), sizes.tokens_per_camera()), (64, 4));
    assert_eq!(
        (sizes.vision_hidden, sizes.vision_mlp, sizes.vision_layers, sizes.vision_heads),
        (32, 64, 2, 4)
    );
    assert_eq!((sizes.hidden, sizes.mlp, sizes.layers, sizes.vocabulary), (48, 96, 4, 128));
    assert_eq!((sizes.heads, sizes.kv_heads, sizes.head_dim), (6, 2, 8));
    assert_eq!((sizes.expert_hidden, sizes.expert_mlp, sizes.expert_layers), (36, 256, 4));

    let checkpoint = Checkpoint::open(&fixture("act_tiny")).unwrap();
    let PolicyConfig::Act(config) = &checkpoint.config else { panic!("an ACT") };
    assert_eq!((config.dim_model, config.n_heads, config.dim_feedforward), (32, 4, 48));
    assert_eq!((config.n_encoder_layers, config.n_decoder_layers, config.latent_dim), (2, 1, 8));
    assert_eq!((config.common.chunk_size, config.temporal_ensemble_coeff), (12, None));
    assert_eq!((config.common.cameras[1].height, config.common.cameras[1].width), (64, 96));
}

#[test]
fn statistics_are_read() {
    let checkpoint = Checkpoint::open(&fixture("act_tiny")).unwrap();
    let statistics = &checkpoint.statistics;
    assert_eq!(statistics.cameras.len(), 2);
    let camera = statistics.cameras[0].as_ref().unwrap();
    assert_eq!(
        (camera.mean.as_slice(), camera.std.as_slice()),
        (&[0.485, 0.456, 0.406][..], &[0.229, 0.224, 0.225][..])
    );
    assert_eq!(statistics.epsilon, 1e-8);

    let smolvla = Checkpoint::open(&fixture("smolvla_tiny")).unwrap().statistics;
    assert_eq!(smolvla.cameras, [None, None]);
    let moments = Moments { mean: vec![1.0, -2.0], std: vec![2.0, 0.5] };
    let mut values = [3.0, -1.0];
    moments.normalise(&mut values, 0.0);
    assert_eq!(values, [1.0, 2.0]);
    moments.restore(&mut values);
    assert_eq!(values, [3.0, -1.0]);
}

#[test]
fn every_value_of_the_fixtures_is_read() {
    for name in ["smolvla_tiny", "smolvla_tiny_bf16", "act_tiny"] {
        let path = fixture(name).join("model.safetensors");
        let tensors = Tensors::open(&path).unwrap();
        let raw = read(&std::fs::read(path).unwrap());
        assert_eq!(tensors.names().count(), raw.len());
        for info in tensors.infos() {
            let raw = &raw[info.name];
            let expected: Vec<f32> = match raw.dtype.as_str() {
                "F32" => raw.bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect(),
                _ => {
                    let high = |value: &[u8; 2]| u32::from(u16::from_le_bytes(*value)) << 16;
                    raw.bytes.as_chunks().0.iter().map(|value| f32::from_bits(high(value))).collect()
                }
            };
            assert_eq!(tensors.values(info.name, info.shape).unwrap(), expected, "{}", info.name);
            let [outputs, rest @ ..] = info.shape else { panic!("no scalars here") };
            let weight = tensors.weight(info.name, *outputs, rest.iter().product()).unwrap();
            assert_eq!(*weight.to_floats(), *expected);
            let width = info.count() / outputs;
            if let [_, _] = info.shape {
                let row = tensors.row(info.name, outputs - 1, width).unwrap();
                assert_eq!(row, expected[expected.len() - width..]);
            }
        }
        tensors.release();
        let first = tensors.names().next().unwrap().to_owned();
        let shape = tensors.shape(&first).unwrap().to_vec();
        assert!(tensors.values(&first, &shape).is_ok(), "released pages come back");
    }
}

#[test]
fn older_checkpoints_keep_their_statistics_in_the_model() {
    for name in ["smolvla_tiny", "act_tiny"] {
        let new = Checkpoint::open(&fixture(name)).unwrap();
        let folder = Folder::of(name);
        let step = if name == "act_tiny" { STATE_FILE.replace('5', "3") } else { STATE_FILE.to_owned() };
        let statistics = read(&std::fs::read(folder.path(&step)).unwrap());
        folder.edit_tensors("model.safetensors", |tensors| {
            for (key, raw) in statistics {
                let (feature, statistic) = key.rsplit_once('.').unwrap();
                let place = if feature == "action" { "unnormalize_outputs" } else { "normalize_inputs" };
                tensors.insert(format!("{place}.buffer_{}.{statistic}", feature.replace('.', "_")), raw);
            }
        });
        std::fs::remove_file(folder.path("policy_preprocessor.json")).unwrap();
        std::fs::remove_file(folder.path("policy_postprocessor.json")).unwrap();
        let old = Checkpoint::open(&folder.0).unwrap();
        assert_eq!(old.statistics, new.statistics);

        folder.edit_tensors("model.safetensors", |tensors| {
            tensors.remove("unnormalize_outputs.buffer_action.mean");
        });
        let error = Checkpoint::open(&folder.0).unwrap_err().to_string();
        assert!(
            error.contains("`unnormalize_outputs.buffer_action.mean`") && error.contains("1763"),
            "{error}"
        );
    }
}

#[test]
fn the_backbone_of_the_published_model_is_the_default() {
    // 15 query heads and 5 key heads of 64 do not fit the small network.
    let folder = Folder::of("smolvla_tiny");
    std::fs::remove_file(folder.path("backbone.json")).unwrap();
    let error = Checkpoint::open(&folder.0).unwrap_err().to_string();
    assert!(error.contains("query heads × head_dim is 960, expected 48"), "{error}");
    assert!(error.contains("backbone.json"), "{error}");
}

#[test]
fn renamed_and_empty_cameras() {
    let folder = Folder::of("smolvla_tiny");
    folder.edit("policy_preprocessor.json", |json| {
        json["steps"][0]["config"]["rename_map"] =
            serde_json::json!({ "observation.images.wrist": "observation.images.camera2" });
    });
    folder.edit("config.json", |json| {
        json["empty_cameras"] = 1.into();
        json["input_features"]["observation.images.empty_camera_0"] =
            serde_json::json!({ "type": "VISUAL", "shape": [3, 480, 640] });
    });
    let checkpoint = Checkpoint::open(&folder.0).unwrap();
    assert_eq!(checkpoint.senses().cameras, ["camera1", "wrist"]);
    assert_eq!(checkpoint.config.common().cameras[1].key, "observation.images.camera2");
}

#[test]
fn identity_needs_no_statistics() {
    let folder = Folder::of("smolvla_tiny");
    for file in ["config.json", "policy_preprocessor.json", "policy_postprocessor.json"] {
        let text = std::fs::read_to_string(folder.path(file)).unwrap();
        std::fs::write(folder.path(file), text.replace("MEAN_STD", "IDENTITY")).unwrap();
    }
    std::fs::remove_file(folder.path(STATE_FILE)).unwrap();
    let statistics = Checkpoint::open(&folder.0).unwrap().statistics;
    assert_eq!((statistics.state, statistics.action), (None, None));
}

#[test]
fn flat_image_statistics_are_those_of_channels() {
    let folder = Folder::of("act_tiny");
    folder.edit_tensors(&STATE_FILE.replace('5', "3"), |tensors| {
        tensors.insert("observation.images.camera1.mean".to_owned(), Raw::f32(&[3], &[0.1, 0.2, 0.3]));
    });
    let statistics = Checkpoint::open(&folder.0).unwrap().statistics;
    assert_eq!(statistics.cameras[0].as_ref().unwrap().mean, [0.1, 0.2, 0.3]);
}

#[test]
fn a_robot_is_checked() {
    let checkpoint = Checkpoint::open(&fixture("smolvla_tiny")).unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let robot =
        RobotSenses { cameras: names(&["camera2", "overhead", "camera1"]), state_len: 6, action_len: 6 };
    checkpoint.check_robot(&robot).unwrap();
    let robot = RobotSenses { cameras: names(&["camera1", "wrist"]), state_len: 8, action_len: 8 };
    assert_eq!(
        checkpoint.check_robot(&robot).unwrap_err().to_string(),
        "the checkpoint does not fit the robot: no camera [\"camera2\"]; the checkpoint has cameras [\"camera1\", \
         \"camera2\"], 6 values of state, 6 of an action; the robot has cameras [\"camera1\", \"wrist\"], 8 values of \
         state, 8 of an action"
    );
}
