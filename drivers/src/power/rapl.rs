//! Energy counters of x86 processors: RAPL, through the kernel's powercap tree.
//!
//! Source: the kernel's `Documentation/power/powercap/powercap.rst`. A counter runs from 0 to
//! `max_energy_range_uj` and begins anew. Since 2020 only root may read it by default (CVE-2020-8694).

use std::path::{Path, PathBuf};

use super::sysfs::{self, Reason, Unavailable};

/// One counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name, such as `package-0`, `dram` or `psys`.
    pub name: String,
    /// Where it begins anew, µJ.
    pub range_uj: u64,
    folder: PathBuf,
}

impl Domain {
    /// The counter now, µJ.
    ///
    /// # Errors
    /// [`Unavailable`], mostly because only root may read it.
    pub fn read_uj(&self) -> Result<u64, Unavailable> {
        let high = i64::try_from(self.range_uj).unwrap_or(i64::MAX);
        Ok(sysfs::number(&self.folder.join("energy_uj"), 0, high)?.unsigned_abs())
    }
}

/// Energy between two values of a counter that begins anew at `range_uj`, at most once in between, µJ.
#[must_use]
pub fn difference_uj(from_uj: u64, to_uj: u64, range_uj: u64) -> u64 {
    if to_uj >= from_uj { to_uj - from_uj } else { range_uj.saturating_sub(from_uj) + to_uj }
}

/// All counters below `root` (`/sys`), packages before their parts, and what could not be read.
#[must_use]
pub fn domains(root: &Path) -> (Vec<Domain>, Vec<Unavailable>) {
    let class = root.join("class/powercap");
    // `intel-rapl-mmio:0` is the package once more, by another way.
    let folders = match sysfs::entries(&class, |name| name.starts_with("intel-rapl:")) {
        Ok(folders) if folders.is_empty() => Err(Unavailable::new(&class, Reason::NoSuchFile)),
        other => other,
    };
    let folders = match folders {
        Ok(folders) => folders,
        Err(fault) => return (Vec::new(), vec![fault]),
    };
    let (mut domains, mut faults) = (Vec::new(), Vec::new());
    for folder in folders {
        let name = sysfs::text(&folder.join("name"));
        let range = sysfs::number(&folder.join("max_energy_range_uj"), 1, i64::MAX);
        match (name, range) {
            (Ok(name), Ok(range)) => domains.push(Domain { name, range_uj: range.unsigned_abs(), folder }),
            (Err(fault), _) | (_, Err(fault)) => faults.push(fault),
        }
    }
    (domains, faults)
}

/// Ways to a total, the most complete first, each with what it covers in words. `core` and `uncore` are
/// parts of a package and never added.
#[must_use]
pub fn totals(domains: &[Domain]) -> Vec<(Vec<Domain>, String)> {
    let named = |wanted: &dyn Fn(&str) -> bool| -> Vec<Domain> {
        domains.iter().filter(|domain| wanted(&domain.name)).cloned().collect()
    };
    let mut totals = Vec::new();
    let platform = named(&|name| name == "psys");
    if !platform.is_empty() {
        totals.push((platform, "the platform as the processor sees it (RAPL psys)".to_owned()));
    }
    let parts = named(&|name| name.starts_with("package") || name == "dram");
    if parts.iter().any(|domain| domain.name.starts_with("package")) {
        let names: Vec<&str> = parts.iter().map(|domain| domain.name.as_str()).collect();
        let scope = format!("processor only, no GPU card, disk or fan (RAPL {})", names.join(" + "));
        totals.push((parts, scope));
    }
    totals
}
