//! The parts that stand alone: rules, npy, sources, config, and the assumptions about Candle.

mod common;

use candle_core::{Device, Tensor, D};
use candle_export::{config::Config, family, npy, provenance, rules::Rules, sources, weights};
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn rules_match_stages_and_steps() {
    for (stages, steps, step, stage, want) in [
        ("h.*.attn.scores", "all", 3, "h.11.attn.scores", true),
        ("h.*.attn.scores", "all", 3, "h.11.attn.scores2", false),
        ("h.*", "all", 0, "h.0.mlp.act", true),
        ("*", "0", 0, "logits", true),
        ("***", "0", 0, "logits", true),
        ("*", "0", 1, "logits", false),
        ("logits", "1-", 7, "logits", true),
        ("logits", "1-", 0, "logits", false),
        ("logits", "1-8", 8, "logits", true),
        ("logits", "1-8", 9, "logits", false),
        ("logits", "2,5", 5, "logits", true),
        ("logits", "2,5", 3, "logits", false),
        ("logits", "0,3-4,8-", 9, "logits", true),
        ("logits", "all", 0, "logits_last", false),
        ("logits*", "all", 0, "logits_last", true),
        ("probs_t?", "all", 0, "probs_t1", false), // only * is special
        ("[lw]*", "all", 0, "logits", false),
        ("h_*", "all", 0, "h.0", false),
    ] {
        let text = format!(r#"[{{"stages":{stages:?},"steps":{steps:?},"reason":"why"}}]"#);
        let mut rules = Rules::parse(text.as_bytes()).unwrap();
        assert_eq!(rules.leaves_out(step, stage), want, "{stages} {steps}: {step} {stage}");
        assert_eq!(rules.left_out().len(), usize::from(want), "{stages} {steps}");
    }
}

#[test]
fn bad_rules_are_refused() {
    for text in [
        "",
        "{}",
        r#"[{"stages":"*","steps":"all"}]"#,
        r#"[{"stages":"*","steps":"all","reason":"x","why":"x"}]"#,
        r#"[{"stages":"*","steps":"all","reason":""}]"#,
        r#"[{"stages":"","steps":"all","reason":"x"}]"#,
        r#"[{"stages":"*","steps":"","reason":"x"}]"#,
        r#"[{"stages":"*","steps":"3-1","reason":"x"}]"#,
        r#"[{"stages":"*","steps":"-1","reason":"x"}]"#,
        r#"[{"stages":"*","steps":"1,","reason":"x"}]"#,
        r#"[{"stages":"*","steps":"99999999999999999999","reason":"x"}]"#,
    ] {
        assert!(Rules::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn npy_is_as_numpy_writes_it() {
    // numpy.save of numpy.array([[1, 2, 3]], "<f4")
    let mut want = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    want.extend_from_slice(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }");
    want.resize(127, b' ');
    want.push(b'\n');
    for v in [1f32, 2.0, 3.0] {
        want.extend_from_slice(&v.to_le_bytes());
    }
    assert_eq!(npy::encode_f32(&[1, 3], &[1.0, 2.0, 3.0]), want);
    let one = npy::encode_i64(&[2], &[5, -1]);
    assert!(String::from_utf8_lossy(&one).contains("'descr': '<i8'"));
    assert!(String::from_utf8_lossy(&one).contains("'shape': (2,), }"));
    assert_eq!(one[one.len() - 16..], [5i64.to_le_bytes(), (-1i64).to_le_bytes()].concat());
    for rank in 0..20 {
        let bytes = npy::encode_f32(&vec![1; rank], &[7.5]);
        assert_eq!((bytes.len() - 4) % 64, 0, "rank {rank}");
        assert_eq!(bytes[bytes.len() - 5], b'\n');
        let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
        assert_eq!(10 + length + 4, bytes.len());
    }
}

#[test]
fn sources_are_those_on_the_disk() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut want = BTreeSet::from(["Cargo.lock".to_string(), "Cargo.toml".to_string()]);
    for entry in std::fs::read_dir(root.join("src")).unwrap() {
        want.insert(format!("src/{}", entry.unwrap().file_name().to_string_lossy()));
    }
    let want: Vec<_> = want.iter().map(|path| format!("reference/candle/{path}")).collect();
    let listed = provenance::exporter(sources::SOURCES);
    let got: Vec<_> = listed.iter().map(|s| s.path.to_string()).collect();
    assert_eq!(got, want);
    for source in listed {
        let path = root.join(source.path.strip_prefix("reference/candle/").unwrap());
        assert_eq!(source.sha256, weights::sha256(&std::fs::read(path).unwrap()));
    }
    assert_eq!(sources::candle_version(), "0.11.1");
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(weights::sha256(b""), empty);
}

#[test]
fn config_is_read_strictly() {
    let config = common::config();
    let parse = |key: &str, value: serde_json::Value| {
        let mut config = config.clone();
        config[key] = value;
        Config::parse(config.to_string().as_bytes())
    };
    assert_eq!(parse("n_inner", ().into()).unwrap().n_inner, 4 * common::C);
    assert_eq!(parse("n_inner", 7.into()).unwrap().n_inner, 7);
    assert_eq!(parse("layer_norm_epsilon", 1e-6.into()).unwrap().layer_norm_epsilon, 1e-6);
    let cases: [(&str, serde_json::Value); 12] = [
        ("model_type", "llama".into()),
        ("activation_function", "gelu".into()),
        ("scale_attn_weights", false.into()),
        ("scale_attn_by_inverse_layer_idx", true.into()),
        ("n_head", 4.into()),
        ("n_head", 0.into()),
        ("n_layer", (-1).into()),
        ("n_layer", 1.5.into()),
        ("n_embd", "6".into()),
        ("vocab_size", ().into()),
        ("n_inner", 1e300.into()),
        ("layer_norm_epsilon", 0.into()),
    ];
    for (key, value) in cases {
        let error = parse(key, value.clone()).err().unwrap_or_else(|| panic!("{key} {value}"));
        assert!(format!("{error:#}").contains(key), "{key} {value}: {error:#}");
    }
    for text in ["", "[]", "{}", "{\"n_embd\": 6"] {
        assert!(Config::parse(text.as_bytes()).is_err(), "{text}");
    }
}

/// The configs that the Go model and the exporters in Python are tried on too.
#[test]
fn relatives_are_read_by_their_config() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model/testdata/family.json");
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for model in all["models"].as_array().unwrap() {
        let text = model["config"].to_string();
        let (config, family) = family::parse(text.as_bytes()).unwrap();
        assert_eq!(serde_json::Value::from(config.json), model["config"]);
        let mut got = serde_json::Map::new();
        if family.activation != "gelu_new" {
            got.insert("activation_function".into(), family.activation.into());
        }
        if !family.scaled {
            got.insert("scale_attn_weights".into(), false.into());
        }
        if family.by_layer {
            got.insert("scale_attn_by_inverse_layer_idx".into(), true.into());
        }
        if let Some(tied) = family.tied {
            got.insert("tie_word_embeddings".into(), tied.into());
        }
        assert_eq!(serde_json::Value::from(got), model["want"], "{text}");
        let root = if family.scaled { 2.0 } else { 1.0 };
        let third = if family.by_layer { 3.0 } else { 1.0 };
        assert_eq!(family.divisor(2, 4), root * third, "{text}");
    }
    for refused in all["refused"].as_array().unwrap() {
        let mut config = all["models"][0]["config"].clone();
        for (key, value) in refused["change"].as_object().unwrap() {
            config[key] = value.clone();
        }
        let error = family::parse(config.to_string().as_bytes()).err().map(|e| format!("{e:#}"));
        let names = refused["names"].as_str().unwrap();
        assert!(error.as_ref().is_some_and(|e| e.contains(names)), "{config}: {error:?}");
    }
}

/// The rules of the contract for an engine's operations, which this one leaves to Candle.
#[test]
fn candle_does_what_the_contract_says() {
    let cpu = &Device::Cpu;
    let tie = Tensor::new(&[[1f32, 7., 7., 2.], [3., 3., 3., 3.]], cpu).unwrap();
    let ids = tie.argmax(D::Minus1).unwrap().to_vec1::<u32>().unwrap();
    assert_eq!(ids, [1, 0], "the lowest id wins a tie");
    let act = Tensor::new(&[1f32, -2.2], cpu).unwrap().gelu().unwrap().to_vec1::<f32>().unwrap();
    for (got, want) in act.iter().zip([0.841_192, -0.030_321_5]) {
        assert!((got - want).abs() < 2e-7, "tanh form of GELU: {act:?}");
    }
}
