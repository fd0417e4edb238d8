//! The weights of a model folder, read by Candle and checked on the way.

use anyhow::{bail, ensure, Context, Result};
use candle_core::safetensors::MmapedSafetensors;
use candle_core::{CpuStorage, DType, Device, Shape, Storage, Tensor};
use candle_nn::{var_builder::SimpleBackend, Init, VarBuilder};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The safetensors files of a folder, their tensors and who asked for which.
pub struct Weights {
    files: Vec<PathBuf>,
    names: BTreeSet<String>,
    backend: Checked,
}

impl Weights {
    /// Maps `model.safetensors`, or else the files that `model.safetensors.index.json` lists.
    pub fn open(dir: &Path) -> Result<Self> {
        let files = files(dir)?;
        // SAFETY: as for every memory map, nobody may write to the files while we run.
        let inner = unsafe { MmapedSafetensors::multi(&files) }?;
        let mut names = BTreeSet::new();
        for (name, _) in inner.tensors() {
            ensure!(!names.contains(&name), "{}: tensor {name} is there twice", dir.display());
            names.insert(name);
        }
        let backend = Checked { inner: Arc::new(inner), used: Arc::default() };
        Ok(Self { files, names, backend })
    }

    /// Float32 tensors by Hugging Face's module path without `transformer.`; float16 and bfloat16
    /// are widened by Candle.
    pub fn builder(&self) -> VarBuilder<'static> {
        let backend = Box::new(self.backend.clone());
        VarBuilder::from_backend(backend, DType::F32, Device::Cpu)
    }

    /// The first tensor that nobody asked for and that is no mask buffer.
    pub fn surplus(&self) -> Option<String> {
        let used = self.backend.used.lock().unwrap();
        let buffer = |n: &str| n.ends_with(".attn.bias") || n.ends_with(".attn.masked_bias");
        self.names.iter().find(|n| !used.contains(*n) && !buffer(n)).cloned()
    }

    /// SHA-256 of the file; of several, of the lines `sha256  name`, sorted.
    pub fn sha256(&self) -> Result<String> {
        let mut lines = BTreeSet::new();
        for path in &self.files {
            let hash = sha256_file(path)?;
            if self.files.len() == 1 {
                return Ok(hash);
            }
            lines.insert(format!("{hash}  {}\n", path.file_name().unwrap().to_string_lossy()));
        }
        Ok(sha256(lines.into_iter().collect::<String>().as_bytes()))
    }

    /// The safetensors files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The files, for messages.
    pub fn describe(&self) -> String {
        let first = self.files[0].display();
        match self.files.len() {
            1 => first.to_string(),
            n => format!("{first} and {} more", n - 1),
        }
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let (single, index) = (dir.join(SINGLE), dir.join(INDEX));
    if single.exists() {
        return Ok(vec![single]);
    }
    if !index.exists() {
        bail!("{}: neither {SINGLE} nor {INDEX} is there", dir.display());
    }
    let text = std::fs::read(&index).with_context(|| format!("read {}", index.display()))?;
    let names = index_files(&text).with_context(|| index.display().to_string())?;
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// The distinct file names in an index, sorted.
fn index_files(text: &[u8]) -> Result<BTreeSet<String>> {
    let json: Map<String, Value> = serde_json::from_slice(text).context("not a JSON object")?;
    let map = json.get("weight_map").cloned().context("weight_map is missing")?;
    let map: BTreeMap<String, String> =
        serde_json::from_value(map).context("weight_map is not a map from tensor to file")?;
    let names: BTreeSet<String> = map.into_values().collect();
    ensure!(!names.is_empty(), "weight_map is empty");
    for name in &names {
        let plain = Path::new(name).file_name().is_some_and(|f| f == name.as_str());
        ensure!(plain, "weight_map names {name:?}, which is not a plain file name");
    }
    Ok(names)
}

/// Candle's mapped file, with the checks that Candle leaves out: dtype, shape before size, finite
/// values; and with either key style.
#[derive(Clone)]
struct Checked {
    inner: Arc<MmapedSafetensors>,
    used: Arc<Mutex<BTreeSet<String>>>,
}

impl Checked {
    /// `h.0.…`, or `transformer.h.0.…` where the file has that.
    fn key(&self, name: &str) -> String {
        let long = format!("transformer.{name}");
        match self.inner.get(&long) {
            Ok(_) => long,
            Err(_) => name.to_string(),
        }
    }
}

impl SimpleBackend for Checked {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let key = self.key(name);
        let view = match self.inner.get(&key) {
            Ok(view) => view,
            Err(_) => candle_core::bail!("tensor {name} is missing"),
        };
        if view.shape() != shape.dims() {
            candle_core::bail!("tensor {key} has shape {:?}, not {shape:?}", view.shape())
        }
        match DType::try_from(view.dtype()) {
            Ok(DType::F32 | DType::F16 | DType::BF16) => {}
            _ => candle_core::bail!("tensor {key} is {:?}, not F32, F16 or BF16", view.dtype()),
        }
        let tensor = SimpleBackend::get(&*self.inner, shape, &key, init, dtype, device)?;
        if !finite(&tensor)? {
            candle_core::bail!("tensor {key} has a value that is not finite")
        }
        self.used.lock().unwrap().insert(key);
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("tensor {name} was asked for without a shape")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.inner.get(&self.key(name)).is_ok()
    }
}

fn finite(tensor: &Tensor) -> candle_core::Result<bool> {
    let (storage, _) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => Ok(values.iter().all(|v| v.is_finite())),
        _ => candle_core::bail!("a weight is not float32 on the CPU"),
    }
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

/// Finishes a hash as lower-case hexadecimal.
pub fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256_file(path: &Path) -> Result<String> {
    let context = || format!("read {}", path.display());
    let mut file = File::open(path).with_context(context)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk).with_context(context)? {
            0 => return Ok(hex(hash)),
            n => hash.update(&chunk[..n]),
        }
    }
}
