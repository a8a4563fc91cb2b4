//! Section D: forward kinematics with the Jacobian.

use nalgebra::Vector3;
use reflexarc_kinematics::Jacobian;

use crate::common::Random;
use crate::judge::Subject;
use crate::measure::least_ns;
use crate::peers::{AllAnswers, RobotJob, Workshop};
use crate::table::{Table, Verdicts, figure};
use crate::{Failure, Size};

/// Configurations in a batch.
const BATCH: usize = 1024;
/// pinocchio 4.1.0, compiled natively, where it cannot be compiled here: ns for forward kinematics and the
/// tip's Jacobian, from a loaded AMD EPYC (Zen 5) virtual machine in November 2026.
const PUBLISHED_NS: [(&str, f64); 3] = [("panda", 264.0), ("ur5", 247.0), ("so101", 182.0)];

/// The configurations of the batch.
pub(crate) fn batch(subject: &Subject) -> Vec<Vec<f64>> {
    let mut random = Random(5);
    (0..BATCH).map(|_| subject.configuration(&mut random)).collect()
}

/// Adds the batch to the peers' job.
pub(crate) fn ask(job: &mut RobotJob, subject: &Subject) {
    job.forward_q = batch(subject);
}

/// Prints the section.
pub(crate) fn report(
    workshop: &Workshop,
    subjects: &[Subject],
    answers: &AllAnswers,
    size: &Size,
    verdicts: &mut Verdicts,
) -> Result<(), Failure> {
    println!(
        "\nD. Forward kinematics, ns per call: the least of {} passes over {BATCH} configurations\n",
        size.passes
    );
    let mut table = Table::new(&["robot", "solver", "pose", "pose + Jacobian", "x ours", "note"]);
    let mut compared = Vec::new();
    for subject in subjects {
        let name = subject.robot.name;
        let batch = batch(subject);
        let chain = &subject.chain;
        let pose = least_ns(size.passes, BATCH, || {
            for q in &batch {
                std::hint::black_box(&chain.base_from_tip(std::hint::black_box(q)));
            }
        });
        let mut jacobian = Jacobian::default();
        let ours = least_ns(size.passes, BATCH, || {
            for q in &batch {
                std::hint::black_box(&chain.jacobian_into(std::hint::black_box(q), &mut jacobian));
                std::hint::black_box(&jacobian);
            }
        });
        let mut row = |solver: &str, pose: f64, both: f64, note: &str| {
            table.row([
                name.to_owned(),
                solver.to_owned(),
                figure(pose),
                figure(both),
                figure(both / ours),
                note.to_owned(),
            ]);
        };
        row("Reflexarc", pose, ours, "world-aligned");
        let (pose, both) = with_k(workshop, subject, &batch, size)?;
        row("k 0.32", pose, both, "end_transform, jacobian");
        let answers: Vec<_> =
            answers.tools.iter().flat_map(|tool| &tool.forward).filter(|a| a.robot == name).collect();
        let find = |what: &str| answers.iter().find(|answer| answer.what == what);
        let last = batch.last().map(|q| (subject.forward)(q).translation.vector);
        for answer in &answers {
            let off_m = last.map_or(f64::NAN, |last| (last - Vector3::from(answer.last_position)).norm());
            if off_m > 1e-9 || off_m.is_nan() {
                return Err(format!("{} puts {name} {off_m} m away from where it is", answer.solver).into());
            }
        }
        for both in answers.iter().filter(|answer| answer.what.starts_with("jacobian")) {
            let pose =
                find("pose").filter(|pose| pose.solver == both.solver).map_or(f64::NAN, |pose| pose.ns);
            row(&both.solver, pose, both.ns, &both.what);
        }
        let measured = answers.iter().filter(|a| a.solver.contains("C++") && a.what.starts_with("jacobian"));
        let measured = measured.map(|answer| answer.ns).reduce(f64::min);
        let published = PUBLISHED_NS.iter().find(|(robot, _)| *robot == name).map_or(f64::NAN, |(_, ns)| *ns);
        if measured.is_none() {
            row(
                "pinocchio C++ (published)",
                f64::NAN,
                published,
                "another run on another machine: could not be compiled here",
            );
        }
        compared.push((name, ours, measured, published));
    }
    table.print();
    println!();
    for (name, ours, measured, published) in compared {
        let (whose, ns) = measured.map_or(("published", published), |ns| ("measured", ns));
        verdicts.say(
            Some(ours <= 0.5 * ns),
            format!(
                "{name}: pose + Jacobian {ours:.0} ns, at most half of pinocchio's {whose} {ns:.0} ns: {:.2}",
                ours / ns
            ),
        );
    }
    Ok(())
}

/// The crate `k`: ns for the pose, and for pose and Jacobian.
fn with_k(
    workshop: &Workshop,
    subject: &Subject,
    batch: &[Vec<f64>],
    size: &Size,
) -> Result<(f64, f64), Failure> {
    let tree = k::Chain::<f64>::from_urdf_file(workshop.urdf(subject)?)?;
    let arm = k::SerialChain::from_end(tree.find_link(subject.robot.tip).ok_or("k does not find the tip")?);
    let passes = size.passes.div_ceil(10);
    let pose = least_ns(passes, BATCH, || {
        for q in batch {
            arm.set_joint_positions_unchecked(std::hint::black_box(q));
            std::hint::black_box(arm.end_transform());
        }
    });
    let both = least_ns(passes, BATCH, || {
        for q in batch {
            arm.set_joint_positions_unchecked(std::hint::black_box(q));
            std::hint::black_box((arm.end_transform(), k::jacobian(&arm)));
        }
    });
    Ok((pose, both))
}
