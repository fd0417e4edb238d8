//! GPT-2 in mistral.rs, laid over the file of the same name in mistralrs-core 0.8.1.
//!
//! The crate's model traits are private, so a model cannot be added from outside, and this file is
//! the one whose place GPT-2 takes: its loader, `NormalLoaderType::Starcoder2`, hands `config.json`
//! and the weights to [`Config`] and [`Model::new`] and asks for nothing else. What computes is
//! mistral.rs: `embedding`, `layer_norm`, `ColumnParallelLayer`, `RowParallelLayer`, `Activation`,
//! `KvCache`, `CausalMasker` and `Sdpa`, which on a CPU is its own flash attention. What is GPT-2's
//! is their order, the learned positions, and Conv1D weights transposed and split at load.
//!
//! While the folder `Config::stages` exists, each forward pass leaves there every tensor it computed:
//! `pass_NN.safetensors`, numbered in order, under the stage names of checkpoint12's contract, and
//! `tokens`, the ids it was fed. B sequences, T new positions, S with those in the cache, C wide,
//! H heads of D, F inner, V tokens.

use candle_core::{Device, Module, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, Linear};
use mistralrs_quant::{
    ColumnParallelLayer, Comm, QuantMethod, QuantMethodConfig, QuantizedConfig, RowParallelLayer,
    ShardedSafeTensors, ShardedVarBuilder, UnquantLinear,
};
use std::{collections::HashMap, path::PathBuf, sync::Arc};

use crate::{
    amoe::AnyMoeBaseModelMixin,
    attention::SdpaParams,
    device_map::{DeviceMappedMask, DeviceMapper},
    layers::{embedding, layer_norm, Activation, CausalMasker, MatMul, Sdpa},
    paged_attention::{AttentionImplementation, ModelConfigMetadata},
    pipeline::{
        extract_logits,
        text_models_inputs_processor::{FlashParams, PagedAttentionInputMetadata},
        EitherCache, IsqModel, KvCache, NormalCache, NormalLoadingMetadata, NormalModel,
    },
    utils::progress::NiceProgressBar,
};

/// Starcoder2's keys, which the rest of the crate reads; the exporter translates GPT-2's to them.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize, Default)]
pub struct Config {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) num_key_value_heads: usize,
    pub(crate) hidden_act: Activation,
    pub(crate) max_position_embeddings: usize,
    pub(crate) norm_epsilon: f64,
    pub(crate) rope_theta: f64,
    pub(crate) use_bias: bool,
    pub(crate) sliding_window: Option<usize>,
    pub(crate) quantization_config: Option<QuantizedConfig>,
    pub(crate) tie_word_embeddings: bool,
    /// ours: where the stages of a forward pass go, while this folder exists
    #[serde(default)]
    pub(crate) stages: Option<PathBuf>,
}

/// The stages of one forward pass; `None` when nobody asks for them.
type Stages = Option<HashMap<String, Tensor>>;

fn tap(stages: &mut Stages, name: String, tensor: &Tensor) {
    if let Some(stages) = stages {
        stages.insert(name, tensor.clone());
    }
}

fn linear(xs: &Tensor, layer: &Arc<dyn QuantMethod>) -> Result<Tensor> {
    MatMul.qmethod_matmul(xs, &**layer)
}

/// The Conv1D weights of a block, [in, out] on disk, as the [out, in] that the parallel layers read.
fn transposed(cfg: &Config, vb: &ShardedVarBuilder) -> Result<ShardedVarBuilder> {
    let (c, f) = (cfg.hidden_size, cfg.intermediate_size);
    let mut tensors = HashMap::new();
    let mut put = |name: &str, weight: Tensor, bias: Tensor| -> Result<()> {
        tensors.insert(format!("{name}.weight"), weight.contiguous()?);
        tensors.insert(format!("{name}.bias"), bias.contiguous()?);
        Ok(())
    };
    let weight = vb.get((c, 3 * c), "attn.c_attn.weight")?.t()?; // 3C,C
    let bias = vb.get(3 * c, "attn.c_attn.bias")?; // 3C
    for (i, name) in ["attn.q", "attn.k", "attn.v"].into_iter().enumerate() {
        put(name, weight.narrow(0, i * c, c)?, bias.narrow(0, i * c, c)?)?;
    }
    for (name, inputs, outputs) in [("attn.c_proj", c, c), ("mlp.c_fc", c, f), ("mlp.c_proj", f, c)]
    {
        let weight = vb.get((inputs, outputs), &format!("{name}.weight"))?.t()?;
        put(name, weight, vb.get(outputs, &format!("{name}.bias"))?)?;
    }
    Ok(ShardedSafeTensors::wrap(Box::new(tensors), vb.dtype(), vb.device().clone()))
}

struct Attention {
    q: Arc<dyn QuantMethod>,
    k: Arc<dyn QuantMethod>,
    v: Arc<dyn QuantMethod>,
    c_proj: Arc<dyn QuantMethod>,
    heads: usize,
    head_dim: usize,
    sdpa_params: SdpaParams,
}

impl Attention {
    fn new(cfg: &Config, vb: ShardedVarBuilder, comm: &Arc<Comm>) -> Result<Self> {
        let (c, quant) = (cfg.hidden_size, &cfg.quantization_config);
        let column = |name| ColumnParallelLayer::new(c, c, quant, true, comm, vb.pp(name));
        let head_dim = c / cfg.num_attention_heads;
        Ok(Self {
            q: column("q")?,
            k: column("k")?,
            v: column("v")?,
            c_proj: RowParallelLayer::new(c, c, quant, true, comm, vb.pp("c_proj"))?,
            heads: cfg.num_attention_heads / comm.world_size(),
            head_dim,
            sdpa_params: SdpaParams {
                n_kv_groups: 1,
                softcap: None,
                softmax_scale: 1.0 / (head_dim as f32).sqrt(),
                sliding_window: None,
                sinks: None,
            },
        })
    }

    /// B,T,C to B,T,C. Scores and probabilities exist only inside `Sdpa`, a tile at a time.
    fn forward(
        &self,
        xs: &Tensor,
        mask: Option<&Tensor>,
        cache: &mut KvCache,
        flash_params: &FlashParams,
        (stages, name): (&mut Stages, &str),
    ) -> Result<Tensor> {
        let (b, t, _) = xs.dims3()?;
        let (q, k, v) = (linear(xs, &self.q)?, linear(xs, &self.k)?, linear(xs, &self.v)?);
        if stages.is_some() {
            // mistral.rs multiplies q, k and v apart; side by side they are GPT-2's fused projection
            tap(stages, format!("{name}.c_attn"), &Tensor::cat(&[&q, &k, &v], 2)?); // B,T,3C
        }
        let split = |x: Tensor| x.reshape((b, t, self.heads, self.head_dim))?.transpose(1, 2);
        let (q, k, v) = (split(q)?, split(k)?, split(v)?); // B,H,T,D
        tap(stages, format!("{name}.q"), &q);
        tap(stages, format!("{name}.k"), &k);
        tap(stages, format!("{name}.v"), &v);
        let (k, v) = cache.append(&k, &v)?; // B,H,S,D
        tap(stages, format!("{name}.cache_k"), &k);
        tap(stages, format!("{name}.cache_v"), &v);
        let out = Sdpa.run_attention(&q, &k, &v, mask, Some(flash_params), &self.sdpa_params)?;
        let context = out.transpose(1, 2)?.reshape((b, t, ()))?; // B,T,C
        tap(stages, format!("{name}.context"), &context);
        let out = linear(&context, &self.c_proj)?;
        tap(stages, format!("{name}.c_proj"), &out);
        Ok(out)
    }
}

struct Block {
    ln_1: LayerNorm,
    attn: Attention,
    ln_2: LayerNorm,
    c_fc: Arc<dyn QuantMethod>,
    act: Activation,
    c_proj: Arc<dyn QuantMethod>,
}

impl Block {
    fn new(cfg: &Config, vb: ShardedVarBuilder, comm: &Arc<Comm>) -> Result<Self> {
        let (c, f, quant) = (cfg.hidden_size, cfg.intermediate_size, &cfg.quantization_config);
        let linears = transposed(cfg, &vb)?;
        let mlp = linears.pp("mlp");
        Ok(Self {
            ln_1: layer_norm(c, cfg.norm_epsilon, vb.pp("ln_1"))?,
            attn: Attention::new(cfg, linears.pp("attn"), comm)?,
            ln_2: layer_norm(c, cfg.norm_epsilon, vb.pp("ln_2"))?,
            c_fc: ColumnParallelLayer::new(c, f, quant, true, comm, mlp.pp("c_fc"))?,
            act: cfg.hidden_act,
            c_proj: RowParallelLayer::new(f, c, quant, true, comm, mlp.pp("c_proj"))?,
        })
    }

    fn forward(
        &self,
        input: &Tensor, // B,T,C
        mask: Option<&Tensor>,
        cache: &mut KvCache,
        flash_params: &FlashParams,
        (stages, name): (&mut Stages, &str),
    ) -> Result<Tensor> {
        let ln_1 = self.ln_1.forward(input)?; // B,T,C
        tap(stages, format!("{name}.ln_1"), &ln_1);
        let attn = (&mut *stages, &*format!("{name}.attn"));
        let mid = (input + self.attn.forward(&ln_1, mask, cache, flash_params, attn)?)?;
        tap(stages, format!("{name}.resid_mid"), &mid);
        let ln_2 = self.ln_2.forward(&mid)?; // B,T,C
        tap(stages, format!("{name}.ln_2"), &ln_2);
        let c_fc = linear(&ln_2, &self.c_fc)?; // B,T,F
        tap(stages, format!("{name}.mlp.c_fc"), &c_fc);
        let act = c_fc.apply(&self.act)?; // B,T,F
        tap(stages, format!("{name}.mlp.act"), &act);
        let c_proj = linear(&act, &self.c_proj)?; // B,T,C
        tap(stages, format!("{name}.mlp.c_proj"), &c_proj);
        let post = (mid + c_proj)?;
        tap(stages, format!("{name}.resid_post"), &post);
        Ok(post)
    }
}

pub struct Model {
    wte: Embedding,
    wpe: Embedding,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
    lm_head: Arc<dyn QuantMethod>,
    device: Device,
    cache: EitherCache,
    mapper: Box<dyn DeviceMapper + Send + Sync>,
    metadata: ModelConfigMetadata,
    stages: Option<PathBuf>,
}

impl Model {
    pub fn new(
        cfg: &Config,
        vb: ShardedVarBuilder,
        _is_gptx: bool,
        loading: NormalLoadingMetadata,
        attention: AttentionImplementation,
    ) -> Result<Self> {
        if !matches!(attention, AttentionImplementation::Eager) {
            candle_core::bail!("GPT-2 is written for the cache of one sequence after another");
        }
        let (mapper, c) = (loading.mapper, cfg.hidden_size);
        let root = match vb.contains_tensor("transformer.wte.weight") {
            true => vb.pp("transformer"),
            false => vb.clone(),
        };
        let top = mapper.set_nm_device(root.clone(), false);
        let wte = embedding(cfg.vocab_size, c, top.pp("wte"), &None)?;
        let positions = cfg.max_position_embeddings;
        let wpe = embedding(positions, c, top.pp("wpe"), &None)?;
        let lm_head = match [&vb, &root].into_iter().find(|vb| vb.contains_tensor("lm_head.weight")) {
            Some(vb) => vb.get((cfg.vocab_size, c), "lm_head.weight")?, // V,C
            None => wte.embeddings().clone(),
        };
        let blocks = NiceProgressBar::<_, 'b'>(
            0..cfg.num_hidden_layers,
            "Loading repeating layers",
            &loading.multi_progress,
        )
        .par_iter_if_isq(|i| {
            let vb = mapper.set_device(i, root.pp("h").pp(i), loading.loading_isq);
            Block::new(cfg, vb, &mapper.get_comm_for(i)?)
        })?;
        Ok(Self {
            wte,
            wpe,
            blocks,
            ln_f: layer_norm(c, cfg.norm_epsilon, top.pp("ln_f"))?,
            lm_head: Arc::new(UnquantLinear::new(QuantMethodConfig::Unquantized(Linear::new(
                mapper.cast_nm_device(&lm_head, loading.loading_isq)?,
                None,
            )))?),
            device: loading.real_device,
            // the cache grows by whole steps and refuses a step beyond its maximum
            cache: EitherCache::Normal(NormalCache::new(
                cfg.num_hidden_layers,
                positions.next_multiple_of(NormalCache::CACHE_GROW_SIZE),
            )),
            metadata: ModelConfigMetadata {
                max_seq_len: positions,
                num_layers: cfg.num_hidden_layers,
                hidden_size: c,
                num_attn_heads: cfg.num_attention_heads,
                num_kv_heads: cfg.num_attention_heads,
                sliding_window: None,
                k_head_dim: c / cfg.num_attention_heads,
                v_head_dim: c / cfg.num_attention_heads,
                kv_cache_layout: crate::paged_attention::KvCacheLayout::Standard,
            },
            mapper,
            stages: cfg.stages.clone(),
        })
    }

    /// Logits of the positions that `context_lens` asks for, row by row.
    fn logits(
        &self,
        input_ids: &Tensor, // B,T
        seqlen_offsets: &[usize], // B: positions already in the cache
        context_lens: Vec<(usize, usize)>,
        flash_params: &FlashParams,
    ) -> Result<Tensor> {
        let folder = self.stages.as_ref().filter(|folder| folder.is_dir());
        let mut stages = folder.map(|_| HashMap::new());
        let (b, t) = input_ids.dims2()?;
        tap(&mut stages, "tokens".into(), input_ids);
        let positions: Vec<u32> =
            seqlen_offsets.iter().flat_map(|&p| p as u32..(p + t) as u32).collect();
        let positions = Tensor::from_vec(positions, (b, t), input_ids.device())?;
        let wte = self.wte.forward(input_ids)?; // B,T,C
        tap(&mut stages, "wte".into(), &wte);
        let wpe = self.wpe.forward(&positions)?; // B,T,C
        tap(&mut stages, "wpe".into(), &wpe.get(0)?); // T,C: sequences are scheduled by equal length
        let mut xs = (wte + wpe)?; // B,T,C
        tap(&mut stages, "embed".into(), &xs);

        let cache = &mut self.cache.normal().0;
        let heads = self.metadata.num_attn_heads;
        let mask = CausalMasker.make_causal_mask_matrix(input_ids, &*cache, xs.dtype(), heads)?;
        let mask = DeviceMappedMask::new(mask, &*self.mapper)?; // T,S
        for (i, block) in self.blocks.iter().enumerate() {
            xs = self.mapper.map(xs, i)?;
            let mask = mask.as_ref().map(|mask| mask.get(xs.device()));
            let stages = (&mut stages, &*format!("h.{i}"));
            xs = block.forward(&xs, mask, &mut cache[i], flash_params, stages)?;
        }
        let xs = self.ln_f.forward(&xs.to_device(&self.device)?)?; // B,T,C
        tap(&mut stages, "ln_f".into(), &xs);
        let logits = linear(&xs, &self.lm_head)?; // B,T,V
        tap(&mut stages, "logits".into(), &logits);
        if let (Some(folder), Some(stages)) = (folder, stages) {
            let pass = std::fs::read_dir(folder)?.count();
            candle_core::safetensors::save(&stages, folder.join(format!("pass_{pass:02}.safetensors")))?;
        }
        extract_logits(&logits, context_lens)
    }
}

/// Nothing to quantise: this model is here to be compared in float32.
impl IsqModel for Model {
    fn get_layers(
        &mut self,
    ) -> (Vec<(&mut Arc<dyn QuantMethod>, Option<usize>)>, &dyn DeviceMapper) {
        (Vec::new(), &*self.mapper)
    }
    fn residual_tensors(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }
}

impl NormalModel for Model {
    fn forward(
        &self,
        input_ids: &Tensor,
        seqlen_offsets: &[usize],
        context_lens: Vec<(usize, usize)>,
        _position_ids: Vec<usize>,
        _metadata: Option<(Vec<(Tensor, Tensor)>, &PagedAttentionInputMetadata)>,
        flash_params: &FlashParams,
    ) -> Result<Tensor> {
        self.logits(input_ids, seqlen_offsets, context_lens, flash_params)
    }
    fn xlora_forward(
        &self,
        _input_ids: &Tensor,
        _input_ids_full: &Tensor,
        _seqlen_offsets: &[usize],
        _seqlen_offsets_full: &[usize],
        _no_kv_cache: bool,
        _non_granular_state: &Option<crate::xlora_models::NonGranularState>,
        _context_lens: Vec<(usize, usize)>,
        _position_ids: Vec<usize>,
        _flash_params: &FlashParams,
        _flash_params_full: &FlashParams,
    ) -> Result<Tensor> {
        unimplemented!()
    }
    fn cache(&self) -> &EitherCache {
        &self.cache
    }
    fn cache_mut(&mut self) -> &mut EitherCache {
        &mut self.cache
    }
    fn device(&self) -> &Device {
        &self.device
    }
    fn is_xlora(&self) -> bool {
        false
    }
    fn max_seq_len(&self) -> usize {
        self.metadata.max_seq_len
    }
    fn config(&self) -> &ModelConfigMetadata {
        &self.metadata
    }
}

impl AnyMoeBaseModelMixin for Model {}
