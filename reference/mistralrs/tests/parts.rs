//! What stands alone: the tokenizer file and the list of sources.

use mistralrs_export::{sources, tokenizer};
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
