//! GPT-2 on Candle, tapped at every stage of the contract.
//!
//! The arithmetic of a dump is Candle's: `candle_nn`'s Embedding, LayerNorm, Linear, KvCache and
//! softmax, `candle_core`'s matmul, GELU and argmax. Ours are the order of the calls
//! ([`model`]), the files ([`npy`], [`dump`]), the command line ([`options`], [`program`]) and, apart
//! from the engine, the formula of the synthetic models ([`synth`]).

pub mod config;
pub mod dump;
pub mod export;
pub mod family;
pub mod model;
pub mod npy;
pub mod options;
pub mod program;
pub mod provenance;
pub mod rules;
pub mod sources;
pub mod staging;
pub mod synth;
pub mod weights;
