//! Whole runs on a small random model.

mod common;

use candle_core::{DType, Device, Tensor};
use candle_export::{config::Config, export::run, options::Options, weights};
use common::*;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn quiet(options: &Options) -> anyhow::Result<usize> {
    run(options, &mut |_| {})
}

/// A folder with a model in `model`, and its dump in `dump`.
fn exported(change: impl FnOnce(&mut Options)) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    write_model(&dir.path().join("model"), &config(), &weights());
    let dump = dir.path().join("dump");
    let mut options = options(&dir.path().join("model"), dump.clone());
    change(&mut options);
    quiet(&options).unwrap();
    (dir, dump)
}

fn shape(stage: &str, b: usize, t: usize, p: usize) -> Vec<usize> {
    let s = p + t;
    match stage.split('.').skip(2).collect::<Vec<_>>().join(".").as_str() {
        "attn.c_attn" => vec![b, t, 3 * C],
        "attn.q" | "attn.k" | "attn.v" => vec![b, H, t, C / H],
        "attn.cache_k" | "attn.cache_v" => vec![b, H, s, C / H],
        "attn.scores" | "attn.probs" => vec![b, H, t, s],
        "mlp.c_fc" | "mlp.act" => vec![b, t, F],
        _ => match stage {
            "wpe" => vec![t, C],
            "logits" => vec![b, t, V],
            "next_token" => vec![b],
            _ if stage == "logits_last" || stage.starts_with("probs_t") => vec![b, V],
            _ => vec![b, t, C],
        },
    }
}

#[test]
fn a_dump_is_complete_and_its_manifest_true() {
    let (dir, dump) = exported(|o| {
        o.tokens = vec![vec![3, 1, 4], vec![1, 5, 9]];
        o.case = Some("pi".into());
        o.prompt = Some("π\n\"".into());
        o.temperatures = vec![0.7, 1.0];
    });
    let m = manifest(&dump);
    assert_eq!(m["schema"], 1);
    assert_eq!(m["model"]["name"], "small");
    assert_eq!(m["model"]["config"], config());
    let file = std::fs::read(dir.path().join("model/model.safetensors")).unwrap();
    assert_eq!(m["model"]["weights_sha256"], weights::sha256(&file));
    assert_eq!((&m["case"], &m["prompt"]), (&"pi".into(), &"π\n\"".into()));
    assert_eq!(m["tokens"], serde_json::json!([[3, 1, 4], [1, 5, 9]]));
    assert_eq!(m["new"], 3);
    assert_eq!(m["temperatures"].to_string(), "[0.7,1]");
    let engine = serde_json::json!({"name": "candle", "version": "0.11.1", "dtype": "float32"});
    assert_eq!(m["engine"], engine);
    assert_eq!(m["exporter"][0]["path"], "reference/candle/Cargo.lock");
    assert_eq!(m["left_out"], serde_json::json!([]));

    let mut want: Vec<_> = (0..3)
        .flat_map(|step| stage_names(LAYERS, &["0.7", "1"]).into_iter().map(move |s| (step, s)))
        .collect();
    want.reverse();
    for file in m["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        let bytes = std::fs::read(dump.join(path)).unwrap();
        assert_eq!(file["sha256"], weights::sha256(&bytes), "{path}");
        let tensor = Tensor::read_npy(dump.join(path)).unwrap();
        assert_eq!(file["shape"], serde_json::json!(tensor.dims()), "{path}");
        let ids = tensor.dtype() == DType::I64;
        assert_eq!(file["dtype"], if ids { "int64" } else { "float32" }, "{path}");
        if path == "tokens.npy" {
            assert!(file.get("step").is_none() && file.get("stage").is_none());
            assert_eq!(tensor.dims(), [2, 6]);
            continue;
        }
        let (step, stage) = want.pop().expect("no more files than stages");
        assert_eq!(path, format!("step_{step:02}/{stage}.npy"), "execution order");
        assert_eq!((&file["step"], &file["stage"]), (&step.into(), &stage.clone().into()));
        let (t, p) = if step == 0 { (3, 0) } else { (1, 2 + step) };
        assert_eq!(tensor.dims(), shape(&stage, 2, t, p), "{path}");
        assert_eq!(ids, stage == "next_token", "{path}");
    }
    assert_eq!(want, []);
    let on_disk =
        (0..3).map(|k| std::fs::read_dir(dump.join(format!("step_{k:02}"))).unwrap().count());
    assert_eq!(on_disk.sum::<usize>() + 1, m["files"].as_array().unwrap().len());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing temporary is left");
}

#[test]
fn steps_feed_what_was_chosen() {
    let (_dir, dump) = exported(|o| o.new = 6);
    let tokens = read_tokens(&dump);
    assert_eq!(tokens[0][..3], [3, 1, 4]);
    for (step, &id) in tokens[0][3..].iter().enumerate() {
        let next = read(&dump, step, "next_token").to_vec1::<i64>().unwrap();
        assert_eq!(next, [id], "step {step}");
        let last = read(&dump, step, "logits_last").to_vec2::<f32>().unwrap();
        let max = last[0].iter().copied().fold(f32::MIN, f32::max);
        assert_eq!(last[0].iter().position(|&x| x == max), Some(id as usize));
        let wte = read(&dump, step, "wte");
        let fed = tokens[0][if step == 0 { 0 } else { step + 2 }];
        let row = weights()["wte.weight"].get(fed as usize).unwrap();
        assert_eq!(max_difference(&wte.get(0).unwrap().get(0).unwrap(), &row), 0.0);
    }
}

#[test]
fn feed_replaces_the_choice() {
    let (_dir, dump) = exported(|o| o.feed = vec![vec![10, 0]]);
    let tokens = read_tokens(&dump);
    assert_eq!(tokens[0][..5], [3, 1, 4, 10, 0]);
    let last = read(&dump, 2, "next_token").to_vec1::<i64>().unwrap();
    assert_eq!(tokens[0][5], last[0]);
    let wte = read(&dump, 1, "wte").flatten_all().unwrap();
    assert_eq!(max_difference(&wte, &weights()["wte.weight"].get(10).unwrap()), 0.0);
}

/// The same positions in one step or in several: cache, mask and positions agree.
#[test]
fn the_cache_changes_nothing() {
    let (_a, whole) = exported(|o| (o.tokens, o.new) = (vec![vec![3, 1, 4, 10, 0]], 1));
    let (_b, steps) = exported(|o| o.feed = vec![vec![10, 0]]);
    for stage in ["h.1.attn.cache_k", "h.1.attn.cache_v", "logits_last", "probs_t1"] {
        let difference = max_difference(&read(&whole, 0, stage), &read(&steps, 2, stage));
        assert!(difference < 1e-5, "{stage}: {difference}");
    }
    let scores = read(&whole, 0, "h.0.attn.scores").get(0).unwrap().get(0).unwrap();
    for (i, row) in scores.to_vec2::<f32>().unwrap().iter().enumerate() {
        let masked: Vec<_> = row.iter().map(|&x| x == f32::NEG_INFINITY).collect();
        assert_eq!(masked, (0..5).map(|j| j > i).collect::<Vec<_>>());
    }
}

#[test]
fn rows_of_a_batch_do_not_mix() {
    let (_a, batch) = exported(|o| o.tokens = vec![vec![3, 1, 4], vec![2, 2, 7]]);
    let (_b, alone) = exported(|o| o.tokens = vec![vec![2, 2, 7]]);
    assert_eq!(read_tokens(&batch)[1], read_tokens(&alone)[0]);
    for stage in ["embed", "h.0.attn.probs", "h.1.resid_post", "logits"] {
        let row = read(&batch, 0, stage).get(1).unwrap();
        let difference = max_difference(&row, &read(&alone, 0, stage).get(0).unwrap());
        assert!(difference < 1e-5, "{stage}: {difference}");
    }
}

#[test]
fn every_layout_of_the_weights_gives_the_same_dump() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    write_model(&path("plain"), &config(), &weights());
    write_model(&path("prefixed"), &config(), &prefixed(with_buffers(weights())));
    let mut untied = prefixed(weights());
    untied.insert("lm_head.weight".into(), weights()["wte.weight"].clone());
    write_model(&path("untied"), &config(), &untied);
    // two shards
    write_model(&path("sharded"), &config(), &weights());
    let (a, b): (Vec<_>, Vec<_>) =
        with_buffers(weights()).into_iter().partition(|(n, _)| n.as_str() < "h.1");
    let mut map = serde_json::Map::new();
    for (file, part) in [("b.safetensors", a), ("a.safetensors", b)] {
        part.iter().for_each(|(name, _)| drop(map.insert(name.clone(), file.into())));
        let part: Weights = part.into_iter().collect();
        candle_core::safetensors::save(&part, path("sharded").join(file)).unwrap();
    }
    let index = serde_json::json!({"weight_map": map}).to_string();
    std::fs::write(path("sharded/model.safetensors.index.json"), index).unwrap();
    std::fs::remove_file(path("sharded/model.safetensors")).unwrap();

    let stages = |model: &str| {
        let out = path(&format!("{model}-dump"));
        quiet(&options(&path(model), out.clone())).unwrap();
        (manifest(&out)["files"].clone(), manifest(&out)["model"]["weights_sha256"].clone())
    };
    let (want, _) = stages("plain");
    for model in ["prefixed", "untied", "sharded"] {
        assert_eq!(stages(model).0, want, "{model}");
    }
    let hash = |name: &str| weights::sha256(&std::fs::read(path("sharded").join(name)).unwrap());
    let mut lines =
        ["a.safetensors", "b.safetensors"].map(|name| format!("{}  {name}\n", hash(name)));
    lines.sort();
    assert_eq!(stages("sharded").1, weights::sha256(lines.concat().as_bytes()));
}

#[test]
fn lm_head_is_used_where_there_is_one() {
    let dir = TempDir::new().unwrap();
    let mut untied = weights();
    untied.insert("lm_head.weight".into(), (&weights()["wte.weight"] * -2.0).unwrap());
    write_model(&dir.path().join("untied"), &config(), &untied);
    quiet(&options(&dir.path().join("untied"), dir.path().join("dump"))).unwrap();
    let (_tied, tied) = exported(|_| {});
    let want = (read(&tied, 0, "logits") * -2.0).unwrap();
    assert!(max_difference(&read(&dir.path().join("dump"), 0, "logits"), &want) < 1e-5);
}

#[test]
fn half_precision_is_widened() {
    for dtype in [DType::F16, DType::BF16] {
        let dir = TempDir::new().unwrap();
        let half: Weights =
            weights().into_iter().map(|(n, t)| (n, t.to_dtype(dtype).unwrap())).collect();
        let wide: Weights =
            half.iter().map(|(n, t)| (n.clone(), t.to_dtype(DType::F32).unwrap())).collect();
        let files = |name: &str, weights: &Weights| {
            write_model(&dir.path().join(name), &config(), weights);
            let out = dir.path().join(format!("{name}-dump"));
            quiet(&options(&dir.path().join(name), out.clone())).unwrap();
            manifest(&out)["files"].clone()
        };
        assert_eq!(files("half", &half), files("wide", &wide), "{dtype:?}");
    }
}

#[test]
fn rules_leave_files_out_and_are_listed() {
    let rules = r#"[{"stages": "h.*.attn.*", "steps": "1-", "reason": "size"},
                    {"stages": "no.such.stage", "steps": "all", "reason": "none"},
                    {"stages": "logits", "steps": "0", "reason": "size"}]"#;
    let (_dir, dump) = exported(|o| {
        let path = o.model.join("rules.json");
        std::fs::write(&path, rules).unwrap();
        o.rules = Some(path);
    });
    let rules: serde_json::Value = serde_json::from_str(rules).unwrap();
    assert_eq!(manifest(&dump)["left_out"], serde_json::json!([rules[0], rules[2]]));
    for (path, there) in [
        ("step_00/logits.npy", false),
        ("step_01/logits.npy", true),
        ("step_00/h.1.attn.q.npy", true),
        ("step_01/h.1.attn.q.npy", false),
        ("step_02/h.1.mlp.act.npy", true),
    ] {
        assert_eq!(dump.join(path).exists(), there, "{path}");
    }
}

#[test]
fn the_context_can_be_filled() {
    let full = |o: &mut Options| (o.tokens, o.new) = (vec![vec![1; POSITIONS - 2]], 3);
    let (_dir, dump) = exported(full);
    assert_eq!(read_tokens(&dump)[0].len(), POSITIONS + 1);
    assert_eq!(read(&dump, 2, "h.0.attn.cache_k").dims(), [1, H, POSITIONS, C / H]);
}

#[test]
fn bad_input_is_one_clear_error() {
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("model");
    write_model(&model, &config(), &weights());
    type Change = fn(&mut Options);
    let cases: [(&str, Change); 16] = [
        ("config.json", |o| o.model = "/nonexistent".into()),
        ("--new", |o| o.new = 0),
        ("--tokens", |o| o.tokens = vec![]),
        ("--tokens", |o| o.tokens = vec![vec![]]),
        ("equal length", |o| o.tokens = vec![vec![1], vec![1, 2]]),
        ("token 11", |o| o.tokens = vec![vec![1, 11]]),
        ("token 12", |o| o.feed = vec![vec![12, 1]]),
        ("2 ids", |o| o.feed = vec![vec![1]]),
        ("--feed is given 2 times", |o| o.feed = vec![vec![1, 2], vec![1, 2]]),
        ("9 positions", |o| o.new = 7),
        ("positions", |o| o.new = usize::MAX),
        ("--temperatures", |o| o.temperatures = vec![]),
        ("--temperatures", |o| o.temperatures = vec![0.0]),
        ("--temperatures", |o| o.temperatures = vec![f64::NAN]),
        ("twice", |o| o.temperatures = vec![1.0, 1.0]),
        ("rules", |o| o.rules = Some("/nonexistent/rules".into())),
    ];
    for (want, change) in cases {
        let mut options = options(&model, dir.path().join("dump"));
        change(&mut options);
        refused(&options, want);
    }
}

#[test]
fn bad_weights_are_one_clear_error() {
    type Change = fn(&mut Weights);
    let cases: [(&str, Change); 5] = [
        ("tensor h.1.ln_2.bias is missing", |w| drop(w.remove("h.1.ln_2.bias"))),
        ("h.0.attn.c_proj.bias has shape [5]", |w| {
            let short = w["h.0.attn.c_proj.bias"].narrow(0, 0, 5).unwrap();
            w.insert("h.0.attn.c_proj.bias".into(), short);
        }),
        ("h.2.ln_1.bias", |w| {
            let more = w["h.1.ln_1.bias"].clone();
            w.insert("h.2.ln_1.bias".into(), more);
        }),
        ("ln_f.weight has a value that is not finite", |w| {
            let nan = Tensor::full(f32::NAN, C, &Device::Cpu).unwrap();
            w.insert("ln_f.weight".into(), nan);
        }),
        ("wpe.weight is I64", |w| {
            let ids = w["wpe.weight"].to_dtype(DType::I64).unwrap();
            w.insert("wpe.weight".into(), ids);
        }),
    ];
    for (want, change) in cases {
        let dir = TempDir::new().unwrap();
        let mut weights = weights();
        change(&mut weights);
        write_model(&dir.path().join("model"), &config(), &weights);
        refused(&options(&dir.path().join("model"), dir.path().join("dump")), want);
    }
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("model");
    write_model(&model, &config(), &weights());
    let file = model.join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    for cut in [0, 4, 8, 100, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..cut]).unwrap();
        refused(&options(&model, dir.path().join("dump")), "model.safetensors");
    }
    let huge = [&u64::MAX.to_le_bytes()[..], &bytes[8..]].concat();
    std::fs::write(&file, huge).unwrap();
    refused(&options(&model, dir.path().join("dump")), "model.safetensors");
    std::fs::remove_file(&file).unwrap();
    refused(&options(&model, dir.path().join("dump")), "neither model.safetensors nor");
    std::fs::write(model.join("model.safetensors.index.json"), r#"{"weight_map":{"a":"../x"}}"#)
        .unwrap();
    refused(&options(&model, dir.path().join("dump")), "not a plain file name");
}

/// The run fails with that message, and leaves nothing behind.
fn refused(options: &Options, want: &str) {
    let error = quiet(options).err().unwrap_or_else(|| panic!("no error, want {want}"));
    let text = format!("{error:#}");
    assert!(text.contains(want), "want {want:?} in {text:?}");
    assert!(!options.out.exists(), "{want}");
    let left = std::fs::read_dir(options.out.parent().unwrap()).unwrap();
    assert_eq!(left.count(), 1, "{want}: only the model is there");
}

#[test]
fn a_dump_is_replaced_whole_and_nothing_else_is() {
    let (dir, dump) = exported(|_| {});
    let again = options(&dir.path().join("model"), dump.clone());
    std::fs::write(dump.join("step_00/stale.npy"), "x").unwrap();
    let mut failing = again.clone();
    failing.tokens = vec![vec![99]];
    assert!(quiet(&failing).is_err());
    assert!(dump.join("step_00/stale.npy").exists(), "a failed run leaves the old dump");
    quiet(&again).unwrap();
    assert!(!dump.join("step_00/stale.npy").exists());
    assert!(dump.join("manifest.json").exists());
    let mut precious = again.clone();
    precious.out = dir.path().join("model");
    let error = format!("{:#}", quiet(&precious).unwrap_err());
    assert!(error.contains("is there already"), "{error}");
    assert!(Config::read(Path::new(&precious.out.join("config.json"))).is_ok());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}
