//! What stands alone: the tokenizer file, the list of sources, and rows put side by side.

use candle_core::{Device, Tensor};
use mistralrs_export::{export::side_by_side, mistral::Pass, sources, tokenizer};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

#[test]
fn merges_make_gpt2s_tokens() {
    let file: Value = serde_json::from_str(&tokenizer::tokenizer_json().unwrap()).unwrap();
    let vocab = file["model"]["vocab"].as_object().unwrap();
    assert_eq!(vocab.len(), 50256);
    for (token, id) in [("!", 0), ("Hello", 15496), (".", 13), ("Ġthe", 262), ("Ċ", 198)] {
        assert_eq!(vocab[token], id, "{token}");
    }
    assert_eq!(file["added_tokens"][0]["id"], 50256);
    let merges: Vec<&str> =
        file["model"]["merges"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
    // the first of GPT-2's own merges.txt, and its last
    assert_eq!(merges[..6], ["Ġ t", "Ġ a", "h e", "i n", "r e", "o n"]);
    assert_eq!(merges.last(), Some(&"Ġg azed"));
    assert_eq!(merges.len(), 50000);
    let ranks: HashMap<&str, usize> = merges.iter().enumerate().map(|(i, m)| (*m, i)).collect();
    for word in ["Ġinformants", "Ġbeginning", "iversity"] {
        let mut parts: Vec<String> = word.chars().map(String::from).collect();
        loop {
            let pairs = (0..parts.len() - 1).filter_map(|i| {
                ranks.get(format!("{} {}", parts[i], parts[i + 1]).as_str()).map(|&r| (r, i))
            });
            let Some((_, i)) = pairs.min() else { break };
            let right = parts.remove(i + 1);
            parts[i] += &right;
            if parts.len() == 1 {
                break;
            }
        }
        assert_eq!(parts, [word]);
    }
}

#[test]
fn every_source_is_named() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut here = BTreeSet::new();
    for folder in ["src", "overlay/src/models"] {
        for entry in std::fs::read_dir(root.join("reference/mistralrs").join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            here.insert(format!("reference/mistralrs/{folder}/{name}"));
        }
    }
    let named: BTreeSet<String> =
        sources::SOURCES.iter().map(|(path, _)| path.to_string()).collect();
    assert!(named.is_superset(&here), "{:?}", here.difference(&named));
    for (path, bytes) in sources::SOURCES {
        assert_eq!(std::fs::read(root.join(path)).unwrap(), *bytes, "{path}");
    }
    assert_eq!(sources::mistralrs_version(), "0.8.1");
}

#[test]
fn rows_are_put_side_by_side() {
    let pass = |value: f32, position: f32| -> Pass {
        let fill = |value, shape| Tensor::full(value, shape, &Device::Cpu).unwrap();
        let embed = fill(value, (1, 2, 3)); // B,T,C
        let wpe = Tensor::full(position, (2, 3), &Device::Cpu).unwrap(); // T,C
        [("embed".to_string(), embed), ("wpe".to_string(), wpe)].into()
    };
    let (a, b, shifted) = (pass(1.0, 5.0), pass(2.0, 5.0), pass(2.0, 6.0));
    let both = side_by_side([&a, &b].into_iter()).unwrap();
    assert_eq!(both["embed"].dims(), [2, 2, 3]);
    let rows: Vec<Vec<f32>> = both["embed"].flatten_from(1).unwrap().to_vec2().unwrap();
    assert_eq!(rows, [[1.0; 6], [2.0; 6]]);
    assert_eq!(both["wpe"].dims(), [2, 3]);
    let error = side_by_side([&a, &shifted].into_iter()).unwrap_err();
    assert!(error.to_string().contains("other positions"), "{error}");
    assert!(side_by_side([&a, &Pass::new()].into_iter()).is_err());
}
