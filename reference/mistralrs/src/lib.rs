//! GPT-2 on mistral.rs, exported stage by stage.
//!
//! mistral.rs loads, computes, caches, schedules and samples; its GPT-2 is overlay/, which also hands
//! out the stages of a forward pass. Ours are the requests ([`mistral`]), the tokenizer file that the
//! engine asks for ([`tokenizer`]) and the findings about its sampler, scheduler and prefix cache
//! ([`check`]). Command line and dump are those of reference/candle, by the same files, which here
//! are compiled against the Candle that mistral.rs stands on.

#[path = "../../candle/src/config.rs"]
pub mod config;
#[path = "../../candle/src/dump.rs"]
pub mod dump;
#[path = "../../candle/src/npy.rs"]
pub mod npy;
#[path = "../../candle/src/options.rs"]
pub mod options;
#[path = "../../candle/src/program.rs"]
pub mod program;
#[path = "../../candle/src/provenance.rs"]
pub mod provenance;
#[path = "../../candle/src/rules.rs"]
pub mod rules;
#[path = "../../candle/src/staging.rs"]
pub mod staging;
#[path = "../../candle/src/weights.rs"]
pub mod weights;

pub mod check;
pub mod export;
pub mod folder;
pub mod mistral;
pub mod sources;
pub mod tokenizer;
