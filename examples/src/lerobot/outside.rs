//! A policy in a process of its own, in whatever language, asked in lockstep over its standard streams.
//!
//! Each question is one line of JSON, `{"instruction", "time_ns", "state", "cameras": [{"name", "width",
//! "height"}]}`, and then the cameras' pixels in that order, rgb8, without padding. The state is the joint
//! angles, rad, and the gripper's opening, metres. Each answer is one line of JSON, `{"count", "width"}`, and
//! then `count × width` 32-bit floats, little-endian: the actions; or `{"error"}` with the reason. Before the
//! first question the process says `{"name"}`. What it writes to its standard error is shown.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use reflexarc_vla_model::chunk::{ActionChunk, Ahead};
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};
use serde_json::{Value, json};

/// Longest line that is read from the process, bytes.
const LINE_MAX: u64 = 64 << 10;
/// Most actions in one chunk.
const COUNT_MAX: usize = 10_000;

/// The process and what it is told.
pub struct Outside {
    name: String,
    instruction: String,
    period_ns: u64,
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Outside {
    /// Starts `command` in a shell and waits for its first line. `period_ns` is the time between two of its
    /// actions.
    ///
    /// # Errors
    /// When it cannot be started or says something else.
    pub fn start(command: &str, period_ns: u64) -> Result<Self> {
        let mut process = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command}"))?;
        let questions = process.stdin.take();
        let stdout = process.stdout.take().ok_or_else(|| anyhow!("{command} has no output"))?;
        let mut outside = Self {
            name: String::new(),
            instruction: String::new(),
            period_ns,
            process,
            questions,
            answers: BufReader::new(stdout),
        };
        let hello = outside.line().with_context(|| format!("{command} did not begin"))?;
        hello["name"].as_str().context("the process gave no name")?.clone_into(&mut outside.name);
        Ok(outside)
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.answers.by_ref().take(LINE_MAX).read_line(&mut line)?;
        ensure!(read > 0, "the process has ended");
        serde_json::from_str(&line).with_context(|| format!("expected a line of JSON, found {line:?}"))
    }

    fn ask(&mut self, observation: &Observation) -> Result<ActionChunk> {
        let joints = observation.joints_rad.iter();
        let state: Vec<f32> = joints.copied().chain([observation.gripper_width_m]).collect();
        let camera = |c: &reflexarc_vla_model::observation::Camera| json!({ "name": c.name, "width": c.width, "height": c.height });
        let header = json!({
            "instruction": self.instruction,
            "time_ns": observation.time_ns,
            "state": state,
            "cameras": observation.cameras.iter().map(camera).collect::<Vec<_>>(),
        });
        let mut question = header.to_string().into_bytes();
        question.push(b'\n');
        for camera in &observation.cameras {
            camera.check()?;
            question.extend_from_slice(&camera.rgb);
        }
        let questions = self.questions.as_mut().context("the process takes no questions")?;
        questions.write_all(&question)?;
        questions.flush()?;
        let answer = self.line()?;
        if let Some(error) = answer.get("error") {
            return Err(anyhow!("the process says: {error}"));
        }
        let number = |key: &str| answer[key].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let (count, width) = (number("count"), number("width"));
        ensure!(
            width == state.len() && (1..=COUNT_MAX).contains(&count),
            "a chunk of {count} × {width}, expected 1 to {COUNT_MAX} actions of {} values",
            state.len()
        );
        let mut bytes = vec![0; count * width * 4];
        self.answers.read_exact(&mut bytes)?;
        let actions = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Ok(ActionChunk { observation_ns: observation.time_ns, period_ns: self.period_ns, width, actions })
    }
}

impl Policy for Outside {
    fn name(&self) -> &str {
        &self.name
    }

    fn instruct(&mut self, instruction: &str) {
        instruction.clone_into(&mut self.instruction);
    }

    fn decide(&mut self, observation: &Observation, _: &Ahead) -> Result<Output, PolicyError> {
        match self.ask(observation) {
            Ok(chunk) => Ok(Output::Chunk(chunk)),
            Err(error) => {
                Err(PolicyError::Device { device: self.name.clone(), reason: format!("{error:#}") })
            }
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // It ends by itself when nobody can ask any more.
        self.questions = None;
        let _ended = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    use super::*;
    use reflexarc_vla_model::observation::{Camera, ToolPose};

    fn observation() -> Observation {
        Observation {
            time_ns: 7,
            cameras: vec![Camera { name: "scene".into(), width: 2, height: 1, rgb: vec![1; 6] }],
            tactile: vec![],
            joints_rad: vec![0.5],
            gripper_width_m: 0.04,
            base_from_tool: ToolPose { position_m: [0.4, 0.0, 0.3], rotation_xyzw: [1.0, 0.0, 0.0, 0.0] },
        }
    }

    fn decide(script: &str) -> Result<Output, PolicyError> {
        Outside::start(&format!("sh -c '{script}'"), 50).unwrap().decide(&observation(), &Ahead::default())
    }

    #[test]
    fn actions_come_back_bit_for_bit() {
        // 1.0 and -2.0, little-endian.
        let script = r#"echo "{\"name\":\"x\"}"; read -r q; echo "{\"count\":1,\"width\":2}"; printf "\000\000\200\077\000\000\000\300""#;
        let Output::Chunk(chunk) = decide(script).unwrap() else { panic!("no chunk") };
        assert_eq!(
            chunk,
            ActionChunk { observation_ns: 7, period_ns: 50, width: 2, actions: vec![1.0, -2.0] }
        );
    }

    #[test]
    fn what_goes_wrong_is_said() {
        for (answer, said) in [
            (r#"{\"error\":\"no model\"}"#, "no model"),
            (r#"{\"count\":1,\"width\":3}"#, "a chunk of 1 × 3, expected 1 to 10000 actions of 2 values"),
            (r#"{\"count\":99999999999,\"width\":2}"#, "a chunk of 99999999999 × 2"),
            ("words", "expected a line of JSON, found \"words"),
            (r#"{\"count\":2,\"width\":2}"#, "failed to fill"),
        ] {
            let error =
                decide(&format!(r#"echo "{{\"name\":\"x\"}}"; read -r q; echo "{answer}""#)).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
        assert!(Outside::start("true", 1).is_err());
    }
}
