//! A safetensors file, written one tensor at a time.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use half::bf16;
use reflexarc_vla_model::smolvla::noise;
use serde_json::{Map, Value, json};

use crate::Result;

/// What the values of a tensor are like; `n` is a standard normal value.
#[derive(Clone, Copy)]
pub(crate) enum Values {
    /// `n / √inputs`.
    Matrix,
    /// `1 + n / 5`.
    Scale,
    /// `n / 10`.
    Small,
    /// `(1 + n / 5)²`.
    Variance,
}

/// A tensor to come.
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Values,
    pub(crate) bf16: bool,
}

impl Tensor {
    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    fn bytes(&self) -> usize {
        self.count() * if self.bf16 { 2 } else { 4 }
    }

    fn numbers(&self, seed: u64, stream: u64) -> Vec<f32> {
        let mut numbers = noise(seed, stream, self.count());
        let inputs: usize = self.shape[1..].iter().product();
        let spread = 1.0 / (inputs as f32).sqrt();
        for n in &mut numbers {
            *n = match self.values {
                Values::Matrix => *n * spread,
                Values::Scale => 1.0 + 0.2 * *n,
                Values::Small => 0.1 * *n,
                Values::Variance => (1.0 + 0.2 * *n).powi(2),
            };
        }
        numbers
    }
}

/// Writes `tensors`; wider numbers come first, so that all are aligned.
pub(crate) fn write(path: &Path, mut tensors: Vec<Tensor>, seed: u64) -> Result<()> {
    tensors.sort_by(|a, b| (a.bf16, &a.name).cmp(&(b.bf16, &b.name)));
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut at = 0;
    for tensor in &tensors {
        let end = at + tensor.bytes();
        let dtype = if tensor.bf16 { "BF16" } else { "F32" };
        let entry = json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [at, end]});
        header.insert(tensor.name.clone(), entry);
        at = end;
    }
    let mut header = serde_json::to_vec(&Value::Object(header))?;
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for (stream, tensor) in tensors.iter().enumerate() {
        let numbers = tensor.numbers(seed, stream as u64);
        let bytes: Vec<u8> = if tensor.bf16 {
            numbers.iter().flat_map(|n| bf16::from_f32(*n).to_le_bytes()).collect()
        } else {
            numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
        };
        file.write_all(&bytes)?;
    }
    Ok(file.flush()?)
}

/// Writes named vectors as F32.
pub(crate) fn write_vectors(path: &Path, vectors: &[(String, Vec<usize>, Vec<f32>)]) -> Result<()> {
    let bytes: Vec<Vec<u8>> =
        vectors.iter().map(|(_, _, values)| values.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = vectors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| {
            let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes)?;
            Ok((name.as_str(), view))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(std::fs::write(path, safetensors::serialize(views, None)?)?)
}
