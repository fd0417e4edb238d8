//! The stages that a dump leaves out: `[{"stages": "h.*.attn.scores", "steps": "all", "reason": "…"}]`.

use anyhow::{ensure, Context, Result};
use glob::Pattern;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One rule as written; the manifest repeats it under `left_out`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// a pattern of stage names: `*` is any characters, dots too, and all else itself
    pub stages: String,
    /// `all`, or a list of steps and ranges: `0`, `2,5`, `1-8`, `1-` (and all after it)
    pub steps: String,
    pub reason: String,
}

/// Rules, and which of them have left something out so far.
#[derive(Default)]
pub struct Rules {
    list: Vec<Parsed>,
}

struct Parsed {
    rule: Rule,
    stages: Pattern,
    /// inclusive ranges
    steps: Vec<(usize, usize)>,
    used: bool,
}

impl Rules {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("rules in {}", path.display()))
    }

    pub fn parse(text: &[u8]) -> Result<Self> {
        let list: Vec<Rule> = serde_json::from_slice(text)?;
        let mut parsed = Vec::new();
        for rule in list {
            let stages = pattern(&rule.stages)
                .with_context(|| format!("stages {:?} is not a pattern", rule.stages))?;
            let steps = steps(&rule.steps)?;
            ensure!(!rule.stages.is_empty(), "a rule has no stages");
            ensure!(!rule.reason.trim().is_empty(), "stages {:?} has no reason", rule.stages);
            parsed.push(Parsed { rule, stages, steps, used: false });
        }
        Ok(Self { list: parsed })
    }

    /// Reports whether a stage of a step is left out, and remembers every rule by which it is.
    pub fn leaves_out(&mut self, step: usize, stage: &str) -> bool {
        let mut out = false;
        for rule in &mut self.list {
            let now = rule.steps.iter().any(|&(first, last)| (first..=last).contains(&step));
            let hit = now && rule.stages.matches(stage);
            rule.used |= hit;
            out |= hit;
        }
        out
    }

    /// The rules that left something out, in their order.
    pub fn left_out(&self) -> Vec<Rule> {
        self.list.iter().filter(|rule| rule.used).map(|rule| rule.rule.clone()).collect()
    }
}

/// Only `*` is special; the library knows more, and `**` as something else.
fn pattern(stages: &str) -> Result<Pattern> {
    let literals: Vec<_> = stages.split('*').map(Pattern::escape).collect();
    let mut text = literals.join("*");
    while text.contains("**") {
        text = text.replace("**", "*");
    }
    Ok(Pattern::new(&text)?)
}

/// Inclusive ranges of steps.
fn steps(text: &str) -> Result<Vec<(usize, usize)>> {
    if text == "all" {
        return Ok(vec![(0, usize::MAX)]);
    }
    let bad = || format!("steps {text:?} is not \"all\", \"0\", \"2,5\", \"1-8\" or \"1-\"");
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().with_context(bad)?;
        let last = match last.trim() {
            "" => usize::MAX,
            digits => digits.parse().with_context(bad)?,
        };
        ensure!(first <= last, bad());
        ranges.push((first, last));
    }
    Ok(ranges)
}
