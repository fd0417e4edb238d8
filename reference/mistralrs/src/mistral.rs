//! Requests to mistral.rs: token ids in; out come the ids its sampler chose, as its response reports
//! them, the logits its sampler was given, and the stages its model computed.

use crate::folder::Folder;
use anyhow::{anyhow, bail, ensure, Context, Result};
use candle_core::{Device, Tensor};
use mistralrs_core::{
    AdapterPaths, CustomLogitsProcessor, DefaultSchedulerMethod, DetokenizationRequest,
    DeviceMapSetting, LocalModelPaths, MistralRs, MistralRsBuilder, ModelDType, ModelPaths,
    NormalLoaderBuilder, NormalLoaderType, NormalRequest, NormalSpecificConfig, Pipeline, Request,
    RequestMessage, Response, SamplingParams, SchedulerConfig,
};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{channel, Receiver, Sender};

/// Sequences that the scheduler may run at once: what `check` asks for.
const AT_ONCE: usize = 2;

const STOPPED: &str = "mistral.rs's engine has stopped";

type Loaded = Arc<tokio::sync::Mutex<dyn Pipeline + Send + Sync>>;

/// The model, loaded by mistral.rs.
pub struct Model {
    pipeline: Loaded,
    stages: PathBuf,
    runtime: Runtime,
}

/// mistral.rs's engine thread, with its scheduler and caches, on a model.
pub struct Mistral<'a> {
    model: &'a Model,
    sender: Sender<Request>,
    _engine: Arc<MistralRs>, // ends the thread when dropped
}

/// A prompt to continue by `new` tokens.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub prompt: Vec<u32>,
    pub new: usize,
    /// fed to the first decode steps in place of the engine's choice
    pub forced: Vec<u32>,
    /// `None`: argmax. Else the sampler draws from softmax(logits/t), and reports all of it.
    pub temperature: Option<f64>,
}

/// The outcome of a step that was not forced.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// number of tokens that the sampler was shown as the context
    pub context: usize,
    /// V: the sampler's input
    pub logits: Vec<f32>,
    /// the id that the response reports; at a temperature the likeliest, not the one drawn
    pub token: u32,
    /// V at a temperature, else empty: the sampler's probabilities, as the response reports them
    pub probabilities: Vec<f32>,
}

/// The tensors of a forward pass, by stage; `tokens` are its input, [B,T].
pub type Pass = HashMap<String, Tensor>;

impl Model {
    /// mistral.rs's own loader, on the files of a checked folder, in float32 on the CPU.
    pub fn load(folder: &Folder) -> Result<Self> {
        let paths: Box<dyn ModelPaths> = Box::new(LocalModelPaths {
            tokenizer_filename: folder.tokenizer_path(),
            config_filename: folder.config_path(),
            template_filename: None,
            filenames: folder.weights.files().to_vec(),
            adapter_paths: AdapterPaths::None,
            gen_conf: None,
            preprocessor_config: None,
            processor_config: None,
            chat_template_json_filename: None,
        });
        let config = NormalSpecificConfig::default();
        let loader = NormalLoaderBuilder::new(config, None, None, Some("gpt2".into()), false, None)
            .build(Some(NormalLoaderType::Starcoder2))?;
        let pipeline = loader
            .load_model_from_path(
                &paths,
                &ModelDType::F32,
                &Device::Cpu,
                true,
                DeviceMapSetting::dummy(),
                None,
                None,
            )
            .context("mistral.rs does not load the model")?;
        // of one thread, so that the engine starts without a run of its own on the word "hello"
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { pipeline, stages: folder.stages_path(), runtime })
    }

    /// An engine of its own; the end-of-text token ends nothing.
    pub fn start(&self, prefix_caching: bool) -> Result<Mistral<'_>> {
        let method = DefaultSchedulerMethod::Fixed(NonZeroUsize::new(AT_ONCE).expect("not zero"));
        let scheduler = SchedulerConfig::DefaultScheduler { method };
        let builder = MistralRsBuilder::new(self.pipeline.clone(), scheduler, false, None)
            .with_no_prefix_cache(!prefix_caching)
            .with_disable_eos_stop(true);
        let engine = self.runtime.block_on(builder.build());
        let sender = engine.get_sender(None).map_err(|error| anyhow!("mistral.rs: {error}"))?;
        Ok(Mistral { model: self, sender, _engine: engine })
    }
}

/// Logits and context of each step of a request, as its sampler saw them.
type Seen = Arc<Mutex<Vec<(Vec<u32>, Vec<f32>)>>>;

impl Mistral<'_> {
    /// Prompts that the scheduler gets all at once; the answers in the same order.
    pub fn ask(&self, asks: &[Ask]) -> Result<Vec<Vec<Step>>> {
        let sent: Vec<_> = asks.iter().map(request).collect();
        let (requests, waiting): (Vec<_>, Vec<_>) =
            sent.into_iter().map(|(request, seen, answer)| (request, (seen, answer))).unzip();
        self.send(requests)?;
        waiting
            .into_iter()
            .zip(asks)
            .map(|((seen, answer), ask)| steps(ask, self.receive(answer)?, &seen))
            .collect()
    }

    /// The same, and the forward passes that were made for it.
    pub fn tapped(&self, asks: &[Ask]) -> Result<(Vec<Vec<Step>>, Vec<Pass>)> {
        let stages = &self.model.stages;
        std::fs::create_dir(stages).context("make a folder for stages")?;
        let answers = self.ask(asks);
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(stages)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        // by number: names grow longer after 99
        files.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        let passes = files
            .iter()
            .map(|path| Ok(candle_core::safetensors::load(path, &Device::Cpu)?))
            .collect::<Result<_>>();
        std::fs::remove_dir_all(stages)?;
        Ok((answers?, passes?))
    }

    /// Logits of all positions of a prompt, T,V, as `return_raw_logits` reports them.
    pub fn raw(&self, prompt: &[u32]) -> Result<Tensor> {
        let (mut request, _, answer) =
            request(&Ask { prompt: prompt.to_vec(), new: 1, ..Ask::default() });
        if let Request::Normal(request) = &mut request {
            request.return_raw_logits = true;
        }
        self.send(vec![request])?;
        match self.receive(answer)? {
            Response::Raw { mut logits_chunks, .. } if logits_chunks.len() == 1 => {
                Ok(logits_chunks.remove(0))
            }
            _ => bail!("mistral.rs answered return_raw_logits with something else"),
        }
    }

    /// The ids that a text becomes before it is computed, as its sampler sees them.
    pub fn tokens_of(&self, text: &str) -> Result<Vec<u32>> {
        let (mut request, seen, answer) = request(&Ask { new: 1, ..Ask::default() });
        if let Request::Normal(request) = &mut request {
            request.messages =
                RequestMessage::Completion { text: text.into(), echo_prompt: false, best_of: None };
        }
        self.send(vec![request])?;
        self.receive(answer)?;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        Ok(seen.into_iter().next().context("mistral.rs sampled nothing")?.0)
    }

    pub fn text_of(&self, tokens: &[u32]) -> Result<String> {
        let (response, mut answers) = channel(1);
        let tokens = tokens.to_vec();
        let request = DetokenizationRequest { tokens, skip_special_tokens: false, response };
        self.put(Request::Detokenize(request))?;
        answers.blocking_recv().context(STOPPED)?
    }

    /// Puts all requests into the engine's queue before it takes the first of them: meanwhile it is
    /// kept waiting to hand over the answer to another.
    fn send(&self, requests: Vec<Request>) -> Result<()> {
        let (response, mut answers) = channel(1);
        let held = DetokenizationRequest {
            tokens: Vec::new(),
            skip_special_tokens: false,
            response: response.clone(),
        };
        response.try_send(Ok(String::new())).expect("the channel has room for one");
        drop(response);
        self.put(Request::Detokenize(held))?;
        for request in requests {
            self.put(request)?;
        }
        while let Some(answer) = answers.blocking_recv() {
            answer?;
        }
        Ok(())
    }

    fn put(&self, request: Request) -> Result<()> {
        self.sender.blocking_send(request).map_err(|_| anyhow!(STOPPED))
    }

    /// The answer, once the engine is done with the request: it runs one that ends with its first
    /// token for a step more, and does not survive that nobody is there to hear of it.
    fn receive(&self, mut answer: Receiver<Response>) -> Result<Response> {
        let first = answer.blocking_recv();
        while answer.blocking_recv().is_some() {}
        match first {
            Some(Response::InternalError(error) | Response::ValidationError(error)) => {
                bail!("mistral.rs: {error}")
            }
            Some(Response::CompletionModelError(error, _)) => bail!("mistral.rs: {error}"),
            Some(response) => Ok(response),
            None => bail!(STOPPED),
        }
    }
}

/// A request whose sampler records its input, and is made to choose the forced tokens.
fn request(ask: &Ask) -> (Request, Seen, Receiver<Response>) {
    let seen = Seen::default();
    let (log, forced) = (seen.clone(), ask.forced.clone());
    let watch = move |logits: &Tensor, context: &[u32]| -> candle_core::Result<Tensor> {
        let mut log = log.lock().unwrap();
        let step = log.len();
        log.push((context.to_vec(), logits.to_vec1()?));
        let Some(&id) = forced.get(step) else { return Ok(logits.clone()) };
        let mut only = vec![f32::NEG_INFINITY; logits.elem_count()];
        only[id as usize] = 0.0;
        Tensor::from_vec(only, logits.shape(), logits.device())
    };
    let (response, answer) = channel(1);
    let sampling = SamplingParams {
        temperature: Some(ask.temperature.unwrap_or(0.0)), // 0 is argmax
        max_len: Some(ask.new),
        top_n_logprobs: if ask.temperature.is_some() { usize::MAX } else { 1 },
        ..SamplingParams::neutral()
    };
    let message = RequestMessage::CompletionTokens(ask.prompt.clone());
    let mut request = NormalRequest::new_simple(message, sampling, response, 0, None, None);
    request.return_logprobs = true;
    request.logits_processors = Some(vec![Arc::new(watch) as Arc<dyn CustomLogitsProcessor>]);
    (Request::Normal(Box::new(request)), seen, answer)
}

/// The steps behind the forced ones.
fn steps(ask: &Ask, response: Response, seen: &Seen) -> Result<Vec<Step>> {
    let Response::CompletionDone(response) = response else {
        bail!("mistral.rs answered with something else than a completion")
    };
    let choice = response.choices.into_iter().next().context("mistral.rs made no choice")?;
    let reported =
        choice.logprobs.and_then(|l| l.content).context("no logprobs in the response")?;
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    ensure!(
        reported.len() == ask.new && seen.len() >= ask.new,
        "asked for {} tokens, mistral.rs reported {} and sampled {}",
        ask.new,
        reported.len(),
        seen.len()
    );
    let mut fed = ask.prompt.clone();
    let mut steps = Vec::new();
    for (k, (reported, (context, logits))) in reported.into_iter().zip(seen).enumerate() {
        let top = reported.top_logprobs;
        let token = top.first().context("no token in the response")?.token;
        // after a prefix found in the cache the context is only the rest of the prompt; a token that
        // was drawn at a temperature is not known, and is the last
        ensure!(
            fed.ends_with(&context),
            "step {k}: the response and the sampler's context do not agree"
        );
        fed.push(token);
        if k < ask.forced.len() {
            ensure!(token == ask.forced[k], "step {k}: mistral.rs chose another token than forced");
            continue;
        }
        let probabilities = match ask.temperature {
            Some(_) => probabilities(top.iter().map(|t| (t.token, t.logprob)), logits.len())?,
            None => Vec::new(),
        };
        steps.push(Step { context: context.len(), logits, token, probabilities });
    }
    Ok(steps)
}

/// The response has the logarithm to base 10 of each probability.
fn probabilities(top: impl Iterator<Item = (u32, f32)>, vocab: usize) -> Result<Vec<f32>> {
    let mut all = vec![f32::NAN; vocab];
    for (token, log10) in top {
        all[token as usize] = 10f64.powf(log10.into()) as f32;
    }
    ensure!(!all.iter().any(|p| p.is_nan()), "the response does not have all probabilities");
    Ok(all)
}
