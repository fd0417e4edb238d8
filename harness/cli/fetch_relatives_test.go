package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkpoint12/model"
	"checkpoint12/model/hub"
	"checkpoint12/model/hub/hubtest"
	"checkpoint12/model/modeltest"
)

// TestFetchRelatives: models of GPT-2's family come by owner and name, and run by what their own
// config.json says; their sizes, which would be gigabytes, are smaller here.
func TestFetchRelatives(t *testing.T) {
	data, err := os.ReadFile("../../model/testdata/family.json")
	if err != nil {
		t.Fatal(err)
	}
	var family struct {
		Models []struct {
			Name   string         `json:"name"`
			Config map[string]any `json:"config"`
		} `json:"models"`
	}
	if err := json.Unmarshal(data, &family); err != nil {
		t.Fatal(err)
	}
	h, _ := newHub(t)
	fetched := 0
	for _, m := range family.Models {
		owner, _, ok := strings.Cut(m.Name, "/")
		if !ok || owner == "openai-community" { // nobody's, or of a pinned commit, as TestFetchByName has it
			continue
		}
		for key, size := range map[string]int{"n_embd": 24, "n_head": 4, "n_layer": 3, "vocab_size": 61, "n_positions": 16, "n_ctx": 16, "n_inner": 40} {
			if m.Config[key] != nil {
				m.Config[key] = size
			}
		}
		text, err := json.Marshal(m.Config)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := model.ParseConfig(text)
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		h.Add(m.Name, laterCommit, map[string]hubtest.File{
			hub.ConfigFile:  hubtest.Bytes(text, false),
			hub.WeightsFile: hubtest.Bytes(modeltest.Encode(cfg, modeltest.Weights(cfg, 1)), true),
		})
		status, stdout, stderr := run("fetch", m.Name)
		_, folder, _ := strings.Cut(stdout, "\n")
		folder, _, _ = strings.Cut(strings.TrimSpace(folder), "\n")
		if folder = strings.TrimSuffix(folder, "/"+hub.WeightsFile); status != StatusPass || folder == "" {
			t.Errorf("fetch %s: status %d, %q, %q", m.Name, status, stdout, stderr)
			continue
		}
		dump := filepath.Join(t.TempDir(), "dump")
		if status, _, stderr := run("dump", "--model", folder, "--tokens", "1,2,3", "--new", "2", "--out", dump); status != StatusPass {
			t.Errorf("dump of %s: status %d, %q", m.Name, status, stderr)
		}
		if status, stdout, stderr := run("compare", "--candidate", dump, "--model", folder); status != StatusPass {
			t.Errorf("%s judged by itself: status %d, %q, %q", m.Name, status, stdout, stderr)
		}
		// By GPT-2's own functions it is wrong where its config asks for others.
		plain := t.TempDir()
		m.Config["activation_function"], m.Config["scale_attn_by_inverse_layer_idx"] = "gelu_new", false
		text, err = json.Marshal(m.Config)
		if err != nil {
			t.Fatal(err)
		}
		released, err := model.ParseConfig(text)
		if err == nil {
			err = modeltest.Write(plain, released, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := StatusPass
		if cfg.ActivationFunction() != released.ActivationFunction() || cfg.ScaleByLayer {
			want = StatusDivergence
		}
		if err := os.Remove(filepath.Join(dump, "manifest.json")); err != nil {
			t.Fatal(err)
		}
		if status, stdout, stderr := run("compare", "--candidate", dump, "--model", plain); status != want {
			t.Errorf("%s judged as GPT-2: status %d, want %d: %q, %q", m.Name, status, want, stdout, stderr)
		}
		fetched++
	}
	if fetched < 4 {
		t.Errorf("%d relatives were fetched, want distilgpt2, DialoGPT, Cerebras-GPT and Stanford's", fetched)
	}
}
