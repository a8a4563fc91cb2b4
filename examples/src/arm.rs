//! Which arm: a URDF file or one that is built in, and the chain between two of its links.

use anyhow::{Context, Result, bail};
use reflexarc_kinematics::{ARM5_HOME_RAD, ARM5_URDF, ARM7_HOME_RAD, ARM7_URDF, Chain};

/// A built-in robot.
struct BuiltIn {
    name: &'static str,
    urdf: &'static str,
    base: &'static str,
    tip: &'static str,
    home_rad: &'static [f64],
}

const BUILT_IN: [BuiltIn; 2] = [
    BuiltIn { name: "arm7", urdf: ARM7_URDF, base: "base", tip: "tool", home_rad: &ARM7_HOME_RAD },
    BuiltIn { name: "arm5", urdf: ARM5_URDF, base: "base", tip: "tool", home_rad: &ARM5_HOME_RAD },
];

/// A chain with the names that it was found under.
#[derive(Debug, Clone)]
pub struct Arm {
    /// The robot: the built-in name or the file's stem.
    pub name: String,
    /// Link at the beginning.
    pub base: String,
    /// Link at the end.
    pub tip: String,
    /// The joints between them.
    pub chain: Chain,
    /// Where to start from when nothing else is said: the home posture of a built-in chain, else mid-range.
    pub home_rad: Vec<f64>,
}

impl Arm {
    /// `robot` is a built-in name or the path of a URDF file. Without `base` the chain begins at the root
    /// link, without `tip` it ends at the only leaf.
    ///
    /// # Errors
    /// When the file cannot be read, is no URDF, or does not say by itself where the chain ends; the message
    /// lists the links to choose from.
    pub fn load(robot: &str, base: Option<&str>, tip: Option<&str>) -> Result<Self> {
        let built_in = BUILT_IN.iter().find(|known| known.name == robot);
        let read;
        let (name, urdf) = match built_in {
            Some(known) => (known.name.to_owned(), known.urdf),
            None => {
                let names: Vec<&str> = BUILT_IN.iter().map(|known| known.name).collect();
                read = std::fs::read_to_string(robot).with_context(|| {
                    format!(
                        "cannot read `{robot}`: expected a URDF file or a built-in robot ({})",
                        names.join(", ")
                    )
                })?;
                let stem = std::path::Path::new(robot).file_stem().unwrap_or_default();
                (stem.to_string_lossy().into_owned(), read.as_str())
            }
        };
        let ends = Ends::of(urdf).with_context(|| format!("`{robot}`"))?;
        let base = match (base, built_in) {
            (Some(base), _) => base.to_owned(),
            (None, Some(known)) => known.base.to_owned(),
            (None, None) => only(&ends.roots, "--base", "root")?,
        };
        let tip = match (tip, built_in) {
            (Some(tip), _) => tip.to_owned(),
            (None, Some(known)) => known.tip.to_owned(),
            (None, None) => only(&ends.leaves, "--tip", "leaf")?,
        };
        let chain = Chain::from_urdf(urdf, &base, &tip).with_context(|| format!("`{robot}`"))?;
        let home_rad = match built_in {
            Some(known) if known.base == base && known.tip == tip => known.home_rad.to_vec(),
            _ => chain.limits().iter().map(|joint| joint.middle()).collect(),
        };
        Ok(Self { name, base, tip, chain, home_rad })
    }
}

fn only(links: &[String], option: &str, kind: &str) -> Result<String> {
    match links {
        [link] => Ok(link.clone()),
        [] => bail!("the model has no {kind} link; say {option} LINK"),
        several => bail!(
            "the model has {} {kind} links; say {option} with one of: {}",
            several.len(),
            several.join(", ")
        ),
    }
}

/// Links that no joint leads to, and links that no joint leads away from.
struct Ends {
    roots: Vec<String>,
    leaves: Vec<String>,
}

impl Ends {
    fn of(urdf: &str) -> Result<Self> {
        let robot = urdf_rs::read_from_string(urdf)?;
        let without = |is_end: &dyn Fn(&urdf_rs::Joint, &str) -> bool| {
            let names = robot.links.iter().map(|link| link.name.clone());
            names.filter(|name| !robot.joints.iter().any(|joint| is_end(joint, name))).collect()
        };
        Ok(Self {
            roots: without(&|joint, link| joint.child.link == link),
            leaves: without(&|joint, link| joint.parent.link == link),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn the_built_in_arm_knows_its_ends_and_its_home() {
        let arm = Arm::load("arm7", None, None).unwrap();
        assert_eq!((arm.base.as_str(), arm.tip.as_str(), arm.chain.dof()), ("base", "tool", 7));
        assert_eq!(arm.home_rad, ARM7_HOME_RAD);
        // A shorter chain of the same robot has no home of its own.
        let part = Arm::load("arm7", None, Some("link4")).unwrap();
        assert_eq!(part.home_rad.len(), 4);
        assert!((part.home_rad[3] - part.chain.limits()[3].middle()).abs() < 1e-12);
    }

    #[test]
    fn what_is_ambiguous_is_listed() {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("reflexarc-arm-{}.urdf", std::process::id()));
        std::fs::write(&path, ARM7_URDF).unwrap();
        let said = format!("{:#}", Arm::load(path.to_str().unwrap(), None, None).unwrap_err());
        let found = Arm::load(path.to_str().unwrap(), None, Some("tool"));
        std::fs::remove_file(&path).unwrap();
        assert!(said.contains("--tip") && said.contains("tool") && said.contains("left_finger"), "{said}");
        assert_eq!(found.unwrap().base, "base");
        let said = format!("{:#}", Arm::load("no such arm", None, None).unwrap_err());
        assert!(said.contains("arm7") && said.contains("no such arm"), "{said}");
    }
}
