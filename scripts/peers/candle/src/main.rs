//! GPT-2 on Candle in float32, for scripts/bench.py: no taps, and logits of the last position alone.
//!
//!   candle-peer CONFIG SAFETENSORS...
//!
//! Each line of stdin is fed: "start ID ..." a prompt, "step ID ..." what follows it. Each answer is the
//! last position's logits, float32, little-endian.
//!
//! T new positions · S with those before · C n_embd · H n_head · D = C/H · V vocab_size

use anyhow::{bail, Context, Result};
use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::kv_cache::KvCache;
use candle_nn::ops::softmax_last_dim;
use candle_nn::{layer_norm, LayerNorm, Module, VarBuilder};
use std::io::{stdin, stdout, BufRead, Write};

/// GPT-2's Conv1D, whose weight is [in,out] in memory.
struct Conv1d {
    weight: Tensor,
    bias: Tensor,
}

impl Conv1d {
    fn load(inputs: usize, outputs: usize, vb: VarBuilder) -> candle_core::Result<Self> {
        Ok(Self { weight: vb.get((inputs, outputs), "weight")?, bias: vb.get(outputs, "bias")? })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

struct Block {
    ln_1: LayerNorm,
    c_attn: Conv1d,
    attn_c_proj: Conv1d,
    ln_2: LayerNorm,
    c_fc: Conv1d,
    mlp_c_proj: Conv1d,
    cache: KvCache,
}

struct Gpt2 {
    wte: Tensor,
    wpe: Tensor,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
    heads: usize,
    pos: usize,
}

impl Gpt2 {
    fn load(config: &serde_json::Value, vb: VarBuilder) -> Result<Self> {
        let size = |key: &str| {
            let n = config[key].as_u64();
            n.map(|n| n as usize).with_context(|| format!("config.json: no {key}"))
        };
        let (c, positions) = (size("n_embd")?, size("n_positions")?);
        let f = size("n_inner").unwrap_or(4 * c);
        let eps = config["layer_norm_epsilon"].as_f64().unwrap_or(1e-5);
        let block = |n: usize| -> candle_core::Result<Block> {
            let vb = vb.pp(format!("h.{n}"));
            Ok(Block {
                ln_1: layer_norm(c, eps, vb.pp("ln_1"))?,
                c_attn: Conv1d::load(c, 3 * c, vb.pp("attn.c_attn"))?,
                attn_c_proj: Conv1d::load(c, c, vb.pp("attn.c_proj"))?,
                ln_2: layer_norm(c, eps, vb.pp("ln_2"))?,
                c_fc: Conv1d::load(c, f, vb.pp("mlp.c_fc"))?,
                mlp_c_proj: Conv1d::load(f, c, vb.pp("mlp.c_proj"))?,
                cache: KvCache::new(1, positions),
            })
        };
        Ok(Self {
            wte: vb.get((size("vocab_size")?, c), "wte.weight")?,
            wpe: vb.get((positions, c), "wpe.weight")?,
            blocks: (0..size("n_layer")?).map(block).collect::<candle_core::Result<_>>()?,
            ln_f: layer_norm(c, eps, vb.pp("ln_f"))?,
            heads: size("n_head")?,
            pos: 0,
        })
    }

    fn restart(&mut self) {
        self.pos = 0;
        self.blocks.iter_mut().for_each(|block| block.cache.reset());
    }

    /// The logits [V] of the last of the tokens.
    fn feed(&mut self, tokens: &[u32]) -> candle_core::Result<Vec<f32>> {
        let t = tokens.len();
        let ids = Tensor::new(tokens, &Device::Cpu)?;
        let mask = later(t, self.pos + t)?; // T,S
        let mut x = (self.wte.index_select(&ids, 0)? + self.wpe.narrow(0, self.pos, t)?)?; // T,C
        for block in &mut self.blocks {
            x = block.forward(&x, self.heads, mask.as_ref())?;
        }
        self.pos += t;
        let last = self.ln_f.forward(&x.i(t - 1..t)?)?; // 1,C
        last.matmul(&self.wte.t()?)?.i(0)?.to_vec1()
    }
}

impl Block {
    fn forward(
        &mut self,
        x: &Tensor,
        heads: usize,
        mask: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let (t, c) = x.dims2()?;
        let qkv = self.c_attn.forward(&self.ln_1.forward(x)?)?; // T,3C
        let qkv = qkv.reshape((t, 3, heads, c / heads))?.permute((1, 2, 0, 3))?; // 3,H,T,D
        let part = |i: usize| qkv.i(i)?.contiguous(); // H,T,D
        let (k, v) = self.cache.append(&part(1)?, &part(2)?)?; // H,S,D
        let scores = (part(0)?.matmul(&k.t()?)? * ((c / heads) as f64).powf(-0.5))?; // H,T,S
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let context = softmax_last_dim(&scores)?.matmul(&v.contiguous()?)?; // H,T,D
        let context = context.transpose(0, 1)?.reshape((t, c))?;
        let x = (x + self.attn_c_proj.forward(&context)?)?;
        let inner = self.c_fc.forward(&self.ln_2.forward(&x)?)?.gelu()?; // T,F
        x + self.mlp_c_proj.forward(&inner)?
    }
}

/// What is added to scores [T,S]: -inf for keys later than the query; nothing for one query.
fn later(t: usize, s: usize) -> candle_core::Result<Option<Tensor>> {
    if t == 1 {
        return Ok(None);
    }
    let add = |i: usize| (0..s).map(move |j| if j > s - t + i { f32::NEG_INFINITY } else { 0. });
    let all: Vec<f32> = (0..t).flat_map(add).collect();
    Tensor::from_vec(all, (t, s), &Device::Cpu).map(Some)
}

fn main() -> Result<()> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let (config, weights) =
        files.split_first().context("usage: candle-peer CONFIG SAFETENSORS...")?;
    let config = serde_json::from_slice(&std::fs::read(config)?)?;
    let vb = unsafe { VarBuilder::from_mmaped_safetensors(weights, DType::F32, &Device::Cpu)? };
    let mut model = Gpt2::load(&config, vb)?;
    for line in stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        match words.next() {
            Some("start") => model.restart(),
            Some("step") => {}
            _ => bail!("{line:?}: want start or step, and ids"),
        }
        let ids = words.map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        let bytes: Vec<u8> = model.feed(&ids)?.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut out = stdout().lock();
        out.write_all(&bytes)?;
        out.flush()?;
    }
    Ok(())
}
