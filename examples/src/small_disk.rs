//! File systems of their own for a test: one that fills up, one that can be frozen. Both take root.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::scratch::Scratch;

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: Scratch,
    image: Option<Scratch>,
}

/// Runs a system program; its complaint if it fails.
fn system(command: &mut Command) -> std::result::Result<(), String> {
    let program = command.get_program().display().to_string();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

impl SmallDisk {
    /// A file system in memory of so many megabytes; the reason why not, where the system refuses.
    ///
    /// # Errors
    /// When the folder for it cannot be made.
    pub fn in_memory(megabytes: u32) -> Result<std::result::Result<Self, String>> {
        let folder = Scratch::new("disk")?;
        let size = format!("size={megabytes}m");
        let mounted =
            system(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "reflexarc"]).arg(folder.path()));
        Ok(mounted.map(|()| Self { folder, image: None }))
    }

    /// An ext4 file system in a file of so many megabytes, which [`SmallDisk::freeze`] stalls; the reason why not,
    /// where the system refuses.
    ///
    /// # Errors
    /// When the folders for it cannot be made.
    pub fn on_loop(megabytes: u64) -> Result<std::result::Result<Self, String>> {
        let (folder, image) = (Scratch::new("disk")?, Scratch::new("image")?);
        let file = image.file("ext4");
        std::fs::File::create(&file)
            .and_then(|made| made.set_len(megabytes << 20))
            .with_context(|| format!("cannot make {file}"))?;
        let mounted = system(Command::new("mkfs.ext4").args(["-q", &file]))
            .and_then(|()| system(Command::new("mount").args(["-o", "loop", &file]).arg(folder.path())));
        Ok(mounted.map(|()| Self { folder, image: Some(image) }))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The path of a file on it, as an argument for a command.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.folder.file(name)
    }

    /// From now on every write waits.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn freeze(&self) -> Result<()> {
        system(Command::new("fsfreeze").arg("-f").arg(self.path())).map_err(anyhow::Error::msg)
    }

    /// Writes go on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn thaw(&self) -> Result<()> {
        system(Command::new("fsfreeze").arg("-u").arg(self.path())).map_err(anyhow::Error::msg)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.image.is_some() {
            // Refused where it is not frozen. A frozen one would never be unmounted.
            let _ = self.thaw();
        }
        // Lazily: the recorder may still have its file open.
        let _ = system(Command::new("umount").arg("-l").arg(self.path()));
    }
}
