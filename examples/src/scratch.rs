//! Folders for the length of a test.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A folder of this process's own in the system's temporary one; removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("reflexarc-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it, as an argument for a command.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Writes a file and gives its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.file(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {path}"))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind at worst, where the system clears up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
