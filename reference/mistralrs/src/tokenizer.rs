//! `tokenizer.json` of GPT-2, made from the vocabulary that the Go model embeds.
//!
//! tiktoken's file has the tokens as bytes, by rank, and rank is id. Hugging Face's wants the merges
//! too: the merge that made a token is the last pair left when the token's own bytes are merged with
//! all lower ranks.

use anyhow::{ensure, Context, Result};
use base64::prelude::{Engine, BASE64_STANDARD};
use serde_json::{json, Map, Value};
use std::collections::HashMap;

const RANKS: &str = include_str!("../../../model/vocab/r50k_base.tiktoken");
const END_OF_TEXT: &str = "<|endoftext|>";

/// The file, for the `tokenizers` library: byte-level BPE, and the end-of-text token as the last id.
pub fn tokenizer_json() -> Result<String> {
    let tokens = tokens(RANKS)?;
    let spell = spelling();
    let word = |bytes: &[u8]| bytes.iter().map(|&b| spell[b as usize]).collect::<String>();
    let vocab: Map<String, Value> =
        tokens.iter().enumerate().map(|(id, bytes)| (word(bytes), id.into())).collect();
    ensure!(vocab.len() == tokens.len(), "the vocabulary has a token twice");
    let merges: Vec<Value> = merges(&tokens)?
        .iter()
        .map(|(left, right)| format!("{} {}", word(left), word(right)).into())
        .collect();
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
    });
    let end = json!({
        "id": tokens.len(), "content": END_OF_TEXT, "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true
    });
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [end],
        "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "vocab": vocab, "merges": merges
        }
    });
    Ok(file.to_string())
}

/// The tokens of a tiktoken file, by rank.
fn tokens(text: &str) -> Result<Vec<Vec<u8>>> {
    let mut tokens = Vec::new();
    for line in text.lines() {
        let (token, rank) = line.split_once(' ').context("a line without a rank")?;
        ensure!(rank == tokens.len().to_string(), "rank {rank} is out of order");
        tokens.push(BASE64_STANDARD.decode(token)?);
    }
    Ok(tokens)
}

/// The pairs that are merged, in order of rank.
fn merges(tokens: &[Vec<u8>]) -> Result<Vec<(&[u8], &[u8])>> {
    let ranks: HashMap<&[u8], usize> =
        tokens.iter().enumerate().map(|(rank, token)| (token.as_slice(), rank)).collect();
    let mut merges = Vec::new();
    for (rank, token) in tokens.iter().enumerate().filter(|(_, token)| token.len() > 1) {
        // where the parts begin, and the end
        let mut cuts: Vec<usize> = (0..=token.len()).collect();
        while cuts.len() > 3 {
            let joined = |i: usize| ranks.get(&token[cuts[i]..cuts[i + 2]]).filter(|&&r| r < rank);
            let best = (0..cuts.len() - 2).filter_map(|i| joined(i).map(|r| (r, i))).min();
            let (_, i) = best.with_context(|| format!("token {rank} is made of no two others"))?;
            cuts.remove(i + 1);
        }
        merges.push(token.split_at(cuts[1]));
    }
    Ok(merges)
}

/// GPT-2's spelling of the bytes: printable ones stand for themselves, the others for U+0100 onwards.
fn spelling() -> Vec<char> {
    let mut next = 0x100;
    (0..=255u8)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
            _ => {
                next += 1;
                char::from_u32(next - 1).expect("far below the surrogates")
            }
        })
        .collect()
}
