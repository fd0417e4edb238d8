//! A folder that is whole or absent: written beside its place and renamed into it.

use anyhow::{bail, ensure, Context, Result};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Removed when dropped, unless [`Staging::commit`] put it in place.
pub struct Staging {
    temp: TempDir,
    target: PathBuf,
    /// one of these files marks an older folder that may be replaced
    marker: &'static str,
}

impl Staging {
    /// Refuses a target that exists and is neither empty nor holds the file `marker`.
    pub fn create(target: &Path, marker: &'static str) -> Result<Self> {
        let name = match target.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => bail!("{}: not a name for a new folder", target.display()),
        };
        replaceable(target, marker)?;
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        let mut builder = tempfile::Builder::new();
        let prefix = format!(".{name}.");
        builder.prefix(&prefix);
        #[cfg(unix)]
        {
            // a dump is as readable as any other file; tempfile's own default is 0700
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o777));
        }
        let temp = builder
            .tempdir_in(parent)
            .with_context(|| format!("make a folder in {}", parent.display()))?;
        Ok(Self { temp, target: target.to_path_buf(), marker })
    }

    /// Where to write until then.
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Renames the folder into its place; an older one there goes when the new one is in.
    pub fn commit(self) -> Result<()> {
        let context = || format!("put {} in place", self.target.display());
        replaceable(&self.target, self.marker)?;
        if !self.target.exists() {
            std::fs::rename(self.temp.path(), &self.target).with_context(context)?;
            let _ = self.temp.keep(); // it has moved
            return Ok(());
        }
        let mut old = self.temp.path().as_os_str().to_owned(); // as unique as the new one's
        old.push(".old");
        let old = PathBuf::from(old);
        std::fs::rename(&self.target, &old).with_context(context)?;
        if let Err(error) = std::fs::rename(self.temp.path(), &self.target) {
            std::fs::rename(&old, &self.target).with_context(context)?;
            return Err(error).with_context(context);
        }
        let _ = self.temp.keep(); // it has moved
        std::fs::remove_dir_all(&old).with_context(|| format!("remove {}", old.display()))
    }
}

fn replaceable(target: &Path, marker: &str) -> Result<()> {
    if !target.exists() || target.join(marker).is_file() {
        return Ok(());
    }
    let empty = std::fs::read_dir(target)
        .with_context(|| format!("{} is there already", target.display()))?
        .next()
        .is_none();
    ensure!(
        empty,
        "{} is there already and holds no {marker}: give another --out, or remove it",
        target.display()
    );
    Ok(())
}
