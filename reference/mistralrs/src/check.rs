//! Claims about mistral.rs's tokenizer, sampler, scheduler and prefix cache, each tried on a model.

use crate::config::Config;
use crate::export::{apart, off, SOFTMAX};
use crate::folder::Folder;
use crate::mistral::{Ask, Mistral, Model, Pass, Step};
use crate::options::check_prompts;
use anyhow::{ensure, Context, Result};
use std::path::Path;

/// A claim and its outcome.
pub struct Finding {
    pub claim: &'static str,
    pub holds: bool,
    /// the run, and its figures
    pub detail: String,
}

/// Differences of logits that the order of a sum accounts for, as a fraction of the largest logit.
const ROUNDING: f32 = 1e-5;

/// Tries every claim on these prompts, with `new` tokens each; `report` hears each as it is decided.
pub fn run(
    dir: &Path,
    prompts: &[Vec<u32>],
    new: usize,
    report: &mut dyn FnMut(&Finding) -> Result<()>,
) -> Result<()> {
    let config = Config::read(&dir.join("config.json"))?;
    ensure!(new >= 2, "--new must be at least 2: one token is chosen from the prompt alone");
    ensure!(prompts.len() >= 2, "--tokens is needed twice at least");
    // the longest prompt below is a prompt, its continuation and one token more
    check_prompts(prompts, 2 * new + 1, &config)
        .context("check continues each answer by as many tokens again and one")?;
    let vocab = config.vocab_size as u32;
    let folder = Folder::open(dir, config)?;
    let model = Model::load(&folder)?;
    let plain = model.start(false)?;
    let alone =
        |prompt: &[u32]| -> Result<Vec<Step>> { Ok(plain.ask(&[ask(prompt, new)])?.remove(0)) };

    report(&text(&plain, prompts)?)?;
    report(&greedy(&plain, &prompts[0], new)?)?;
    report(&ends(&plain, &prompts[0])?)?;
    report(&raw(&plain, &prompts[0])?)?;
    for t in [0.5, 1.0, 2.0] {
        report(&softmax(&plain, &prompts[0], t)?)?;
    }

    for (i, a) in prompts.iter().enumerate() {
        for b in &prompts[i + 1..] {
            let (one, other) = (alone(a)?, alone(b)?);
            together(&plain, [a, b], [&one, &other], new)?.iter().try_for_each(&mut *report)?;
        }
    }

    let prompt = &prompts[0];
    let chosen = ids(&alone(prompt)?);
    let unlike = |id: u32| (id + 1) % vocab;
    let continued = |k: usize, last: u32| [prompt, &chosen[..k], &[last]].concat();
    for (what, next) in [
        ("the same prompt again", prompt.clone()),
        ("the prompt and one more token", continued(0, unlike(chosen[0]))),
        (
            "its answer but for the last token, and another",
            continued(new - 1, unlike(chosen[new - 1])),
        ),
        ("its whole answer and one more token", continued(new, unlike(chosen[new - 1]))),
    ] {
        let off = alone(&next)?;
        let cached = model.start(true)?;
        cached.ask(&[ask(prompt, new)])?;
        let (mut on, passes) = cached.tapped(&[ask(&next, new)])?;
        prefix(what, &next, (&off, &on.remove(0)), &passes)?.iter().try_for_each(&mut *report)?;
    }
    Ok(())
}

fn ask(prompt: &[u32], new: usize) -> Ask {
    Ask { prompt: prompt.to_vec(), new, ..Ask::default() }
}

fn ids(steps: &[Step]) -> Vec<u32> {
    steps.iter().map(|step| step.token).collect()
}

fn text(mistral: &Mistral, prompts: &[Vec<u32>]) -> Result<Finding> {
    let texts: Vec<_> = prompts.iter().map(|p| mistral.text_of(p)).collect::<Result<_>>()?;
    let tokens: Vec<_> = texts.iter().map(|t| mistral.tokens_of(t)).collect::<Result<_>>()?;
    Ok(Finding {
        claim: "the tokenizer makes text of the prompts, and of it the same tokens",
        holds: tokens == prompts,
        detail: texts.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>().join(", "),
    })
}

fn greedy(mistral: &Mistral, prompt: &[u32], new: usize) -> Result<Finding> {
    let runs: Vec<_> = (0..3).map(|_| mistral.ask(&[ask(prompt, new)])).collect::<Result<_>>()?;
    Ok(Finding {
        claim: "three greedy runs are the same, to the bit",
        holds: runs[1..].iter().all(|run| *run == runs[0]),
        detail: format!("{prompt:?} continued by {:?}", ids(&runs[0][0])),
    })
}

fn softmax(mistral: &Mistral, prompt: &[u32], temperature: f64) -> Result<Finding> {
    let asked = Ask { temperature: Some(temperature), ..ask(prompt, 1) };
    let off = off(&mistral.ask(&[asked])?[0][0], temperature);
    Ok(Finding {
        claim: "the sampler's probabilities are within 1e-6 of the softmax",
        holds: off <= SOFTMAX,
        detail: format!("temperature {temperature}: {off:.2e} off"),
    })
}

fn ends(mistral: &Mistral, prompt: &[u32]) -> Result<Finding> {
    let (_, passes) = mistral.tapped(&[ask(prompt, 1)])?;
    Ok(Finding {
        claim: "a request for one token takes one forward pass",
        holds: passes.len() == 1,
        detail: format!("{} forward passes", passes.len()),
    })
}

fn raw(mistral: &Mistral, prompt: &[u32]) -> Result<Finding> {
    let (answers, passes) = mistral.tapped(&[ask(prompt, 1)])?;
    let model: Vec<Vec<f32>> = passes[0]["logits"].get(0)?.to_vec2()?;
    let raw: Vec<Vec<f32>> = mistral.raw(prompt)?.to_vec2()?; // T,V
    Ok(Finding {
        claim: "return_raw_logits, the sampler and the model have the same logits, to the bit",
        holds: raw == model && raw.last() == Some(&answers[0][0].logits),
        detail: format!("{} positions of {prompt:?}", raw.len()),
    })
}

/// Two prompts at once, against each alone; and where a decode step was shared, the first block's
/// attention of the one row against the other's.
fn together(
    mistral: &Mistral,
    prompts: [&Vec<u32>; 2],
    alone: [&Vec<Step>; 2],
    new: usize,
) -> Result<Vec<Finding>> {
    let (answers, passes) = mistral.tapped(&prompts.map(|prompt| ask(prompt, new)))?;
    let shared = passes.iter().filter(|pass| rows(pass) == 2).count();
    let mut detail = format!(
        "prompts of {} and {} tokens, {shared} of {} forward passes shared",
        prompts[0].len(),
        prompts[1].len(),
        passes.len()
    );
    let mut holds = true;
    for (row, (one, both)) in alone.iter().zip(&answers).enumerate() {
        let (same, text) = difference(one, both);
        holds &= same;
        detail += &format!("; row {row}: {text}");
    }
    let mut findings =
        vec![Finding { claim: "two prompts at once give each what it gives alone", holds, detail }];
    let Some((k, pass)) =
        passes.iter().enumerate().find(|(_, pass)| pass["tokens"].dims() == [2, 1])
    else {
        return Ok(findings);
    };
    let [q, context] = ["h.0.attn.q", "h.0.attn.context"].map(|stage| -> Result<f32> {
        let row = |b| -> Result<Vec<f32>> { Ok(pass[stage].get(b)?.flatten_all()?.to_vec1()?) };
        Ok(apart(&row(0)?, &row(1)?))
    });
    let (q, context) = (q?, context?);
    findings.push(Finding {
        claim: "two prompts decoded at once have each its own attention",
        holds: q == 0.0 || context != 0.0,
        detail: format!(
            "in pass {k} the rows of h.0.attn.q differ by {q:.2e}, of h.0.attn.context by {context:.2e}"
        ),
    });
    Ok(findings)
}

fn rows(pass: &Pass) -> usize {
    pass["tokens"].dims()[0]
}

/// With prefix caching, against without.
fn prefix(
    what: &str,
    prompt: &[u32],
    (off, on): (&[Step], &[Step]),
    passes: &[Pass],
) -> Result<[Finding; 2]> {
    let (holds, text) = difference(off, on);
    let computed = passes[0]["tokens"].dims()[1];
    Ok([
        Finding {
            claim: "prefix caching on gives the same as off",
            holds,
            detail: format!("{what}: {computed} of {} positions computed; {text}", prompt.len()),
        },
        Finding {
            claim: "with prefix caching the sampler is shown the whole context",
            holds: on[0].context == off[0].context,
            detail: format!("{what}: {} of {} tokens", on[0].context, off[0].context),
        },
    ])
}

/// Reports whether two runs agree up to rounding, and how closely.
fn difference(want: &[Step], got: &[Step]) -> (bool, String) {
    for (k, (want, got)) in want.iter().zip(got).enumerate() {
        let largest = want.logits.iter().fold(0f32, |max, l| max.max(l.abs()));
        let apart = apart(&want.logits, &got.logits);
        let within = apart <= ROUNDING * largest;
        if !within || want.token != got.token {
            let tokens = if want.token == got.token { "the same token" } else { "another token" };
            return (
                false,
                format!("{tokens} at step {k}, logits differ by {apart:.2e} of {largest:.2e}"),
            );
        }
    }
    let bits = want.iter().zip(got).all(|(want, got)| want.logits == got.logits);
    let text =
        if bits { "the same bits" } else { "the same tokens, logits the same up to rounding" };
    (want.len() == got.len(), text.to_string())
}
