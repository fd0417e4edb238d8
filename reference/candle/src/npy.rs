//! `.npy` files: version 1.0, C order, little-endian float32 or int64.

use candle_core::{DType, Tensor};

/// A tensor as a `.npy` file, header included.
///
/// Candle's own `write_npy` writes the header without padding, one value a system call; here the
/// payload starts at a multiple of 64 bytes, as numpy writes it.
pub fn encode(tensor: &Tensor) -> candle_core::Result<Vec<u8>> {
    let flat = tensor.flatten_all()?;
    Ok(match tensor.dtype() {
        DType::F32 => encode_f32(tensor.dims(), &flat.to_vec1()?),
        DType::I64 => encode_i64(tensor.dims(), &flat.to_vec1()?),
        other => candle_core::bail!("{other:?} has no place in a dump"),
    })
}

pub fn encode_f32(shape: &[usize], values: &[f32]) -> Vec<u8> {
    let mut out = header("<f4", shape, 4 * values.len());
    values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
    out
}

pub fn encode_i64(shape: &[usize], values: &[i64]) -> Vec<u8> {
    let mut out = header("<i8", shape, 8 * values.len());
    values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
    out
}

/// The header, with room for `payload` bytes behind it.
fn header(descr: &str, shape: &[usize], payload: usize) -> Vec<u8> {
    let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let mut dict = format!(
        "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        dims.join(", ")
    );
    // magic 6, version 2, length 2, dict, spaces, newline: a multiple of 64 in all
    let total = (10 + dict.len() + 1).next_multiple_of(64);
    dict.push_str(&" ".repeat(total - 10 - dict.len() - 1));
    dict.push('\n');
    let mut out = Vec::with_capacity(total + payload);
    out.extend_from_slice(b"\x93NUMPY\x01\x00");
    out.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    out.extend_from_slice(dict.as_bytes());
    out
}
