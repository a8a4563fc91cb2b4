//! Which cameras there are.

use std::path::{Path, PathBuf};

use super::device::DeviceError;
use super::v4l2;

/// One video device of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its node, such as `/dev/video0`; the number may change with every start.
    pub path: PathBuf,
    /// A path that stays with the hardware, from `/dev/v4l/by-id`, where there is one.
    pub stable_path: Option<PathBuf>,
    /// The hardware's name; empty where the kernel has none.
    pub name: String,
    /// Whether a `v4l2` source can have it, or why not. It may still be in use by another program.
    pub usable: Result<(), DeviceError>,
}

/// The video devices that the kernel lists below `sysfs` (`/sys`), with nodes below `dev` (`/dev`), in the
/// order of their numbers; none where the kernel has no video. Each is opened for a moment.
#[must_use]
pub fn devices(sysfs: &Path, dev: &Path) -> Vec<DeviceInfo> {
    list(sysfs, dev, v4l2::probe)
}

fn list(sysfs: &Path, dev: &Path, probe: impl Fn(&Path) -> Result<(), DeviceError>) -> Vec<DeviceInfo> {
    let class = sysfs.join("class/video4linux");
    let mut numbers: Vec<u32> = entries(&class)
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.strip_prefix("video")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let links = entries(&dev.join("v4l/by-id"));
    numbers
        .into_iter()
        .map(|number| {
            let node = format!("video{number}");
            let path = dev.join(&node);
            let leads_here = |link: &&PathBuf| {
                std::fs::read_link(link).is_ok_and(|target| target.file_name() == path.file_name())
            };
            let name = std::fs::read_to_string(class.join(&node).join("name")).unwrap_or_default();
            DeviceInfo {
                stable_path: links.iter().find(leads_here).cloned(),
                name: name.trim().to_owned(),
                usable: probe(&path),
                path,
            }
        })
        .collect()
}

/// What a folder has, in the order of the names; nothing if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let listing = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = listing.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn devices_are_listed_in_order_with_why_they_cannot_be_had() {
        let root = std::env::temp_dir().join(format!("reflexarc-cameras-{}", std::process::id()));
        let (sysfs, dev) = (root.join("sys"), root.join("dev"));
        for (node, name) in
            [("video10", "Gel"), ("video2", "HD Webcam"), ("video0", "Codec"), ("v4l-subdev0", "x")]
        {
            let folder = sysfs.join("class/video4linux").join(node);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("name"), format!("{name}\n")).unwrap();
        }
        std::fs::remove_file(sysfs.join("class/video4linux/video0/name")).unwrap();
        let by_id = dev.join("v4l/by-id");
        std::fs::create_dir_all(&by_id).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("../../video2", by_id.join("usb-HD_Webcam-index0")).unwrap();

        let found = list(&sysfs, &dev, |path| match path.file_name().unwrap().to_str().unwrap() {
            "video0" => Err(DeviceError::NotCapture { path: path.into(), found: "a codec".into() }),
            "video10" => Err(DeviceError::Permission { path: path.into() }),
            _ => Ok(()),
        });
        let reasons: Vec<_> =
            found.iter().map(|device| device.usable.clone().map_err(|error| error.to_string())).collect();
        let nodes: Vec<_> = found.iter().map(|device| device.path.clone()).collect();
        let names: Vec<_> = found.iter().map(|device| device.name.as_str()).collect();
        let stable = found[1].stable_path.clone();
        std::fs::remove_dir_all(&root).unwrap();

        assert_eq!(nodes, ["video0", "video2", "video10"].map(|node| dev.join(node)));
        assert_eq!(names, ["", "HD Webcam", "Gel"]);
        assert_eq!(stable, Some(by_id.join("usb-HD_Webcam-index0")));
        assert!(reasons[0].as_ref().unwrap_err().ends_with("found a codec"), "{reasons:?}");
        assert_eq!(reasons[1], Ok(()));
        assert!(reasons[2].as_ref().unwrap_err().contains("permission denied"), "{reasons:?}");
    }

    #[test]
    fn no_video_is_no_fault() {
        assert_eq!(list(Path::new("/nowhere"), Path::new("/dev"), |_| Ok(())), []);
    }
}
