//! The peers in Python: a job file for them, one process each, and their answers.
//!
//! They are measured in the same run, on the same core and the same targets, but judged here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nalgebra::Isometry3;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::judge::Subject;

/// What `peers.py` is asked to do; its docstring describes the fields.
#[derive(Serialize, Default)]
pub(crate) struct Job {
    /// How many of the goals the slow solvers take.
    pub(crate) slow_goals: usize,
    pub(crate) robots: Vec<RobotJob>,
}

#[derive(Serialize)]
pub(crate) struct RobotJob {
    name: &'static str,
    urdf: PathBuf,
    base: &'static str,
    tip: &'static str,
    joints: Vec<String>,
    lower: Vec<f64>,
    upper: Vec<f64>,
    velocity: Vec<f64>,
    pub(crate) tasks: Vec<&'static str>,
    pub(crate) goals: Vec<GoalJob>,
    pub(crate) paths: Vec<PathJob>,
    pub(crate) forward_q: Vec<Vec<f64>>,
}

/// A pose to solve for from a seed: xyz m, quaternion x y z w.
#[derive(Serialize)]
pub(crate) struct GoalJob {
    pub(crate) seed: Vec<f64>,
    pub(crate) pose: [f64; 7],
}

/// A path to follow from `start`: the pose wanted at the end of each tick.
#[derive(Serialize)]
pub(crate) struct PathJob {
    pub(crate) name: String,
    pub(crate) task: &'static str,
    pub(crate) dt_s: f64,
    pub(crate) start: Vec<f64>,
    pub(crate) poses: Vec<[f64; 7]>,
}

/// What one tool answered.
#[derive(Deserialize)]
pub(crate) struct Answers {
    #[serde(default)]
    pub(crate) ik: Vec<IkAnswer>,
    #[serde(default)]
    pub(crate) track: Vec<TrackAnswer>,
    #[serde(default)]
    pub(crate) forward: Vec<ForwardAnswer>,
    #[serde(default)]
    failed: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct IkAnswer {
    pub(crate) solver: String,
    pub(crate) robot: String,
    pub(crate) task: String,
    pub(crate) note: String,
    pub(crate) q: Vec<Vec<f64>>,
    pub(crate) micros: Vec<f64>,
}

#[derive(Deserialize)]
pub(crate) struct TrackAnswer {
    pub(crate) solver: String,
    pub(crate) robot: String,
    pub(crate) path: String,
    pub(crate) note: String,
    pub(crate) q: Vec<Vec<f64>>,
    pub(crate) micros: Vec<f64>,
}

#[derive(Deserialize)]
pub(crate) struct ForwardAnswer {
    pub(crate) solver: String,
    pub(crate) robot: String,
    pub(crate) what: String,
    pub(crate) ns: f64,
    /// Where the tip is at the last configuration, m: that it computed the same thing.
    pub(crate) last_position: [f64; 3],
}

/// All answers, and what is missing with the reason.
#[derive(Default)]
pub(crate) struct AllAnswers {
    pub(crate) tools: Vec<Answers>,
    pub(crate) missing: Vec<String>,
}

/// The tools that `peers.py` knows, and the sections that they take part in. Each runs in a process of its
/// own, so that one that breaks takes no other with it.
const TOOLS: [(&str, &str); 6] = [
    ("roboticstoolbox", "A"),
    ("pinocchio", "A"),
    ("pinocchio-cpp", "D"),
    ("pink", "AB"),
    ("mink", "AB"),
    ("placo", "B"),
];

/// Where the virtual environment and the job files lie.
pub(crate) struct Workshop {
    folder: PathBuf,
    script: PathBuf,
}

impl Workshop {
    /// `kinematics-peers` in the target folder that this program was built into.
    pub(crate) fn open() -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(3).ok_or("the program lies outside a target folder")?;
        let folder = target.join("kinematics-peers");
        std::fs::create_dir_all(&folder)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/peers.py");
        Ok(Self { folder, script })
    }

    /// The interpreter for a tool. placo wants a pinocchio of its own, so it has its own environment.
    fn python(&self, tool: &str) -> PathBuf {
        self.folder.join(if tool == "placo" { "venv-placo/bin/python" } else { "venv/bin/python" })
    }

    /// Writes the URDF text and describes the robot for the job.
    pub(crate) fn robot_job(&self, subject: &Subject) -> Result<RobotJob, Failure> {
        let urdf = self.urdf(subject)?;
        let limits = subject.chain.limits();
        Ok(RobotJob {
            name: subject.robot.name,
            urdf,
            base: subject.robot.base,
            tip: subject.robot.tip,
            joints: subject.chain.joint_names().to_vec(),
            lower: limits.iter().map(|joint| joint.lower_rad).collect(),
            upper: limits.iter().map(|joint| joint.upper_rad).collect(),
            velocity: limits.iter().map(|joint| joint.velocity_rad_s).collect(),
            tasks: Vec::new(),
            goals: Vec::new(),
            paths: Vec::new(),
            forward_q: Vec::new(),
        })
    }

    /// The robot's URDF text as a file.
    pub(crate) fn urdf(&self, subject: &Subject) -> Result<PathBuf, Failure> {
        let path = self.folder.join(format!("{}.urdf", subject.robot.name));
        std::fs::write(&path, subject.robot.urdf)?;
        Ok(path)
    }

    /// Runs every tool that has a part in `sections` on the job.
    pub(crate) fn run(&self, job: &Job, sections: &str) -> Result<AllAnswers, Failure> {
        let mut all = AllAnswers::default();
        let asked = self.folder.join("job.json");
        std::fs::write(&asked, serde_json::to_vec(job)?)?;
        let wanted = TOOLS.iter().filter(|(_, parts)| parts.contains(|part| sections.contains(part)));
        let (here, absent): (Vec<&str>, Vec<&str>) =
            wanted.map(|(tool, _)| *tool).partition(|tool| self.python(tool).exists());
        if !absent.is_empty() {
            let setup = self.script.with_file_name("setup.sh");
            let how = format!("{} {}", setup.display(), self.folder.display());
            all.missing.push(format!("{} not installed; to install, run: {how}", absent.join(", ")));
        }
        for tool in here {
            let answered = self.folder.join(format!("{tool}.json"));
            eprintln!("  running {tool} …");
            match self.run_tool(tool, &asked, &answered) {
                Ok(answers) => {
                    all.missing.extend(answers.failed.iter().map(|why| format!("{tool}: {why}")));
                    all.tools.push(answers);
                }
                Err(why) => all.missing.push(format!("{tool}: {why}")),
            }
        }
        Ok(all)
    }

    fn run_tool(&self, tool: &str, asked: &Path, answered: &Path) -> Result<Answers, Failure> {
        if answered.exists() {
            std::fs::remove_file(answered)?;
        }
        let output = Command::new(self.python(tool))
            .arg(&self.script)
            .args([tool.as_ref(), asked.as_os_str(), answered.as_os_str()])
            .envs(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"].map(|name| (name, "1")))
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last =
                said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no word").to_owned();
            return Err(format!("{}: {last}", output.status).into());
        }
        Ok(serde_json::from_slice(&std::fs::read(answered)?)?)
    }
}

/// A pose as xyz m, quaternion x y z w.
pub(crate) fn pose_numbers(pose: &Isometry3<f64>) -> [f64; 7] {
    let (p, r) = (pose.translation.vector, pose.rotation.coords);
    [p.x, p.y, p.z, r.x, r.y, r.z, r.w]
}
