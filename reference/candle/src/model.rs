//! The forward pass of GPT-2 on Candle's public API, in float32 on the CPU.
//!
//! B batch · T new positions · P positions in the cache · S = P+T · C n_embd · H n_head · D = C/H ·
//! F n_inner · V vocab_size

use crate::config::Config;
use crate::family::Family;
use anyhow::Result;
use candle_core::{DType, Device, Tensor, D};
use candle_nn::kv_cache::KvCache;
use candle_nn::ops::softmax_last_dim;
use candle_nn::{embedding, layer_norm, Embedding, LayerNorm, Linear, Module, VarBuilder};

/// Is given every stage under its name, in execution order; the tensor is the one that the next
/// stages read.
pub type Tap<'a> = dyn FnMut(&str, &Tensor) -> Result<()> + 'a;

pub struct Gpt2 {
    wte: Embedding,
    wpe: Embedding,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
    lm_head: Linear,
    pos: usize,
}

struct Block {
    ln_1: LayerNorm,
    c_attn: Linear,
    attn_c_proj: Linear,
    ln_2: LayerNorm,
    c_fc: Linear,
    mlp_c_proj: Linear,
    cache: KvCache,
    n_head: usize,
    /// of q·k
    divisor: f64,
    family: Family,
}

impl Gpt2 {
    /// Reads the weights; `length` is the number of positions that will be fed.
    pub fn load(
        config: &Config,
        family: &Family,
        vb: &VarBuilder,
        length: usize,
    ) -> candle_core::Result<Self> {
        let (v, c) = (config.vocab_size, config.n_embd);
        let wte = embedding(v, c, vb.pp("wte"))?;
        let bias = match vb.contains_tensor("lm_head.bias") {
            true => Some(vb.get(v, "lm_head.bias")?), // GPT-2 as released has none
            false => None,
        };
        let lm_head = Linear::new(family.head(vb, wte.embeddings())?, bias);
        Ok(Self {
            wpe: embedding(config.n_positions, c, vb.pp("wpe"))?,
            blocks: (0..config.n_layer)
                .map(|n| Block::load(config, family, n, vb.pp(format!("h.{n}")), length))
                .collect::<candle_core::Result<_>>()?,
            ln_f: layer_norm(c, config.layer_norm_epsilon, vb.pp("ln_f"))?,
            lm_head,
            wte,
            pos: 0,
        })
    }

    /// One step: the prompt, or the next token of every row. `tokens` is [B,T], uint32; returns
    /// the next token of every row, [B], int64.
    pub fn step(&mut self, tokens: &Tensor, temperatures: &[f64], tap: &mut Tap) -> Result<Tensor> {
        let (_, t) = tokens.dims2()?;
        let positions = (self.pos as u32, (self.pos + t) as u32);
        let wte = self.wte.forward(tokens)?; // B,T,C
        tap("wte", &wte)?;
        let wpe = self.wpe.forward(&Tensor::arange(positions.0, positions.1, &Device::Cpu)?)?; // T,C
        tap("wpe", &wpe)?;
        let mut x = wte.broadcast_add(&wpe)?; // B,T,C
        tap("embed", &x)?;
        for (n, block) in self.blocks.iter_mut().enumerate() {
            let mut tap = |stage: &str, x: &Tensor| tap(&format!("h.{n}.{stage}"), x);
            x = block.step(&x, &mut tap)?; // B,T,C
        }
        let x = self.ln_f.forward(&x)?; // B,T,C
        tap("ln_f", &x)?;
        let logits = self.lm_head.forward(&x)?; // B,T,V
        tap("logits", &logits)?;
        let last = logits.narrow(1, t - 1, 1)?.squeeze(1)?.contiguous()?; // B,V
        tap("logits_last", &last)?;
        let next = last.argmax(D::Minus1)?.to_dtype(DType::I64)?; // B; the lowest id wins a tie
        tap("next_token", &next)?;
        for &temperature in temperatures {
            let scaled = last.broadcast_div(&Tensor::new(temperature as f32, &Device::Cpu)?)?;
            tap(&format!("probs_t{temperature}"), &softmax(&scaled)?)?; // B,V
        }
        self.pos += t;
        Ok(next)
    }
}

/// Softmax of `[B,V]`, added up in float64: adding V small numbers to one near 1, float32 loses
/// more than checkpoint 11 allows.
fn softmax(x: &Tensor) -> candle_core::Result<Tensor> {
    let e = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?; // B,V
    let e = e.to_dtype(DType::F64)?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?.to_dtype(DType::F32)
}

impl Block {
    fn load(
        config: &Config,
        family: &Family,
        n: usize,
        vb: VarBuilder,
        length: usize,
    ) -> candle_core::Result<Self> {
        let (c, f, eps) = (config.n_embd, config.n_inner, config.layer_norm_epsilon);
        Ok(Self {
            ln_1: layer_norm(c, eps, vb.pp("ln_1"))?,
            c_attn: conv1d(c, 3 * c, vb.pp("attn.c_attn"))?,
            attn_c_proj: conv1d(c, c, vb.pp("attn.c_proj"))?,
            ln_2: layer_norm(c, eps, vb.pp("ln_2"))?,
            c_fc: conv1d(c, f, vb.pp("mlp.c_fc"))?,
            mlp_c_proj: conv1d(f, c, vb.pp("mlp.c_proj"))?,
            cache: KvCache::new(2, length),
            n_head: config.n_head,
            divisor: family.divisor(n, c / config.n_head),
            family: family.clone(),
        })
    }

    fn step(&mut self, input: &Tensor, tap: &mut Tap) -> Result<Tensor> {
        let (b, t, c) = input.dims3()?;
        let d = c / self.n_head;
        let x = self.ln_1.forward(input)?; // B,T,C
        tap("ln_1", &x)?;
        let qkv = self.c_attn.forward(&x)?; // B,T,3C
        tap("attn.c_attn", &qkv)?;
        let heads = |i: usize| {
            let part = qkv.narrow(2, i * c, c)?; // B,T,C
            part.reshape((b, t, self.n_head, d))?.transpose(1, 2)?.contiguous() // B,H,T,D
        };
        let (q, k, v) = (heads(0)?, heads(1)?, heads(2)?);
        tap("attn.q", &q)?;
        tap("attn.k", &k)?;
        tap("attn.v", &v)?;
        let (k, v) = self.cache.append(&k, &v)?;
        let (k, v) = (k.contiguous()?, v.contiguous()?); // B,H,S,D
        tap("attn.cache_k", &k)?;
        tap("attn.cache_v", &v)?;
        let scores = mask((q.matmul(&k.t()?)? / self.divisor)?)?; // B,H,T,S
        tap("attn.scores", &scores)?;
        let probs = softmax_last_dim(&scores)?; // B,H,T,S
        tap("attn.probs", &probs)?;
        let x = probs.matmul(&v)?.transpose(1, 2)?.reshape((b, t, c))?; // B,T,C
        tap("attn.context", &x)?;
        let x = self.attn_c_proj.forward(&x)?; // B,T,C
        tap("attn.c_proj", &x)?;
        let mid = (input + x)?; // B,T,C
        tap("resid_mid", &mid)?;
        let x = self.ln_2.forward(&mid)?; // B,T,C
        tap("ln_2", &x)?;
        let x = self.c_fc.forward(&x)?; // B,T,F
        tap("mlp.c_fc", &x)?;
        let x = self.family.activate(&x)?; // B,T,F
        tap("mlp.act", &x)?;
        let x = self.mlp_c_proj.forward(&x)?; // B,T,C
        tap("mlp.c_proj", &x)?;
        let x = (mid + x)?; // B,T,C
        tap("resid_post", &x)?;
        Ok(x)
    }
}

/// GPT-2's Conv1D keeps its weight as [in,out], Linear wants [out,in]: a transposed view.
fn conv1d(inputs: usize, outputs: usize, vb: VarBuilder) -> candle_core::Result<Linear> {
    let weight = vb.get((inputs, outputs), "weight")?;
    Ok(Linear::new(weight.t()?, Some(vb.get(outputs, "bias")?)))
}

/// `-inf` where a new position would look at a later one; `scores` is [B,H,T,S].
fn mask(scores: Tensor) -> candle_core::Result<Tensor> {
    let (_, _, t, s) = scores.dims4()?;
    let from = Tensor::arange((s - t) as u32, s as u32, &Device::Cpu)?.reshape((t, 1))?;
    let to = Tensor::arange(0, s as u32, &Device::Cpu)?.reshape((1, s))?;
    let later = to.broadcast_gt(&from)?.broadcast_as(scores.shape())?; // B,H,T,S
    let inf = Tensor::new(f32::NEG_INFINITY, &Device::Cpu)?.broadcast_as(scores.shape())?;
    later.where_cond(&inf, &scores)
}
